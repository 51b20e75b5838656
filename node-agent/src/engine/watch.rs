//! Hooks that were attached and are not any more: noticing them, and attaching them again.

use std::{collections::BTreeSet, os::fd::OwnedFd, time::Instant};

use bpfleet_crds::BpfRevisionSpec;

use super::{execute::Executor, state::Program};
use crate::{
    layout::ProgramDir,
    load::{
        request::{Failure, Request},
        spawn::Refused,
    },
    pins::{self, HookState, UNPINNED},
};

/// Lost hooks of a complete revision that were tried again.
#[derive(Debug)]
pub struct Reattached {
    /// Those that are attached, and whether they end with the agent.
    pub hooks: Vec<HookState>,
    /// What keeps some of them attached.
    pub held: Vec<(String, OwnedFd)>,
    /// Why others are not.
    pub failure: Option<Failure>,
}

/// What became of a hook between two looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is not attached any more, for this reason.
    Lost(String),
    /// It is attached again.
    Back,
}

/// What a look says of the hooks that were known: one whose pins are gone altogether is lost, and not forgotten.
fn complete(known: &[HookState], mut found: Vec<HookState>) -> Vec<HookState> {
    for hook in known {
        if !found.iter().any(|other| other.name == hook.name) {
            found.push(HookState {
                detached: Some(UNPINNED.to_owned()),
                ..hook.clone()
            });
        }
    }
    found
}

/// What changed, by hook.
fn changes(known: &[HookState], found: &[HookState]) -> Vec<(String, Change)> {
    let change = |now: &HookState| {
        let before = known.iter().find(|hook| hook.name == now.name);
        let was_attached = before.is_none_or(|hook| hook.detached.is_none());
        let change = match (&now.detached, was_attached) {
            (Some(why), true) => Change::Lost(why.clone()),
            (None, false) => Change::Back,
            _ => return None,
        };
        Some((now.name.clone(), change))
    };
    found.iter().filter_map(change).collect()
}

/// Whether something else is now where a lost hook was attached, or something is at last.
fn targets_changed(known: &[HookState], found: &[HookState]) -> bool {
    found.iter().filter(|hook| hook.detached.is_some()).any(|hook| {
        known.iter().any(|before| {
            before.name == hook.name && before.detached.is_some() && before.targets != hook.targets
        })
    })
}

impl Program {
    /// Takes in what a look at the running revision found; gives what changed.
    pub fn seen(&mut self, found: Vec<HookState>, now: Instant) -> Vec<(String, Change)> {
        let Some(running) = &mut self.running else {
            return Vec::new();
        };
        let found = complete(&running.hooks, found);
        if targets_changed(&running.hooks, &found)
            && let Some(retry) = &mut self.failure
            && retry.revision.as_ref() == Some(&running.revision)
        {
            retry.at = retry.at.min(now);
            retry.tries = 0;
        }
        let changes = changes(&running.hooks, &found);
        running.hooks = found;
        changes
    }

    /// Some lost hooks are attached again, perhaps not all.
    pub fn reattached(&mut self, revision: String, done: Reattached, now: Instant, who: &str) {
        let again: BTreeSet<&str> = done.hooks.iter().map(|hook| hook.name.as_str()).collect();
        self.held.retain(|(hook, _)| !again.contains(hook.as_str()));
        self.held.extend(done.held);
        if let Some(running) = &mut self.running {
            for hook in &mut running.hooks {
                if let Some(state) = done.hooks.iter().find(|state| state.name == hook.name) {
                    *hook = state.clone();
                }
            }
        }
        // Public paths are to lead to what is attached now.
        self.leftovers = true;
        match done.failure {
            Some(failure) => self.failed(revision, failure, now, who),
            None => self.failure = None,
        }
    }
}

/// Says in the log what became of hooks.
pub fn log(program: &str, revision: &str, changes: &[(String, Change)]) {
    for (hook, change) in changes {
        match change {
            Change::Lost(why) => tracing::info!(program, revision, hook, why, "hook lost"),
            Change::Back => tracing::info!(program, revision, hook, "hook attached again"),
        }
    }
}

impl Executor {
    /// Looks whether what ran still does; none if that cannot be told. It asks the kernel a few questions a hook and
    /// writes nothing.
    pub fn look(&self, name: &str, revision: &str, held: &BTreeSet<String>) -> Option<Vec<HookState>> {
        let node = &self.settings().node;
        let looked = ProgramDir::new(&node.pin_root, name)
            .and_then(|dir| dir.revision(revision).map(|revision| (dir, revision)))
            .map_err(std::io::Error::other)
            .and_then(|(dir, revision)| pins::verify(&dir, &revision, node, |hook| held.contains(hook)));
        looked
            .map_err(|error| tracing::warn!(program = name, %error, "pins cannot be read"))
            .ok()
    }

