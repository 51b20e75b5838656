//! The namespaces and control groups of a node, and how programs get into them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cgroups::Group;
use super::inner::{PID, READY};
use super::run::{command, path};
use crate::error::{During, Error, Result};
use crate::process::{Launch, Process};
use crate::{binaries, wait};

/// Time for what takes a fraction of a second on an idle machine.
const SOON: Duration = Duration::from_secs(60);
/// Time for what was killed to end.
const END: Duration = Duration::from_secs(20);

/// Namespaces, which end with their first process, and everything in them with it.
pub(super) struct Machine {
    outer: Process,
    pid: i32,
    itself: PathBuf,
    group: Group,
    daemons: Group,
}

impl Machine {
    /// Makes them for the node whose files lie in `dir`; see [`super::inner`] for what happens inside.
    pub(super) fn start(name: &str, dir: &Path, cluster: &Group, logs: &Path) -> Result<Machine> {
        let group = cluster.node(name)?;
        let (pid, ready) = (dir.join(PID), dir.join(READY));
        for file in [&pid, &ready] {
            // From the machine before, if there was one.
            let _ = std::fs::remove_file(file);
        }
        let itself = binaries::find("bpfleet-e2e")?;
        let unshare = Launch::new(name, "unshare")
            .args(["--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup"])
            .args(["--propagation", "private", "--fork", "--kill-child=KILL", "--"])
            .arg(&itself)
            .args(["inner", "first"])
            .arg(dir.join("spec.json"));
        let outer = unshare.within(&join(&itself, &group, false)).start(logs)?;
        wait::until(format!("the namespaces of {name}"), SOON, || {
            match outer.check("its namespaces were awaited") {
                Err(ended) => Ok(Err(ended)),
                Ok(()) if ready.exists() => Ok(Ok(())),
                Ok(()) => Err("they are not ready"),
            }
        })??;
        let text = std::fs::read_to_string(&pid).during(|| format!("reading {}", pid.display()))?;
        let pid = text
            .parse()
            .map_err(|error| Error::Other(format!("{}: {error}: {text}", pid.display())))?;
        let daemons = group.settle()?;
        Ok(Machine {
            outer,
            pid,
            itself,
            group,
            daemons,
        })
    }

    /// The first process, by the host's numbering.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// The process that holds it.
    pub(super) fn outer(&self) -> &Process {
        &self.outer
    }

    /// A program that will run inside.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut prefix = join(&self.itself, &self.daemons, false);
        prefix.extend(enter(self.pid));
        command(&prefix, program)
    }

    /// Starts a long-running program inside.
    ///
    /// The process that is returned waits outside for the program and must outlive it: an orphan would go
    /// to the host's first process, which may be slow to reap it. [`end`] ends both, and so does the end of
    /// the machine.
    pub(super) fn daemon(&self, launch: &Launch, logs: &Path) -> Result<Process> {
        let mut prefix = join(&self.itself, &self.daemons, true);
        prefix.extend(enter(self.pid));
        launch
            .within(&prefix)
            .env("PATH", path())
            .env("HOME", "/root")
            // Traffic of the cluster never goes through a proxy that the host may have.
            .env("NO_PROXY", "*")
            .env("no_proxy", "*")
            .start(logs)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The outer process waits for the first one inside, and that one's end for all others': when the
        // outer one has ended, nothing of the node runs any more.
        let ended = match self.outer.status() {
            None => kill(Pid::from_raw(self.pid), Signal::SIGKILL)
                .during(|| format!("killing {}", self.outer.name()))
                .and_then(|()| self.outer.wait(END).map(drop)),
            Some(_) => Ok(()),
        };
        let removed = ended.and_then(|()| {
            let what = format!("the control groups of {} to be empty", self.outer.name());
            wait::until(what, END, || self.group.remove())
        });
        if let Err(error) = removed {
            eprintln!("something of {} is left: {error}", self.outer.name());
        }
    }
}

/// Kills a program that [`Machine::daemon`] started, and waits for its end.
pub(super) fn end(daemon: &Process) -> Result<()> {
    let file = format!("/proc/{0}/task/{0}/children", daemon.pid());
    let children = std::fs::read_to_string(&file).during(|| format!("reading {file}"))?;
    for pid in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).during(|| format!("killing {}", daemon.name()))?;
    }
    daemon.wait(END).map(drop)
}

/// What puts a program into the namespaces.
pub(super) fn enter(pid: i32) -> Vec<String> {
    let target = format!("--target={pid}");
    let kinds = ["--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup"];
    let words = ["nsenter", &target].into_iter().chain(kinds).chain(["--"]);
    words.map(str::to_owned).collect()
}

/// What puts a program into control groups.
fn join(itself: &Path, group: &Group, outlive: bool) -> Vec<String> {
    let mut prefix = vec![itself.display().to_string(), "inner".into(), "join".into()];
    prefix.extend(outlive.then(|| "--outlive".into()));
    prefix.extend(group.dirs().map(|dir| format!("--group={}", dir.display())));
    prefix.push("--".into());
    prefix
}
