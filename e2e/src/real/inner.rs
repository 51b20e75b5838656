//! What runs inside a node's namespaces before Kubernetes does: the hidden subcommands of `bpfleet-e2e`.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::options::Spec;
use super::{cgroups, root};
use crate::error::{During, Error, Result, write_file};

/// File in the node's directory with the pid of its first process, as the host sees it.
pub const PID: &str = "pid";
/// File in the node's directory that says that its file systems are as they should be.
pub const READY: &str = "ready";

/// Joins control groups and becomes another program; with `outlive`, one that does not end with whoever
/// started it.
pub fn join(groups: &[PathBuf], outlive: bool, command: &[String]) -> Result<()> {
    cgroups::join(groups)?;
    if outlive {
        set_pdeathsig(None).during(|| "taking back the signal for the parent's death")?;
    }
    let Some((program, args)) = command.split_first() else {
        return Err(Error::Other("join: no program is given".into()));
    };
    Err(Command::new(program).args(args).exec()).during(|| format!("running {program}"))
}

/// The first process of a node's namespaces: prepares them, then reaps whatever loses its parent.
pub fn first(spec: &Path) -> Result<()> {
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    children.thread_block().during(|| "blocking SIGCHLD")?;
    let text = std::fs::read(spec).during(|| format!("reading {}", spec.display()))?;
    let spec: Spec = serde_json::from_slice(&text)
        .map_err(|error| Error::Other(format!("{} is not what it should be: {error}", spec.display())))?;
    // The mounted proc is still the host's, and so is the pid.
    let pid = std::fs::read_link("/proc/self").during(|| "reading /proc/self")?;
    write_file(&spec.dir.join(PID), pid.to_string_lossy().as_bytes())?;
    std::fs::write("/proc/sys/kernel/hostname", &spec.options.name).during(|| "setting the host name")?;
    root::change(&spec)?;
    write_file(&spec.dir.join(READY), "")?;
    loop {
        // The signal is blocked since the beginning: none that comes between the two is lost.
        while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive)
        {
        }
        children.wait().during(|| "waiting for the end of a child")?;
    }
}
