//! The program in a guest that does what the host asks: `bpfleet-e2e guest`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::protocol::{Answer, Ended, Hello, MOST, Reply, Request, What, receive, send};
use crate::error::{During, Error, Result};

/// Variables of the kernel's command line.
pub(super) const CONTROL: &str = "bpfleet.control";
pub(super) const TOKEN: &str = "bpfleet.token";
/// Most bytes of a command's output, and of its error output.
const OUTPUT: u64 = (MOST / 2) as u64;
/// Between two looks whether a command has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// What was spawned and not yet seen to end.
type Children = Mutex<BTreeMap<u32, Child>>;
type Answered = std::result::Result<(Answer, Vec<u8>), String>;

/// Connects to the host and does what it asks, until it goes away.
pub fn serve() -> Result<()> {
    let line = fs::read_to_string("/proc/cmdline").during(|| "reading /proc/cmdline")?;
    let variable = |name: &str| {
        line.split_whitespace()
            .filter_map(|word| word.split_once('='))
            .find_map(|(key, value)| (key == name).then(|| value.to_owned()))
            .ok_or_else(|| Error::Other(format!("{name} is not on the kernel's command line")))
    };
    let (address, token) = (variable(CONTROL)?, variable(TOKEN)?);
    let mut host = TcpStream::connect(&address).during(|| format!("connecting to the host at {address}"))?;
    let about = || "speaking with the host";
    host.set_nodelay(true).during(about)?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").during(|| "reading osrelease")?;
    let release = release.trim().to_owned();
    send(&mut host, &Hello { token, release }, &[]).during(about)?;
    let replies = Arc::new(Mutex::new(host.try_clone().during(about)?));
    let children = Arc::new(Children::default());
    loop {
        let (request, bytes) = receive::<Request>(&mut host).during(about)?;
        let (replies, children) = (Arc::clone(&replies), Arc::clone(&children));
        std::thread::spawn(move || {
            let (answer, bytes) = match answer(request.what, bytes, &children) {
                Ok((answer, bytes)) => (Ok(answer), bytes),
                Err(why) => (Err(why), Vec::new()),
            };
            let reply = Reply {
                id: request.id,
                answer,
            };
            if let Err(error) = send(&mut *lock(&replies), &reply, &bytes) {
                eprintln!("guest: answering the host: {error}");
            }
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(what: What, bytes: Vec<u8>, children: &Children) -> Answered {
    match what {
        What::Run { argv, timeout_ms } => run(&argv, bytes, Duration::from_millis(timeout_ms)),
        What::Spawn { argv, env, output } => {
            let child = spawn(&argv, env, &output)?;
            let pid = child.id();
            lock(children).insert(pid, child);
            Ok((Answer::Started { pid }, Vec::new()))
        }
        What::Signal { pid, signal } => {
            let mut children = lock(children);
            let child = known(&mut children, pid)?;
            if child.try_wait().map_err(|error| error.to_string())?.is_none() {
                signal_to(Pid::from_raw(pid.cast_signed()), signal)?;
            }
            Ok((Answer::Done, Vec::new()))
        }
        What::Status { pid } => {
            let mut children = lock(children);
            let status = known(&mut children, pid)?
                .try_wait()
                .map_err(|error| error.to_string())?;
            Ok((Answer::Status(status.map(ended)), Vec::new()))
        }
        What::Write { path, mode } => write(&path, mode, &bytes)
            .map(|()| (Answer::Done, Vec::new()))
            .map_err(|error| format!("writing {path}: {error}")),
        What::Read { path } => read(&path)
            .map(|bytes| (Answer::Done, bytes))
            .map_err(|error| format!("reading {path}: {error}")),
    }
}

fn known(children: &mut BTreeMap<u32, Child>, pid: u32) -> std::result::Result<&mut Child, String> {
    children
        .get_mut(&pid)
        .ok_or_else(|| format!("process {pid} was not started from the host"))
}

fn signal_to(pid: Pid, signal: i32) -> std::result::Result<(), String> {
    let signal = Signal::try_from(signal).map_err(|_| format!("there is no signal {signal}"))?;
    kill(pid, signal).map_err(|error| format!("sending {signal} to {pid}: {error}"))
}

fn command(argv: &[String]) -> std::result::Result<Command, String> {
    let (program, args) = argv.split_first().ok_or("an empty command")?;
    let mut command = Command::new(program);
    // A group of its own, so that what it starts can be ended with it.
    command.args(args).process_group(0);
    Ok(command)
}

fn spawn(argv: &[String], env: Vec<(String, String)>, output: &str) -> std::result::Result<Child, String> {
    let open = || {
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(output)
            .map_err(|error| format!("opening {output}: {error}"))
    };
    command(argv)?
        .envs(env)
        .stdin(Stdio::null())
        .stdout(open()?)
        .stderr(open()?)
        .spawn()
        .map_err(|error| format!("starting {argv:?}: {error}"))
}

fn run(argv: &[String], input: Vec<u8>, timeout: Duration) -> Answered {
    let failed = |error: std::io::Error| format!("running {argv:?}: {error}");
    let mut child = command(argv)?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut pipe) = child.stdin.take() {
        // A command need not read its input.
        std::thread::spawn(move || pipe.write_all(&input));
    }
    let out = child.stdout.take().map(collect);
    let err = child.stderr.take().map(collect);
    let deadline = Instant::now() + timeout;
    let status = loop {
        match child.try_wait().map_err(failed)? {
            Some(status) => break Some(status),
            None if Instant::now() >= deadline => break None,
            None => std::thread::sleep(PAUSE),
        }
    };
    if status.is_none() {
        let group = Pid::from_raw(-child.id().cast_signed());
        signal_to(group, Signal::SIGKILL as i32)?;
        child.wait().map_err(failed)?;
    }
    let text = |reader: Option<std::thread::JoinHandle<Vec<u8>>>| {
        reader.map_or_else(Vec::new, |reader| reader.join().unwrap_or_default())
    };
    let mut bytes = text(out);
    let stdout = bytes.len();
    bytes.extend(text(err));
    let ended = status.map(ended);
    Ok((Answer::Ran { ended, stdout }, bytes))
}

/// Reads a pipe to its end in a thread. What is more than fits breaks the pipe.
fn collect(pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.take(OUTPUT).read_to_end(&mut bytes);
        bytes
    })
}

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Code(code),
        (None, signal) => Ended::Signal(signal.unwrap_or_default()),
    }
}

