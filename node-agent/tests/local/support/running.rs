//! A running `bpfleet-agent run -o json`.

use std::{fs, process::ExitStatus, time::Duration};

use bpfleet_e2e::{process::Process, wait};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Longer than anything takes on a busy machine with two cores.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// An agent. Dropping it kills it.
pub struct Running(Process);

impl Running {
    pub fn new(process: Process) -> Self {
        Self(process)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// All that it wrote.
    pub fn output(&self) -> String {
        fs::read_to_string(self.0.log()).unwrap()
    }

    /// What it said last about a program: its row, and what loading said.
    pub fn last(&self, program: &str) -> Option<Value> {
        let output = self.output();
        let mut values = output
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        values.rfind(|value| value["program"]["name"] == program)
    }

    /// Waits until the last row of a program is as wanted.
    pub fn until(&self, program: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let seen = wait::until(format!("{program}: {what}"), PATIENCE, || {
            match self.last(program) {
                Some(value) if wanted(&value["program"]) => Ok(value),
                _ if self.0.status().is_some() => Ok(Value::Null),
                other => Err(format!("{other:?}")),
            }
        });
        match seen {
            Ok(value) if !value.is_null() => value,
            other => panic!("{program}: {what}: {other:?}; the agent says\n{}", self.output()),
        }
    }

    /// Waits until a program runs with all its hooks.
    pub fn healthy(&self, program: &str) -> Value {
        let value = self.until(program, "runs", |row| {
            row["reason"].is_null() && row["hooksAttached"] == row["hooksWanted"] && row["hooksWanted"] != 0
        });
        assert!(value["program"]["revision"].is_string(), "{value}");
        value
    }

    /// The last row of a program if it runs with all its hooks.
    pub fn healthy_now(&self, program: &str) -> Option<Value> {
        self.last(program)
            .map(|mut value| value["program"].take())
            .filter(|row| row["reason"].is_null() && row["failingRevision"].is_null())
    }

    /// Waits until a program has failed for this reason; returns its row.
    pub fn failed(&self, program: &str, reason: &str) -> Value {
        self.until(program, reason, |row| row["reason"] == reason)["program"].take()
    }

    /// SIGINT, as by Ctrl-C; waits for the end, which must be a success.
    pub fn interrupt(&self) {
        self.0.signal(Signal::SIGINT).unwrap();
        let status = self.wait();
        assert!(status.success(), "{status}; the agent says\n{}", self.output());
    }

    /// The same when a program has failed, which the exit code tells.
    pub fn interrupt_after_failure(&self) {
        self.signal_interrupt();
        let status = self.wait();
        assert_eq!(status.code(), Some(1), "the agent says\n{}", self.output());
    }

    /// SIGINT, and no more.
    pub fn signal_interrupt(&self) {
        self.0.signal(Signal::SIGINT).unwrap();
    }

    /// SIGKILL; waits for the end.
    pub fn kill(&self) {
        self.0.kill().unwrap();
    }

    /// Waits for its end.
    pub fn wait(&self) -> ExitStatus {
        self.0
            .wait(PATIENCE)
            .unwrap_or_else(|error| panic!("{error}; the agent says\n{}", self.output()))
    }

    /// Waits for its end, which must be a failure for this reason.
    pub fn ends_with(&self, program: &str, reason: &str) -> Value {
        let status = self.wait();
        assert_eq!(status.code(), Some(1), "{}", self.output());
        let row = self.rows(program).into_iter().find(|row| row["reason"] == reason);
        row.unwrap_or_else(|| panic!("no row with {reason}:\n{}", self.output()))
    }

    /// Every row of a program, in order.
    pub fn rows(&self, program: &str) -> Vec<Value> {
        let output = self.output();
        let values = output
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        values
            .map(|mut value| value["program"].take())
            .filter(|row| row["name"] == program)
            .collect()
    }
}

/// Waits for a condition and says what was seen instead.
pub fn eventually<T>(what: &str, look: impl FnMut() -> Result<T, String>) -> T {
    wait::until(what, PATIENCE, look).unwrap_or_else(|error| panic!("{error}"))
}

/// Waits until an event changes no longer what is seen. A link or event whose descriptor was closed is still there
/// for a moment if another test is just starting a process, which has it too until it executes its program.
pub fn until_unseen<T: PartialEq + std::fmt::Debug>(mut event: impl FnMut(), seen: impl Fn() -> T) {
    eventually("events to be seen no longer", || {
        let before = seen();
        event();
        let after = seen();
        if before == after {
            Ok(())
        } else {
            Err(format!("{before:?} became {after:?}"))
        }
    });
}
