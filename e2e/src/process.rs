//! Programs that run beside the test and end with it, whatever happens to it.
//!
//! Each program is started by a thread of its own, which then waits for it. The kernel's parent-death
//! signal is tied to the thread that started a child, not to its process, and this thread lives exactly as
//! long as the child unless the whole test process dies.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::error::{During, Error, Result};

/// Sets nothing but what `setpriv` set before it, and makes sure that the parent has not died before that:
/// then no signal would ever come.
const GUARD: &str = r#"parent=$1; shift; [ "$PPID" = "$parent" ] && exec "$@""#;

/// What to run.
#[derive(Clone, Debug)]
pub struct Launch {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: BTreeMap<String, OsString>,
}

impl Launch {
    /// Runs `program`; `name` is for messages and the log file.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>) -> Launch {
        Launch {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Launch {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Launch {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds `--name=value`.
    pub fn flag(self, name: &str, value: impl Into<OsString>) -> Launch {
        let mut arg = OsString::from(format!("--{name}="));
        arg.push(value.into());
        self.arg(arg)
    }

    /// Sets an environment variable; the rest of the environment is inherited.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Launch {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    /// The same behind another command that runs it: a prefix of `nsenter`.
    pub fn within(&self, prefix: &[String]) -> Launch {
        let Some((program, args)) = prefix.split_first() else {
            return self.clone();
        };
        let before = args.iter().map(OsString::from);
        let args = before
            .chain([self.program.clone().into()])
            .chain(self.args.clone());
        Launch {
            program: program.into(),
            args: args.collect(),
            ..self.clone()
        }
    }

    /// Starts it with its output appended to `<logs>/<name>.log`.
    pub fn start(&self, logs: &Path) -> Result<Process> {
        Process::start(self, &logs.join(format!("{}.log", self.name)))
    }

    /// Runs it to its end on this terminal.
    pub fn foreground(&self) -> Result<()> {
        let line = format!("{} {:?}", self.program.display(), self.args);
        let mut command = Command::new(&self.program);
        let status = command.args(&self.args).envs(&self.env).status();
        let status = status.during(|| format!("running {line}"))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Command {
            command: line,
            status,
            output: "its messages are above".into(),
        })
    }

    fn spawn(&self, log: File) -> std::io::Result<Child> {
        let errors = log.try_clone()?;
        Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "sh", "-c", GUARD, "guard"])
            .arg(std::process::id().to_string())
            .arg(&self.program)
            .args(&self.args)
            .envs(&self.env)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            // Ctrl-C is for the test; it ends its programs in order.
            .process_group(0)
            .spawn()
    }
}

/// A running program. Dropping it kills it and waits for its end.
pub struct Process {
    name: String,
    pid: Pid,
    log: PathBuf,
    ended: Arc<Ended>,
}

#[derive(Default)]
struct Ended {
    status: Mutex<Option<ExitStatus>>,
    changed: Condvar,
}

impl Ended {
    fn lock(&self) -> MutexGuard<'_, Option<ExitStatus>> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits in the thread that started the child. The child is reaped under the lock, so that whoever
    /// holds it and sees no status can signal the pid without hitting a stranger that got it anew.
    fn watch(&self, child: &mut Child) {
        let pid = Pid::from_raw(child.id().cast_signed());
        while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
            == Err(nix::errno::Errno::EINTR)
        {}
        let mut status = self.lock();
        *status = Some(child.wait().unwrap_or_else(|_| ExitStatus::from_raw(-1)));
        self.changed.notify_all();
    }
}

