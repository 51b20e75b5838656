//! A guest under QEMU, in software: it needs no virtualization of the processor.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::HOST;
use super::channel::{Channel, Failure, Waiting};
use super::fetch::Kernel;
use super::guest::{CONTROL, TOKEN};
use super::protocol::{Answer, Ended, What};
use super::qemu::{self, GuestOptions};
use crate::binaries;
use crate::error::{During, Error, Result, make_dir};
use crate::process::{Process, tail};

/// For what a guest does at once, on a machine that also compiles.
const SOON: Duration = Duration::from_secs(60);
/// Beyond the time of a command, for the guest to say that it is over.
const GRACE: Duration = Duration::from_secs(15);
/// Lines of the console that an error shows.
const CONSOLE_LINES: usize = 25;

/// What a command in a guest printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub ended: Ended,
    /// Its output.
    pub stdout: Vec<u8>,
    /// Its error output.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Whether it ended by itself with code 0.
    pub fn success(&self) -> bool {
        self.ended == Ended::Code(0)
    }

    /// Its output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// A running guest. Dropping it ends it.
pub struct Machine {
    name: String,
    release: String,
    booted: Duration,
    console: PathBuf,
    serial: PathBuf,
    channel: Channel,
    process: Process,
}

impl Machine {
    /// Boots a kernel and waits until the guest answers. Its console goes to `<logs>/console-<name>.log`, and its second
    /// serial port, `/dev/ttyS1`, to `<logs>/agent-<name>.log`.
    pub fn boot(
        name: &str,
        kernel: &Kernel,
        options: &GuestOptions,
        dir: &Path,
        logs: &Path,
    ) -> Result<Machine> {
        make_dir(dir)?;
        make_dir(logs)?;
        let started = Instant::now();
        let waiting = Waiting::new()?;
        let control = format!("{CONTROL}={HOST}:{} {TOKEN}={}", waiting.port()?, waiting.token());
        let image = dir.join("initramfs");
        qemu::write_image(kernel, &image)?;
        let console = logs.join(format!("console-{name}.log"));
        let serial = logs.join(format!("agent-{name}.log"));
        let process = qemu::launch(name, kernel, options, &image, &control)?
            .args(qemu::serial_file(&console))
            .args(qemu::serial_file(&serial))
            .start(logs)?;
        let lost = |error: Error| {
            let what = format!("guest {name} (kernel {}) did not boot: {error}", kernel.release);
            with_console(what, &console)
        };
        let (channel, hello) = waiting
            .accept(options.boot_timeout, || process.check("its boot was awaited"))
            .map_err(lost)?;
        // QEMU has read it.
        let _ = std::fs::remove_file(&image);
        Ok(Machine {
            name: name.to_owned(),
            release: hello.release,
            booted: started.elapsed(),
            console,
            serial,
            channel,
            process,
        })
    }

    /// How it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `uname -r`, as it says itself.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// From its start until it answered.
    pub fn boot_time(&self) -> Duration {
        self.booted
    }

    /// The file with its console.
    pub fn console(&self) -> &Path {
        &self.console
    }

    /// The file with what was written to `/dev/ttyS1`.
    pub fn serial(&self) -> &Path {
        &self.serial
    }

    /// QEMU.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Runs a command to its end, within a minute.
    pub fn run(&self, argv: &[&str]) -> Result<Output> {
        self.run_for(argv, &[], SOON)
    }

    /// Runs a command with this input. After `timeout` it is killed with all that it started, which is an error.
    pub fn run_for(&self, argv: &[&str], input: &[u8], timeout: Duration) -> Result<Output> {
        let what = What::Run {
            argv: owned(argv),
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        };
        match self.ask(what, input, timeout.saturating_add(GRACE))? {
            (Answer::Ran { ended, stdout }, mut bytes) => {
                let stderr = bytes.split_off(stdout.min(bytes.len()));
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let ended = ended.ok_or_else(|| Error::Timeout {
                    what: format!("the end of {argv:?} in guest {}", self.name),
                    waited: timeout,
                    last: format!("it printed {:?} and {:?}", text(&bytes), text(&stderr)),
                })?;
                Ok(Output {
                    ended,
                    stdout: bytes,
                    stderr,
                })
            }
            other => Err(self.nonsense(&other.0)),
        }
    }

