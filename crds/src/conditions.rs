//! Conditions: their types, and how one is set without touching what did not change.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

/// The spec and its objects are valid. False: nothing of this generation is rolled out; what ran keeps running.
pub const ACCEPTED: &str = "Accepted";
/// Every selected node can run the program, as far as can be told from what nodes report.
pub const COMPATIBLE: &str = "Compatible";
/// On a BpfProgram: it runs on every selected node with a live agent. On a BpfNode: all that it shall run, runs.
pub const READY: &str = "Ready";
/// It cannot go on without a change by somebody.
pub const STALLED: &str = "Stalled";

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Not known yet.
    Unknown,
}

impl Status {
    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Status {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// Sets one condition: its transition time changes only when its status does.
pub fn set(
    conditions: &mut Vec<Condition>,
    type_: &str,
    status: Status,
    reason: &str,
    message: String,
    generation: Option<i64>,
    now: Timestamp,
) {
    let message = truncate(&message, 32768).to_owned();
    let last_transition_time = conditions
        .iter()
        .find(|known| known.type_ == type_ && known.status == status.as_str())
        .map_or(Time(now), |known| known.last_transition_time.clone());
    let condition = Condition {
        type_: type_.to_owned(),
        status: status.as_str().to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time,
    };
    match conditions.iter_mut().find(|known| known.type_ == type_) {
        Some(known) => *known = condition,
        None => conditions.push(condition),
    }
}

/// The condition of this type.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// The longest prefix of `text` that has at most `max` bytes and does not cut a character.
pub fn truncate(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// The longest suffix of `text` that has at most `max` bytes and does not cut a character.
pub fn tail(text: &str, max: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(max))..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_changes_only_with_the_status() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let mut conditions = Vec::new();
        set(
            &mut conditions,
            READY,
            Status::False,
            "RollingOut",
            "a".into(),
            Some(1),
            at(1),
        );
        set(
            &mut conditions,
            READY,
            Status::False,
            "NodesFailed",
            "b".into(),
            Some(2),
            at(2),
        );
        let ready = find(&conditions, READY).unwrap();
        assert_eq!(
            (ready.reason.as_str(), ready.last_transition_time.0),
            ("NodesFailed", at(1))
        );
        set(
            &mut conditions,
            READY,
            Status::True,
            "AllNodesReady",
            "c".into(),
            Some(2),
            at(3),
        );
        assert_eq!(find(&conditions, READY).unwrap().last_transition_time.0, at(3));
        assert_eq!(conditions.len(), 1);
    }

    #[test]
    fn cutting_never_splits_a_character() {
        assert_eq!(truncate("aäb", 2), "a");
        assert_eq!(tail("aäb", 2), "b");
        assert_eq!(tail("ab", 9), "ab");
    }
}
