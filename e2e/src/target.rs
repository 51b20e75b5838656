//! A program of the test's own, one of whose functions is called exactly as often as the test says. Where it cannot
//! go on it panics, which ends the test.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crate::wait;

/// Longer than a call takes on a machine whose processors are all busy.
const SOON: Duration = Duration::from_secs(60);

/// Calls `hit` once for every byte, and answers with that byte when the call has returned.
const SOURCE: &str = "
#include <unistd.h>
__attribute__((noinline)) void hit(void) { __asm__ volatile(\"\"); }
int main(void)
{
	char c;
	while (read(0, &c, 1) == 1) {
		hit();
		if (write(1, &c, 1) != 1)
			return 1;
	}
	return 0;
}
";

/// Name of the function that is called.
pub const FUNCTION: &str = "hit";

/// Compiles the program into a directory and gives its path.
pub fn build(dir: &Path) -> PathBuf {
    let (source, binary) = (dir.join("target.c"), dir.join("target"));
    std::fs::write(&source, SOURCE).unwrap();
    let status = Command::new("cc")
        .args(["-O1", "-o"])
        .arg(&binary)
        .arg(&source)
        .status()
        .unwrap();
    assert!(status.success(), "cc: {status}");
    binary
}

/// The running program. Dropping it ends it.
pub struct Target {
    child: Child,
    pipes: Option<(ChildStdin, ChildStdout)>,
    hits: u64,
}

impl Target {
    /// Runs what [`build`] made.
    pub fn start(binary: &Path) -> Target {
        Target::start_by(&mut Command::new(binary))
    }

    /// Runs it by a command that ends in it: on a node, say.
    pub fn start_by(command: &mut Command) -> Target {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pipes = child.stdin.take().zip(child.stdout.take());
        Target {
            child,
            pipes,
            hits: 0,
        }
    }

    /// Makes so many calls, and gives how many there were since the start.
    pub fn hit(&mut self, times: u64) -> u64 {
        let pipes = self.pipes.as_mut().unwrap();
        for _ in 0..times {
            one(pipes);
        }
        self.hits += times;
        self.hits
    }

    /// Makes calls all the time until the result is told to stop.
    pub fn pump(&mut self) -> Pump<'_> {
        let mut pipes = self.pipes.take().unwrap();
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (told, counter) = (stop.clone(), made.clone());
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                one(&mut pipes);
                counter.fetch_add(1, Ordering::Relaxed);
                // The other processor is for those under test.
                std::thread::sleep(Duration::from_micros(200));
            }
            pipes
        });
        Pump {
            target: self,
            stop,
            made,
            thread: Some(thread),
        }
    }
}

fn one((input, output): &mut (ChildStdin, ChildStdout)) {
    input.write_all(b"x").unwrap();
    output.read_exact(&mut [0]).unwrap();
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Calls that go on beside the test. Dropping it stops them.
pub struct Pump<'t> {
    target: &'t mut Target,
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    thread: Option<JoinHandle<(ChildStdin, ChildStdout)>>,
}

impl Pump<'_> {
    /// Waits for so many further calls.
    pub fn wait_for(&self, more: u64) {
        let before = self.made.load(Ordering::Relaxed);
        wait::until(format!("{more} calls"), SOON, || {
            match self.made.load(Ordering::Relaxed) - before {
                now if now >= more => Ok(()),
                now => Err(now),
            }
        })
        .unwrap();
    }

    /// Stops, and gives how many calls there were since the target's start.
    pub fn stop(mut self) -> u64 {
        self.end();
        self.target.hits
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Ok(pipes)) = self.thread.take().map(JoinHandle::join) {
            self.target.pipes = Some(pipes);
            self.target.hits += self.made.load(Ordering::Relaxed);
        }
    }
}

impl Drop for Pump<'_> {
    fn drop(&mut self) {
        self.end();
    }
}