impl Process {
    fn start(launch: &Launch, log: &Path) -> Result<Process> {
        if !launch.program.exists() && launch.program.components().count() > 1 {
            let hint = format!("it is needed to run {}; build it first", launch.name);
            return Err(Error::Missing {
                path: launch.program.clone(),
                hint,
            });
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .during(|| format!("opening the log {}", log.display()))?;
        let ended = Arc::new(Ended::default());
        let (started, pid) = mpsc::channel();
        let (watched, launched) = (Arc::clone(&ended), launch.clone());
        std::thread::Builder::new()
            .name(format!("parent of {}", launch.name))
            .spawn(move || match launched.spawn(file) {
                Ok(mut child) => {
                    if started.send(Ok(child.id())).is_ok() {
                        watched.watch(&mut child);
                    }
                }
                Err(error) => drop(started.send(Err(error))),
            })
            .during(|| format!("starting a thread for {}", launch.name))?;
        let pid = pid
            .recv()
            .unwrap_or_else(|_| Err(std::io::Error::other("its thread ended")))
            .during(|| format!("starting {} ({})", launch.name, launch.program.display()))?;
        Ok(Process {
            name: launch.name.clone(),
            pid: Pid::from_raw(pid.cast_signed()),
            log: log.to_owned(),
            ended,
        })
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().cast_unsigned()
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended; nothing while it runs.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.ended.lock()
    }

    /// Fails with its log's end if it has ended. `during` says what it was needed for.
    pub fn check(&self, during: &str) -> Result<()> {
        match self.status() {
            None => Ok(()),
            Some(status) => Err(Error::Ended {
                name: self.name.clone(),
                status,
                during: during.to_owned(),
                log: self.log.clone(),
                tail: tail(&self.log, 30),
            }),
        }
    }

    /// Sends a signal; nothing happens if it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let status = self.ended.lock();
        if status.is_some() {
            return Ok(());
        }
        kill(self.pid, signal).during(|| format!("sending {signal} to {}", self.name))
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&self) -> Result<ExitStatus> {
        self.signal(Signal::SIGKILL)?;
        self.wait(Duration::from_secs(20))
    }

    /// Sends SIGTERM and waits for the end; it is an error if that takes longer than `grace`.
    pub fn stop(&self, grace: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(grace)
    }

    /// Waits for its end.
    pub fn wait(&self, timeout: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + timeout;
        let mut status = self.ended.lock();
        loop {
            if let Some(status) = *status {
                return Ok(status);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Timeout {
                    what: format!("the end of {} (pid {})", self.name, self.pid),
                    waited: timeout,
                    last: "it still runs".into(),
                });
            }
            status = self
                .ended
                .changed
                .wait_timeout(status, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Memory it holds now, in KiB (VmRSS).
    pub fn rss_kib(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.pid);
        let text = std::fs::read_to_string(&path).during(|| format!("reading {path}"))?;
        text.lines()
            .find_map(|line| {
                line.strip_prefix("VmRSS:")?
                    .trim()
                    .strip_suffix(" kB")?
                    .parse()
                    .ok()
            })
            .ok_or_else(|| Error::Other(format!("{path} has no VmRSS: {} has ended", self.name)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("{} may still run: {error}", self.name);
        }
    }
}

/// The last `lines` lines of a file, at most 64 KiB; what went wrong if it can't be read.
pub fn tail(path: &Path, lines: usize) -> String {
    const MOST: u64 = 64 * 1024;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let start = file.metadata()?.len().saturating_sub(MOST);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let all: Vec<&str> = text.lines().collect();
            all.get(all.len().saturating_sub(lines)..)
                .unwrap_or_default()
                .join("\n")
        }
        Err(error) => format!("({} can't be read: {error})", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (crate::scratch::Scratch, Process) {
        let scratch = crate::scratch::Scratch::new("process").unwrap();
        let process = Launch::new("sh", "/bin/sh")
            .args(["-c", script])
            .start(scratch.path())
            .unwrap();
        (scratch, process)
    }

    #[test]
    fn the_status_and_output_of_a_program_are_kept() {
        let (_scratch, process) = shell("echo out; echo err >&2; exit 3");
        assert_eq!(process.wait(Duration::from_secs(10)).unwrap().code(), Some(3));
        assert_eq!(tail(process.log(), 10), "out\nerr");
        assert_eq!(tail(process.log(), 1), "err");
        assert!(
            process
                .check("it should run")
                .unwrap_err()
                .to_string()
                .contains("err")
        );
    }

    #[test]
    fn a_running_program_can_be_killed_and_its_end_is_awaited() {
        let (_scratch, process) = shell("exec sleep 1000");
        assert!(process.check("it runs").is_ok());
        assert_eq!(process.kill().unwrap().signal(), Some(9));
        process.signal(Signal::SIGTERM).unwrap();
    }

    #[test]
    fn a_program_that_ignores_sigterm_is_told_apart() {
        let (_scratch, process) = shell("trap '' TERM; echo ready; while :; do sleep 0.05; done");
        crate::wait::until("the trap", Duration::from_secs(10), || {
            match tail(process.log(), 1) {
                line if line == "ready" => Ok(()),
                line => Err(line),
            }
        })
        .unwrap();
        assert!(matches!(
            process.stop(Duration::from_millis(100)),
            Err(Error::Timeout { .. })
        ));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Launch::new("ghost", "/nowhere/ghost")
            .start(Path::new("/tmp"))
            .map(drop)
            .unwrap_err();
        assert!(
            error.to_string().starts_with("/nowhere/ghost is missing"),
            "{error}"
        );
    }
}
