//! What the engine knows of each program.

use std::{collections::BTreeMap, os::fd::OwnedFd, sync::Arc, time::Instant};

use bpfleet_crds::NodeReason;
use serde::{Deserialize, Serialize};

use crate::{
    backoff::delay,
    load::request::{Failure, Loaded},
    notes::Notes,
    pins::HookState,
};

/// What shall run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Generation of the BpfNode that says so.
    pub generation: Option<i64>,
    /// Program to revision.
    pub programs: BTreeMap<String, String>,
    /// Whether it comes from who decides. What only the cache says is loaded, but nothing is removed for it.
    #[serde(skip)]
    pub authoritative: bool,
}

/// One program on this node.
#[derive(Debug, Default)]
pub struct Program {
    /// The revision that shall run; none: the program shall go.
    pub wanted: Option<String>,
    /// What is attached.
    pub running: Option<Running>,
    /// Why the wanted revision is not.
    pub failure: Option<Retry>,
    /// Whether other revisions, or unfinished ones, lie in bpffs.
    pub leftovers: bool,
    /// Whether an action is under way.
    pub busy: bool,
    /// Whether a look at the hooks is under way.
    pub looking: bool,
    /// How many actions began or ended: a look that one came between says nothing.
    pub turn: u64,
    /// Whether the whole program is gone from bpffs.
    pub removed: bool,
    /// Perf events that keep hooks attached, by hook.
    pub held: Vec<(String, OwnedFd)>,
}

/// A complete revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    /// Its name.
    pub revision: String,
    /// The variant it was loaded as.
    pub variant: Option<String>,
    /// Its hooks.
    pub hooks: Vec<HookState>,
    /// Why it runs as it does.
    pub notes: Notes,
    /// What loading it said; none if it was adopted.
    pub loaded: Option<Arc<Loaded>>,
}

/// A failure, and when to try again.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// The revision that failed; none: its removal did.
    pub revision: Option<String>,
    /// Why.
    pub failure: Failure,
    /// How often in a row.
    pub tries: u32,
    /// When to try again.
    pub at: Instant,
}

impl Program {
    /// This revision shall run. A failure of another one is history.
    pub fn want(&mut self, revision: &str) {
        if self.wanted.as_deref() != Some(revision) {
            self.wanted = Some(revision.to_owned());
            self.removed = false;
            self.failure = None;
        }
    }

    /// Whether the wanted revision is attached whole.
    pub fn is_running(&self) -> bool {
        self.running.as_ref().is_some_and(|running| {
            Some(&running.revision) == self.wanted.as_ref()
                && running.hooks.iter().all(|hook| hook.detached.is_none())
        })
    }

    /// Whether nothing is left to know or to do.
    pub fn is_gone(&self) -> bool {
        self.wanted.is_none() && self.removed && !self.busy
    }

    /// A revision was attached; the descriptors of the one before end with it.
    pub fn loaded(&mut self, running: Running, held: Vec<(String, OwnedFd)>) {
        self.running = Some(running);
        self.held = held;
        self.failure = None;
        self.leftovers = false;
        self.removed = false;
    }

    /// Nothing but the running revision is left.
    pub fn cleaned(&mut self) {
        self.leftovers = false;
        if self
            .failure
            .as_ref()
            .is_some_and(|retry| retry.revision.is_none())
        {
            self.failure = None;
        }
    }

    /// A revision could not be attached.
    pub fn failed(&mut self, revision: String, mut failure: Failure, now: Instant, who: &str) {
        let same = |retry: &&Retry| retry.revision.as_ref() == Some(&revision);
        let before = self.failure.as_ref().filter(same);
        let tries = before.map_or(0, |retry| retry.tries) + 1;
        // A verifier's log has times and addresses that differ each time: what ends the same must look the same,
        // or every retry would be written to the API.
        if let Some(known) = before.map(|retry| &retry.failure)
            && (known.reason, &known.message) == (failure.reason, &failure.message)
        {
            failure.log.clone_from(&known.log);
        }
        let at = now + delay(failure.reason, tries, who);
        self.leftovers = true;
        self.failure = Some(Retry {
            revision: Some(revision),
            failure,
            tries,
            at,
        });
    }

    /// Everything of the program is gone.
    pub fn removed(&mut self) {
        self.running = None;
        self.held.clear();
        self.failure = None;
        self.leftovers = false;
        self.removed = true;
    }

    /// Something of the program could not be removed.
    pub fn remove_failed(&mut self, message: String, now: Instant, who: &str) {
        let tries = self
            .failure
            .as_ref()
            .filter(|retry| retry.revision.is_none())
            .map_or(0, |retry| retry.tries)
            + 1;
        let failure = Failure::new(NodeReason::RemoveFailed, message);
        let at = now + delay(NodeReason::RemoveFailed, tries, who);
        self.failure = Some(Retry {
            revision: None,
            failure,
            tries,
            at,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(message: &str, log: &str) -> Failure {
        let mut failure = Failure::new(NodeReason::VerifierRejected, message.to_owned());
        failure.log = Some(log.to_owned());
        failure
    }

    #[test]
    fn a_retry_that_ends_the_same_keeps_the_log_and_another_end_replaces_it() {
        let now = Instant::now();
        let mut program = Program::default();
        program.want("p-1");
        let cases = [
            (
                "p-1",
                "no",
                "verification time 9 usec",
                1,
                "verification time 9 usec",
            ),
            (
                "p-1",
                "no",
                "verification time 8 usec",
                2,
                "verification time 9 usec",
            ),
            ("p-1", "never", "another log", 3, "another log"),
            ("p-2", "never", "of another revision", 1, "of another revision"),
        ];
        for (revision, message, log, tries, kept) in cases {
            program.failed(revision.to_owned(), rejected(message, log), now, "n/p");
            let retry = program.failure.as_ref().unwrap();
            assert_eq!((retry.tries, retry.failure.log.as_deref()), (tries, Some(kept)));
        }
    }
}