    /// Attaches lost hooks again without loading anew; none if that is what is needed.
    pub(super) async fn reattach(
        &self,
        name: &str,
        revision: &str,
        variant: &str,
        lost: &[String],
        spec: &BpfRevisionSpec,
    ) -> Result<Option<Reattached>, Failure> {
        let object = spec
            .variants
            .iter()
            .find(|known| known.name == variant)
            .and_then(|known| known.object_for(&self.settings().architecture));
        let Some(object) = object else { return Ok(None) };
        let request = Request {
            program: name.to_owned(),
            revision: revision.to_owned(),
            variant: variant.to_owned(),
            passed_over: Vec::new(),
            hooks: spec.hooks.clone(),
            maps: spec.maps.clone().unwrap_or_default(),
            object: self.source().object(object).await?,
            digest: object.digest,
            node: self.settings().node.clone(),
            lost: Some(lost.to_vec()),
        };
        // Where this variant cannot be attached any more, another may.
        let others = spec.variants.len() > 1;
        match self.settings().spawner.load(&request).await {
            Ok(outcome) if outcome.failure.is_some() && outcome.loaded.hooks.is_empty() && others => Ok(None),
            Ok(outcome) => {
                let ends = |hook: &str| outcome.held.iter().any(|(held, _)| held == hook);
                let state = |name: &String| HookState::attached(name, ends(name));
                Ok(Some(Reattached {
                    hooks: outcome
                        .loaded
                        .hooks
                        .iter()
                        .map(|hook| state(&hook.name))
                        .collect(),
                    failure: outcome.failure,
                    held: outcome.held,
                }))
            }
            Err(Refused::Failed(failure)) => Err(failure),
            Err(Refused::Unsuited(why)) => {
                tracing::info!(program = name, revision, "{why}");
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bpfleet_crds::NodeReason;
    use rstest::rstest;

    use super::*;
    use crate::{engine::state::Running, notes::Notes};

    fn lost(name: &str, targets: &str) -> HookState {
        HookState {
            detached: Some("gone".into()),
            targets: serde_json::from_str(targets).unwrap(),
            ..HookState::attached(name, false)
        }
    }

    fn program(hooks: Vec<HookState>) -> Program {
        let mut program = Program::default();
        program.want("r1");
        program.running = Some(Running {
            revision: "r1".into(),
            variant: Some("main".into()),
            hooks,
            notes: Notes::default(),
            loaded: None,
        });
        program
    }

    #[test]
    fn a_hook_whose_pins_are_gone_altogether_is_lost_and_not_forgotten() {
        let attached = |name| HookState::attached(name, false);
        let mut program = program(vec![attached("a"), attached("b")]);
        let changes = program.seen(vec![attached("b")], Instant::now());
        assert_eq!(changes, [("a".to_owned(), Change::Lost(UNPINNED.to_owned()))]);
        assert!(!program.is_running());
        let changes = program.seen(vec![attached("a"), attached("b")], Instant::now());
        assert_eq!(changes, [("a".to_owned(), Change::Back)]);
    }

    #[rstest]
    #[case::nothing_there_still("[null]", "[null]", false)]
    #[case::it_came_back("[null]", "[[1,2]]", true)]
    #[case::another_took_its_place("[[1,2]]", "[[1,3]]", true)]
    #[case::nothing_is_known_of_targets("[]", "[]", false)]
    fn a_lost_hook_is_tried_at_once_when_what_is_in_its_place_changes(
        #[case] before: &str,
        #[case] after: &str,
        #[case] at_once: bool,
    ) {
        let now = Instant::now();
        let mut program = program(vec![lost("a", before)]);
        let failure = || Failure::new(NodeReason::TargetNotFound, "not there");
        for _ in 0..5 {
            program.failed("r1".into(), failure(), now, "n/p");
        }
        let soon = now + Duration::from_secs(1);
        assert_eq!(program.seen(vec![lost("a", after)], soon), []);
        assert_eq!(program.failure.unwrap().at <= soon, at_once);
    }

    #[test]
    fn of_lost_hooks_some_come_back_without_the_others() {
        let mut program = program(vec![
            HookState::attached("whole", false),
            lost("a", "[]"),
            lost("b", "[]"),
        ]);
        let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        program.held = vec![("whole".into(), null()), ("a".into(), null())];
        let done = Reattached {
            hooks: vec![HookState::attached("a", true)],
            held: vec![("a".into(), null())],
            failure: Some(Failure::new(NodeReason::TargetNotFound, "b is not there")),
        };
        program.reattached("r1".into(), done, Instant::now(), "n/p");
        let detached: Vec<_> = program
            .running
            .as_ref()
            .unwrap()
            .hooks
            .iter()
            .map(|hook| hook.detached.is_some())
            .collect();
        assert_eq!(detached, [false, false, true]);
        let held: Vec<_> = program.held.iter().map(|(hook, _)| hook.as_str()).collect();
        assert_eq!(held, ["whole", "a"]);
        assert_eq!(program.failure.unwrap().failure.message, "b is not there");
    }
}