fn write(path: &str, mode: u32, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(parent) = Path::new(path).parent() {
        fs::create_dir_all(parent)?;
    }
    let new = format!("{path}.new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&new)?;
    file.write_all(bytes)?;
    fs::rename(&new, path)
}

fn read(path: &str) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(u64::from(MOST) + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() > MOST as usize {
        return Err(std::io::Error::other(format!("it has more than {MOST} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, input: &[u8], timeout: Duration) -> (Option<Ended>, String, String) {
        let argv = ["sh", "-c", script].map(str::to_owned);
        let (answer, bytes) = run(&argv, input.to_vec(), timeout).unwrap();
        let Answer::Ran { ended, stdout } = answer else {
            panic!("{answer:?}")
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (ended, text(&bytes[..stdout]), text(&bytes[stdout..]))
    }

    #[test]
    fn a_command_has_input_both_outputs_and_an_end() {
        let soon = Duration::from_secs(30);
        assert_eq!(
            sh("cat; echo err >&2; exit 3", b"in", soon),
            (Some(Ended::Code(3)), "in".into(), "err\n".into())
        );
        assert_eq!(sh("kill -9 $$", b"", soon).0, Some(Ended::Signal(9)));
    }

    #[test]
    fn a_command_that_takes_too_long_is_killed_with_what_it_started() {
        let (ended, out, _) = sh(
            "echo begun; sleep 1000 & sleep 1000",
            b"",
            Duration::from_millis(300),
        );
        assert_eq!((ended, out.as_str()), (None, "begun\n"));
    }

    #[test]
    fn what_was_not_started_from_the_host_is_not_signalled() {
        let what = What::Signal { pid: 1, signal: 9 };
        assert!(answer(what, Vec::new(), &Children::default()).is_err());
    }

    #[test]
    fn a_file_is_written_with_its_directories_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b").to_string_lossy().into_owned();
        write(&path, 0o600, b"one").unwrap();
        write(&path, 0o600, b"two").unwrap();
        assert_eq!(read(&path).unwrap(), b"two");
        assert!(read("/dev/zero").is_err());
    }
}
