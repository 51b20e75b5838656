//! What to do next for one program: a function of its state.

use std::time::Instant;

use super::state::Program;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until something changes.
    Idle,
    /// Nothing, until this time.
    WaitUntil(Instant),
    /// This.
    Start(Action),
}

/// One thing that changes the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Load and attach this revision; what ran before goes when it succeeded.
    Load(String),
    /// Attach these hooks again, which the running revision has lost; its others go on.
    Reattach {
        /// The revision.
        revision: String,
        /// The variant that it runs as.
        variant: String,
        /// The hooks.
        lost: Vec<String>,
    },
    /// Remove what does not belong to this revision, and make its public paths right.
    Clean(String),
    /// Remove the whole program.
    Remove,
}

/// Decides. `authoritative`: whether it is certain what shall run, so that the rest may go.
pub fn decide(program: &Program, authoritative: bool, now: Instant) -> Step {
    if program.busy {
        return Step::Idle;
    }
    let waiting = |revision: Option<&String>| {
        program
            .failure
            .as_ref()
            .filter(|retry| retry.revision.as_ref() == revision && retry.at > now)
            .map(|retry| retry.at)
    };
    match &program.wanted {
        None if !authoritative || program.removed => Step::Idle,
        None => waiting(None).map_or(Step::Start(Action::Remove), Step::WaitUntil),
        Some(revision) if program.is_running() => match waiting(None) {
            _ if !program.leftovers => Step::Idle,
            Some(time) => Step::WaitUntil(time),
            None => Step::Start(Action::Clean(revision.clone())),
        },
        Some(revision) => waiting(Some(revision)).map_or_else(
            || Step::Start(reattach(program, revision).unwrap_or_else(|| Action::Load(revision.clone()))),
            Step::WaitUntil,
        ),
    }
}

/// If it is the wanted revision that runs, what is missing of it.
fn reattach(program: &Program, revision: &str) -> Option<Action> {
    let running = program.running.as_ref()?;
    let lost = running.hooks.iter().filter(|hook| hook.detached.is_some());
    (running.revision == revision).then_some(Action::Reattach {
        revision: revision.to_owned(),
        variant: running.variant.clone()?,
        lost: lost.map(|hook| hook.name.clone()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bpfleet_crds::NodeReason;

    use super::*;
    use crate::{engine::state::Running, load::request::Failure, notes::Notes, pins::HookState};

    fn running(revision: &str, detached: Option<&str>) -> Option<Running> {
        let hook = HookState {
            detached: detached.map(str::to_owned),
            ..HookState::attached("h", false)
        };
        Some(Running {
            revision: revision.into(),
            variant: None,
            hooks: vec![hook],
            notes: Notes::default(),
            loaded: None,
        })
    }

    fn wants(revision: &str) -> Program {
        let mut program = Program::default();
        program.want(revision);
        program
    }

    #[test]
    fn each_state_has_its_step() {
        let now = Instant::now();
        let load = |revision: &str| Step::Start(Action::Load(revision.into()));
        let mut new = wants("r1");
        assert_eq!(decide(&new, true, now), load("r1"), "new");
        new.busy = true;
        assert_eq!(decide(&new, true, now), Step::Idle, "under way");

        let settled = Program {
            running: running("r1", None),
            ..wants("r1")
        };
        assert_eq!(decide(&settled, true, now), Step::Idle, "it runs");
        let changed = Program {
            running: running("r1", None),
            ..wants("r2")
        };
        assert_eq!(
            decide(&changed, true, now),
            load("r2"),
            "another revision is wanted"
        );
        let mut detached = Program {
            running: running("r1", Some("gone")),
            ..wants("r1")
        };
        assert_eq!(
            decide(&detached, true, now),
            load("r1"),
            "a hook was lost, of who knows which variant"
        );
        if let Some(running) = &mut detached.running {
            running.variant = Some("main".into());
            running.hooks.push(HookState::attached("whole", false));
        }
        let reattach = Action::Reattach {
            revision: "r1".into(),
            variant: "main".into(),
            lost: vec!["h".into()],
        };
        assert_eq!(
            decide(&detached, true, now),
            Step::Start(reattach),
            "a hook was lost"
        );
        detached.want("r2");
        assert_eq!(
            decide(&detached, true, now),
            load("r2"),
            "and another revision is wanted"
        );
        let untidy = Program {
            running: running("r2", None),
            leftovers: true,
            ..wants("r2")
        };
        assert_eq!(
            decide(&untidy, true, now),
            Step::Start(Action::Clean("r2".into())),
            "the old one is to go"
        );
    }

    #[test]
    fn nothing_is_removed_on_the_word_of_the_cache() {
        let unwanted = Program {
            running: running("r1", None),
            ..Program::default()
        };
        let now = Instant::now();
        assert_eq!(decide(&unwanted, false, now), Step::Idle);
        assert_eq!(decide(&unwanted, true, now), Step::Start(Action::Remove));
    }

    #[test]
    fn a_failure_waits_unless_something_else_is_wanted() {
        let now = Instant::now();
        let mut program = wants("r1");
        program.failed(
            "r1".into(),
            Failure::new(NodeReason::VerifierRejected, "no"),
            now,
            "n/p",
        );
        let Step::WaitUntil(at) = decide(&program, true, now) else {
            panic!("it must wait")
        };
        assert!(at > now);
        assert_eq!(
            decide(&program, true, at + Duration::from_millis(1)),
            Step::Start(Action::Load("r1".into()))
        );
        program.want("r2");
        assert_eq!(
            decide(&program, true, now),
            Step::Start(Action::Load("r2".into()))
        );
    }

    #[test]
    fn going_back_to_what_runs_loads_nothing() {
        let now = Instant::now();
        let mut program = Program {
            running: running("r1", None),
            ..wants("r2")
        };
        program.failed(
            "r2".into(),
            Failure::new(NodeReason::VerifierRejected, "no"),
            now,
            "n/p",
        );
        program.want("r1");
        assert_eq!(
            decide(&program, true, now),
            Step::Start(Action::Clean("r1".into()))
        );
    }
}
