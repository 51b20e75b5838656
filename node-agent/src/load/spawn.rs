//! Starting the worker, and making sense of its end.

use std::{
    io::{self, Write},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use bpfleet_crds::{
    NodeReason,
    conditions::{tail, truncate},
};
use tokio::{io::AsyncReadExt, process::Command, sync::watch, task};

use super::request::{Failure, Loaded, MAX_REPORT_BYTES, Report, Request};
use crate::{kernel::fds, layout::ProgramDir, pins};

/// Name of the subcommand that runs as the worker.
pub const WORKER_COMMAND: &str = "load-worker";
/// Most of the worker's standard error that is kept.
const MAX_STDERR_BYTES: u64 = 64 << 10;

/// How workers are started.
#[derive(Clone, Debug)]
pub struct Spawner {
    /// The agent's own binary.
    pub binary: PathBuf,
    /// How long loading may take: the verifier needs seconds for the largest programs.
    pub timeout: Duration,
    /// Becomes true when loading shall end at once; none if it never shall.
    pub cancel: Option<watch::Receiver<bool>>,
}

/// What a worker left: what it loaded, and the descriptors that keep hooks attached.
#[derive(Debug)]
pub struct Outcome {
    /// What runs.
    pub loaded: Loaded,
    /// Hook and descriptor of what cannot be pinned.
    pub held: Vec<(String, OwnedFd)>,
    /// Why not everything is attached that was asked for: only of lost hooks some can be without the others.
    pub failure: Option<Failure>,
}

impl Outcome {
    fn of(loaded: Loaded, fds: Vec<OwnedFd>, failure: Option<Failure>) -> Self {
        let held = loaded.held_fds.iter().cloned().zip(fds).collect();
        Self {
            loaded,
            held,
            failure,
        }
    }
}

/// Why nothing was loaded.
#[derive(Debug)]
pub enum Refused {
    /// It was tried, or could not be.
    Failed(Failure),
    /// The variant is not for this node, or lost hooks want the revision loaded anew.
    Unsuited(Failure),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Spawner {
    /// Loads a revision in a process of its own. Whatever happens to that process, nothing half-made stays.
    pub async fn load(&self, request: &Request) -> Result<Outcome, Refused> {
        let outcome = self.run(request).await;
        if outcome.is_err() {
            let cleaned = ProgramDir::new(&request.node.pin_root, &request.program)
                .and_then(|dir| {
                    dir.loading_revision(&request.revision)
                        .map(|making| (dir, making))
                })
                .map_err(|error| error.to_string())
                .and_then(|(dir, making)| {
                    pins::remove_revision(&dir, &making).map_err(|error| error.to_string())
                });
            if let Err(error) = cleaned {
                tracing::warn!(
                    program = request.program,
                    error,
                    "an unfinished revision cannot be removed"
                );
            }
        }
        outcome
    }

    /// Ends when loading shall.
    async fn cancelled(&self) {
        let told = match self.cancel.clone() {
            Some(mut cancel) => cancel.wait_for(|cancel| *cancel).await.is_ok(),
            None => false,
        };
        if !told {
            std::future::pending::<()>().await;
        }
    }

    async fn run(&self, request: &Request) -> Result<Outcome, Refused> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            Failure::new(NodeReason::LoaderCrashed, format!("{what}: {error}"))
        };
        let (ours, theirs) =
            UnixStream::pair().map_err(|e| failed("cannot make a socket for the loading process", &e))?;
        let mut child = Command::new(&self.binary)
            .arg(WORKER_COMMAND)
            .arg(std::process::id().to_string())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed("cannot start the loading process", &error))?;
        let text = serde_json::to_vec(request).map_err(|error| failed("cannot write the request", &error))?;
        let talk = task::spawn_blocking(move || -> io::Result<_> {
            (&ours).write_all(&text)?;
            ours.shutdown(std::net::Shutdown::Write)?;
            fds::receive(&ours, MAX_REPORT_BYTES)
        });
        let stderr = child.stderr.take();
        let complaints = async {
            let mut text = Vec::new();
            if let Some(stderr) = stderr {
                // What was read before an error is all there is.
                let _ = stderr.take(MAX_STDERR_BYTES).read_to_end(&mut text).await;
            }
            String::from_utf8_lossy(&text).into_owned()
        };
        let all = async { tokio::join!(talk, complaints, child.wait()) };
        let ended_by_us = tokio::select! {
            all = all => Ok(all),
            () = tokio::time::sleep(self.timeout) => Err(Failure::new(
                NodeReason::LoaderTimedOut,
                format!(
                    "loading took longer than {} s and was ended; is the node overloaded?",
                    self.timeout.as_secs()
                ),
            )),
            () = self.cancelled() => {
                Err(Failure::new(NodeReason::LoaderKilled, "loading was ended because the agent was told to end"))
            }
        };
        let (talk, complaints, status) = match ended_by_us {
            Ok(all) => all,
            Err(failure) => {
                // Ends the reader as well: the socket closes with the process.
                let _ = child.kill().await;
                return Err(failure.into());
            }
        };
        for line in complaints.lines() {
            tracing::warn!(program = request.program, "{line}");
        }
        let status = status.map_err(|error| failed("cannot wait for the loading process", &error))?;
        let report = talk
            .map_err(|error| error.to_string())
            .and_then(|talk| talk.map_err(|error| error.to_string()))
            .and_then(|(text, fds)| {
                serde_json::from_slice::<Report>(&text)
                    .map(|report| (report, fds))
                    .map_err(|error| error.to_string())
            });
        match (status.success(), report) {
            (true, Ok((Report::Loaded(loaded), fds))) => Ok(Outcome::of(loaded, fds, None)),
            (true, Ok((Report::Reattached(loaded, failure), fds))) => Ok(Outcome::of(loaded, fds, failure)),
            (true, Ok((Report::Failed(failure), _))) => Err(Refused::Failed(failure)),
            (true, Ok((Report::Unsuited(failure), _))) => Err(Refused::Unsuited(failure)),
            (true, Err(error)) => Err(failed("the loading process sent no report", &error).into()),
            (false, _) => Err(ended(status, &complaints).into()),
        }
    }
}

