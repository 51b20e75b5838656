//! The BpfNode's status: what runs and what the node is, within the bounds that keep a fleet cheap to watch.

use bpfleet_crds::{
    BpfNodeStatus, NodeReason,
    conditions::{READY, Status, set, truncate},
    node::{MAX_LOG_TAILS_BYTES, MAX_PROGRAM_ROWS, NodeFacts, ProgramCounts, ProgramStatus},
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};

use crate::engine::View;

/// Largest list of rows in a status, in bytes as JSON: a whole status stays below 64 KiB.
const MAX_ROWS_BYTES: usize = 56 << 10;

/// The status that says this. Conditions keep their transition times from `previous`.
pub fn status(
    view: &View,
    facts: &NodeFacts,
    version: &str,
    previous: &[Condition],
    now: Timestamp,
) -> BpfNodeStatus {
    let rows = bounded(view.rows.clone());
    let counts = count(view);
    let mut conditions: Vec<Condition> = previous
        .iter()
        .filter(|known| known.type_ == READY)
        .cloned()
        .collect();
    let (ready, reason, message) = ready(view, counts);
    set(
        &mut conditions,
        READY,
        ready,
        reason.as_str(),
        message,
        view.generation,
        now,
    );
    BpfNodeStatus {
        observed_generation: view.generation,
        agent_version: Some(version.to_owned()),
        facts: Some(facts.clone()),
        counts: Some(counts),
        programs: rows,
        conditions,
    }
}

/// Whether two statuses say the same, whenever they were written.
pub fn same(a: &BpfNodeStatus, b: &BpfNodeStatus) -> bool {
    let timeless = |status: &BpfNodeStatus| {
        let mut status = status.clone();
        for condition in &mut status.conditions {
            condition.last_transition_time.0 = Timestamp::UNIX_EPOCH;
        }
        status
    };
    timeless(a) == timeless(b)
}

/// How many programs stand where.
pub fn count(view: &View) -> ProgramCounts {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let healthy = view.rows.iter().filter(|row| row.reason.is_none()).count();
    let failed = view.rows.iter().filter(|row| failing(row)).count();
    ProgramCounts {
        wanted: view.wanted,
        running: number(healthy),
        failed: number(failed),
    }
}

/// Whether a row tells of a failure, rather than of something under way.
pub fn failing(row: &ProgramStatus) -> bool {
    let reason = row.reason.as_deref().and_then(NodeReason::parse);
    reason.is_some_and(|reason| !matches!(reason, NodeReason::Pending | NodeReason::Removing))
}

fn ready(view: &View, counts: ProgramCounts) -> (Status, NodeReason, String) {
    if let Some(failure) = &view.blocked {
        return (Status::False, failure.reason, failure.message.clone());
    }
    if counts.failed > 0 {
        let names: Vec<&str> = view
            .rows
            .iter()
            .filter(|row| failing(row))
            .map(|row| row.name.as_str())
            .take(8)
            .collect();
        let message = format!(
            "{} of {} programs failed: {}; see status.programs",
            counts.failed,
            counts.wanted,
            names.join(", ")
        );
        return (Status::False, NodeReason::ProgramsFailed, message);
    }
    if let Some(row) = view.rows.iter().find(|row| row.reason.is_some()) {
        let message = format!(
            "{} of {} programs run; {} is on its way",
            counts.running, counts.wanted, row.name
        );
        return (Status::False, NodeReason::ProgramsPending, message);
    }
    match counts.wanted {
        0 => (
            Status::True,
            NodeReason::NothingToRun,
            "no BpfProgram selects this node".to_owned(),
        ),
        1 => (
            Status::True,
            NodeReason::AllProgramsRunning,
            "the program of this node runs".to_owned(),
        ),
        n => (
            Status::True,
            NodeReason::AllProgramsRunning,
            format!("all {n} programs of this node run"),
        ),
    }
}