    /// The output of a shell's script, which has to succeed.
    pub fn sh(&self, script: &str) -> Result<String> {
        let output = self.run(&["sh", "-ec", script])?;
        if output.success() {
            return Ok(output.text());
        }
        Err(Error::Other(format!(
            "{script:?} in guest {} ended with {:?}: {}{}",
            self.name,
            output.ended,
            output.text(),
            String::from_utf8_lossy(&output.stderr)
        )))
    }

    /// Starts a command that goes on, with its output appended to a file of the guest.
    pub fn spawn(&self, argv: &[&str], env: &[(&str, &str)], output: &str) -> Result<u32> {
        let env = env.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let what = What::Spawn {
            argv: owned(argv),
            env: env.collect(),
            output: output.into(),
        };
        match self.ask(what, &[], SOON)? {
            (Answer::Started { pid }, _) => Ok(pid),
            other => Err(self.nonsense(&other.0)),
        }
    }

    /// How a spawned command ended; nothing while it runs.
    pub fn status(&self, pid: u32) -> Result<Option<Ended>> {
        match self.ask(What::Status { pid }, &[], SOON)? {
            (Answer::Status(status), _) => Ok(status),
            other => Err(self.nonsense(&other.0)),
        }
    }

    /// Sends a signal to a spawned command; nothing happens if it has ended.
    pub fn signal(&self, pid: u32, signal: Signal) -> Result<()> {
        let signal = signal as i32;
        self.ask(What::Signal { pid, signal }, &[], SOON).map(drop)
    }

    /// Writes a file of the guest, which is never seen half written, with the directories above it.
    pub fn write_file(&self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> Result<()> {
        let path = path.into();
        self.ask(What::Write { path, mode }, content.as_ref(), SOON)
            .map(drop)
    }

    /// Reads a file of the guest.
    pub fn read_file(&self, path: &str) -> Result<Vec<u8>> {
        let path = path.into();
        self.ask(What::Read { path }, &[], SOON).map(|(_, bytes)| bytes)
    }

    /// Removes so many files that it has made before, each by a system call of its own.
    pub fn unlink(&self, files: u32) -> Result<()> {
        self.sh(&format!(
            "mkdir -p /tmp/unlink; cd /tmp/unlink; touch $(seq {files}); rm $(seq {files})"
        ))
        .map(drop)
    }

    /// Writes so many blocks of 4 KiB to a disk, each by a request of its own.
    pub fn block_io(&self, blocks: u32) -> Result<()> {
        self.sh(&format!(
            "dd if=/dev/zero of=/dev/vda bs=4k count={blocks} oflag=direct"
        ))
        .map(drop)
    }

    fn ask(&self, what: What, bytes: &[u8], timeout: Duration) -> Result<(Answer, Vec<u8>)> {
        self.channel
            .ask(what, bytes, timeout)
            .map_err(|failure| match failure {
                Failure::Refused(why) => Error::Other(format!("guest {}: {why}", self.name)),
                Failure::Lost(why) => {
                    let why = match self.process.check("it was asked") {
                        Ok(()) => why,
                        Err(ended) => format!("{why}: {ended}"),
                    };
                    let what = format!("guest {} (kernel {}): {why}", self.name, self.release);
                    with_console(what, &self.console)
                }
            })
    }

    fn nonsense(&self, answer: &Answer) -> Error {
        Error::infrastructure(format!("guest {} answered {answer:?}", self.name))
    }
}

/// A failure of a guest. Its console is kept: what it lies in is removed with the test.
fn with_console(what: String, console: &Path) -> Error {
    let end = tail(console, CONSOLE_LINES);
    let kept = binaries::dir().and_then(|dir| {
        let dir = dir.join("vm-consoles");
        make_dir(&dir)?;
        let file = console.file_name().unwrap_or_default().to_string_lossy();
        let to = dir.join(format!("{}-{file}", std::process::id()));
        std::fs::copy(console, &to).during(|| format!("copying {}", console.display()))?;
        Ok(to)
    });
    let kept = kept.unwrap_or_else(|_| console.to_owned());
    Error::console(what, &kept, end)
}

fn owned(argv: &[&str]) -> Vec<String> {
    argv.iter().map(ToString::to_string).collect()
}
