//! The process that loads one revision: it reads a request from its standard input, a socket, loads, attaches
//! and pins, answers on the same socket, and ends.

use std::{
    io::{self, Read},
    os::{fd::AsFd, unix::net::UnixStream},
    process::ExitCode,
    time::Instant,
};

use nix::{
    sys::{
        prctl::set_pdeathsig,
        resource::{Resource, setrlimit},
        signal::Signal,
    },
    unistd::getppid,
};

use super::{
    reattach,
    request::{Report, Request},
    revision::{self, Refusal},
};
use crate::kernel::fds;

/// Most of a request in bytes.
const MAX_REQUEST_BYTES: u64 = 4 << 20;
/// Most address space of the process: a bad object must not take the node's memory.
const MAX_ADDRESS_SPACE: u64 = 1 << 30;

/// Runs as the worker. The socket is standard input.
pub fn main() -> ExitCode {
    let start = Instant::now();
    let _ = setrlimit(Resource::RLIMIT_AS, MAX_ADDRESS_SPACE, MAX_ADDRESS_SPACE);
    // Before 5.11 maps are charged to it; where it may not be raised, the kernel says so when it matters.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, u64::MAX, u64::MAX);
    if let Err(error) = end_with_agent() {
        return complain("cannot tie the loading process to the agent", &error);
    }
    let socket = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(fd) => UnixStream::from(fd),
        Err(error) => return complain("cannot use standard input as a socket", &error),
    };
    let mut text = Vec::new();
    if let Err(error) = (&socket).take(MAX_REQUEST_BYTES).read_to_end(&mut text) {
        return complain("cannot read the request", &error);
    }
    let request: Request = match serde_json::from_slice(&text) {
        Ok(request) => request,
        Err(error) => return complain("the request is malformed", &error),
    };
    #[cfg(debug_assertions)]
    fault::inject(&request.program);
    let (report, held) = match &request.lost {
        Some(lost) => reattach::reattach(&request, lost, start),
        None => match revision::load(&request, start) {
            Ok((loaded, held)) => (Report::Loaded(loaded), held),
            Err(Refusal::Failed(failure)) => (Report::Failed(failure), Vec::new()),
            Err(Refusal::Unsuited(failure)) => (Report::Unsuited(failure), Vec::new()),
        },
    };
    let held_fds: Vec<_> = held.iter().map(AsFd::as_fd).collect();
    let sent = serde_json::to_vec(&report)
        .map_err(io::Error::other)
        .and_then(|text| fds::send(&socket, &text, &held_fds));
    match sent {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain("cannot send the report", &error),
    }
}

/// Ends this process when the agent's does: the next agent would otherwise meet a loader that it knows nothing
/// of, at work on the same pins.
fn end_with_agent() -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    let agent = std::env::args().nth(2).and_then(|pid| pid.parse::<i32>().ok());
    // It may have ended before the line above; then no signal comes.
    if agent.is_some_and(|agent| agent != getppid().as_raw()) {
        return Err(io::Error::other("the agent has ended"));
    }
    Ok(())
}

fn complain(what: &str, error: &dyn std::error::Error) -> ExitCode {
    eprintln!("load-worker: {what}: {error}");
    ExitCode::FAILURE
}

/// Faults that tests ask for, in builds for development only.
#[cfg(debug_assertions)]
mod fault {
    /// `PROGRAM=panic|abort|hang|oom` in the environment makes loading that program end so.
    #[allow(clippy::panic, reason = "the fault that the test asked for")]
    pub fn inject(program: &str) {
        let Ok(fault) = std::env::var("BPFLEET_LOADER_FAULT") else {
            return;
        };
        match fault
            .strip_prefix(program)
            .and_then(|rest| rest.strip_prefix('='))
        {
            Some("panic") => panic!("asked to panic"),
            Some("abort") => std::process::abort(),
            Some("hang") => loop {
                std::thread::park();
            },
            Some("oom") => {
                let mut hoard: Vec<Vec<u8>> = Vec::new();
                loop {
                    hoard.push(vec![1; 16 << 20]);
                }
            }
            _ => {}
        }
    }
}
