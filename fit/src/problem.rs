//! What is wrong with a spec or its object.

use std::fmt;

/// One thing that is wrong, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The hook it is about; none if it is about the object as a whole.
    pub hook: Option<String>,
    /// What sort of problem.
    pub kind: ProblemKind,
    /// What is wrong and how to mend it.
    pub message: String,
}

/// What sort of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// The spec does not fit its object.
    Spec,
    /// bpfleet cannot load or attach what the object holds.
    Unsupported,
}

impl Problem {
    /// A problem of one hook with the spec.
    pub(crate) fn spec(hook: &str, message: String) -> Self {
        Self {
            hook: Some(hook.to_owned()),
            kind: ProblemKind::Spec,
            message,
        }
    }

    /// Something that bpfleet cannot do.
    pub(crate) fn unsupported(hook: Option<&str>, message: String) -> Self {
        Self {
            hook: hook.map(str::to_owned),
            kind: ProblemKind::Unsupported,
            message,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(hook) = &self.hook {
            write!(f, "hook {hook}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// The names in `known` closest to `wanted`, at most three, nearest first; none that is wholly different.
pub(crate) fn closest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let limit = (wanted.chars().count() / 2).max(2);
    let mut near: Vec<(usize, &str)> = known
        .into_iter()
        .map(|name| (strsim::levenshtein(wanted, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    near.sort_unstable();
    near.truncate(3);
    near.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_names_are_offered_and_far_ones_not() {
        assert_eq!(
            closest("on_exce", ["on_exec", "on_exit", "unrelated_name"]),
            ["on_exec", "on_exit"]
        );
        assert!(closest("x", ["completely"]).is_empty());
    }
}
