//! A network namespace of a test's own. It has no name and lives as long as a thread or process in it, so that
//! nothing is left behind, however the test ends.

use std::{panic::resume_unwind, process::Command, thread};

use nix::sched::{CloneFlags, unshare};

/// Runs `work` in a new network namespace with its loopback up. Processes that it starts are in it as well.
pub fn inside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("making a network namespace needs root");
            run("ip link set lo up");
            work()
        });
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Two interfaces, `left` and `right`, with a cable between them. What is sent to 10.9.8.255 leaves `left`.
pub fn cable() {
    run("ip link add left type veth peer name right");
    run("ip addr add 10.9.8.1/24 brd 10.9.8.255 dev left");
    run("ip link set left up");
    run("ip link set right up");
}

/// Runs a command, words separated by single spaces, and returns its output.
pub fn run(command: &str) -> String {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{command}: {out}{err}");
    out.into_owned()
}