/// What the end of a worker means that sent no report.
fn ended(status: ExitStatus, complaints: &str) -> Failure {
    let last = last_words(complaints);
    let memory = complaints.contains("memory allocation of");
    match status.signal() {
        _ if memory => Failure::new(
            NodeReason::LoaderKilled,
            "loading needed more than 1 GiB of memory and was ended; is this a sensible object?",
        ),
        Some(libc::SIGKILL) => Failure::new(
            NodeReason::LoaderKilled,
            "the loading process was killed, most likely because the node or the agent's pod ran out of memory",
        ),
        Some(signal) => Failure::new(
            NodeReason::LoaderCrashed,
            format!("the loading process died of signal {signal}: {last}"),
        ),
        None => Failure::new(
            NodeReason::LoaderCrashed,
            format!("the loading process failed ({status}): {last}"),
        ),
    }
}

/// What a process said of its end: of a panic where and why, without the backtrace; otherwise its last words.
fn last_words(complaints: &str) -> String {
    let mut lines = complaints
        .lines()
        .skip_while(|line| !line.contains("panicked at "));
    match (lines.next(), lines.next()) {
        (Some(place), why) => truncate(&format!("{place} {}", why.unwrap_or_default()), 512).to_owned(),
        _ => tail(complaints.trim(), 512).to_owned(),
    }
}

/// The path of this process's own binary: as the kernel holds it, so that an upgrade under our feet changes nothing.
pub fn own_binary() -> PathBuf {
    Path::new("/proc/self/exe").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_panic_the_place_and_the_words_are_kept_and_not_the_backtrace() {
        let panic =
            "thread 'main' panicked at src/x.rs:1:2:\nindex out of bounds\nstack backtrace:\n   0: std\n";
        assert_eq!(
            last_words(panic),
            "thread 'main' panicked at src/x.rs:1:2: index out of bounds"
        );
        assert_eq!(
            last_words("cannot open\ncannot read\n"),
            "cannot open\ncannot read"
        );
    }

    #[test]
    fn the_end_of_a_worker_becomes_a_reason() {
        for (status, complaints, reason) in [
            (ExitStatus::from_raw(libc::SIGKILL), "", NodeReason::LoaderKilled),
            (ExitStatus::from_raw(libc::SIGSEGV), "", NodeReason::LoaderCrashed),
            (
                ExitStatus::from_raw(101 << 8),
                "thread 'main' panicked at x.rs",
                NodeReason::LoaderCrashed,
            ),
            (
                ExitStatus::from_raw(libc::SIGABRT),
                "memory allocation of 16777216 bytes failed",
                NodeReason::LoaderKilled,
            ),
        ] {
            assert_eq!(ended(status, complaints).reason, reason);
        }
    }
}