/// Cuts what explains failures, first log tails, then messages, until the rows fit.
fn bounded(mut rows: Vec<ProgramStatus>) -> Vec<ProgramStatus> {
    let mut tails = 0;
    for row in &mut rows {
        if let Some(log) = &row.log_tail {
            tails += log.len();
            if tails > MAX_LOG_TAILS_BYTES {
                tails -= log.len();
                row.log_tail = None;
            }
        }
    }
    for longest in [512, 256, 128, 64, 0] {
        if serde_json::to_vec(&rows).is_ok_and(|text| text.len() <= MAX_ROWS_BYTES) {
            break;
        }
        for row in &mut rows {
            row.log_tail = None;
            row.failed_hooks.truncate(1);
            for message in row
                .message
                .iter_mut()
                .chain(row.failed_hooks.iter_mut().map(|hook| &mut hook.message))
            {
                *message = truncate(message, longest).to_owned();
            }
            if longest == 0 {
                row.failed_hooks.clear();
                row.message = None;
            }
        }
    }
    // Rows of programs that nobody wants here any more can be many; the counts still tell of all.
    while rows.len() > MAX_PROGRAM_ROWS
        || serde_json::to_vec(&rows).is_ok_and(|text| text.len() > MAX_ROWS_BYTES)
    {
        rows.pop();
    }
    rows
}

#[cfg(test)]
mod tests {
    use bpfleet_crds::node::{FailedHook, MAX_PROGRAMS};

    use super::*;

    fn row(name: &str, reason: Option<NodeReason>) -> ProgramStatus {
        ProgramStatus {
            name: name.into(),
            revision: Some(format!("{name}-0123456789ab")),
            variant: Some("main".into()),
            hooks_attached: 4,
            hooks_wanted: 4,
            reason: reason.map(Into::into),
            ..ProgramStatus::default()
        }
    }

    fn view(rows: Vec<ProgramStatus>) -> View {
        View {
            generation: Some(3),
            wanted: rows.len() as u32,
            rows,
            settled: true,
            ..View::default()
        }
    }

    fn of(view: &View) -> BpfNodeStatus {
        status(view, &NodeFacts::default(), "0.1.0", &[], Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn ready_says_what_is_wrong_first() {
        for (rows, expected) in [
            (vec![], ("True", "NothingToRun")),
            (vec![row("a", None)], ("True", "AllProgramsRunning")),
            (
                vec![row("a", None), row("b", Some(NodeReason::Pending))],
                ("False", "ProgramsPending"),
            ),
            (
                vec![
                    row("a", Some(NodeReason::VerifierRejected)),
                    row("b", Some(NodeReason::Pending)),
                ],
                ("False", "ProgramsFailed"),
            ),
        ] {
            let status = of(&view(rows));
            let ready = &status.conditions[0];
            assert_eq!((ready.status.as_str(), ready.reason.as_str()), expected);
            assert_eq!(ready.observed_generation, Some(3));
        }
    }

    #[test]
    fn twenty_healthy_programs_take_at_most_6_kib() {
        let rows = (0..20)
            .map(|n| row(&format!("a-program-with-a-name-{n}"), None))
            .collect();
        assert!(serde_json::to_vec(&of(&view(rows))).unwrap().len() <= 6 << 10);
    }

    #[test]
    fn verifier_tails_take_at_most_8_kib_together_and_a_status_64_kib() {
        let rows: Vec<_> = (0..MAX_PROGRAMS)
            .map(|n| {
                let mut row = row(&format!("{n:063}"), Some(NodeReason::VerifierRejected));
                row.failing_revision = row.revision.clone();
                row.log_tail = Some("x".repeat(1024));
                row.message = Some("m".repeat(1024));
                let hook = FailedHook {
                    name: "h".into(),
                    reason: "r".into(),
                    message: "m".repeat(1024),
                };
                row.failed_hooks = vec![hook; 8];
                row
            })
            .collect();
        let few = bounded(
            rows.iter()
                .take(10)
                .cloned()
                .map(|row| ProgramStatus {
                    failed_hooks: vec![],
                    ..row
                })
                .collect(),
        );
        let tails: usize = few
            .iter()
            .filter_map(|row| row.log_tail.as_ref())
            .map(String::len)
            .sum();
        assert!(tails > 4096 && tails <= MAX_LOG_TAILS_BYTES);
        let status = of(&view(rows));
        assert_eq!(status.programs.len(), MAX_PROGRAMS);
        let all = serde_json::to_vec(&status).unwrap().len();
        assert!(all <= 64 << 10, "{all}");
    }

    #[test]
    fn a_later_transition_time_alone_is_the_same_status() {
        let early = of(&view(vec![]));
        let late = status(
            &view(vec![]),
            &NodeFacts::default(),
            "0.1.0",
            &[],
            Timestamp::from_second(9).unwrap(),
        );
        assert!(same(&early, &late));
        assert!(!same(&early, &of(&view(vec![row("a", None)]))));
    }
}
