//! libbpf in a guest: what it can load and attach of objects there, program by program.

use std::ffi::CStr;
use std::io::Write;
use std::path::{Path, PathBuf};

use bpf_oracle::libbpf::{self, Object};
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use crate::error::{During, Error, Result};

/// Binary, provider and name of the probe that USDT programs are attached to, if the test has put it into the guest.
pub const PROBE: (&CStr, &CStr, &CStr) = (c"/lib/libprobe.so", c"bpfleet", c"probe");

/// What became of one program of an object.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tried {
    /// File name of the object.
    pub object: String,
    /// The program.
    pub program: String,
    /// Its section.
    pub section: String,
    /// How it went.
    pub outcome: Outcome,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was attached where its section says, or to [`PROBE`].
    Attached,
    /// It was loaded, and its section does not say where to attach it.
    Loaded,
    /// It was loaded, and could not be attached where its section says.
    NotAttached(Refusal),
    /// It could not be loaded.
    NotLoaded(Refusal),
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The error number, negative.
    pub errno: i32,
    /// The last that was logged.
    pub said: String,
}

impl From<libbpf::Error> for Refusal {
    fn from(error: libbpf::Error) -> Self {
        let mut lines = error.log.lines().map(str::trim).filter(|line| telling(line));
        Self {
            errno: error.errno,
            said: lines.next_back().unwrap_or_default().to_owned(),
        }
    }
}

/// Not what libbpf says of every failure, nor the verifier's statistics.
fn telling(line: &str) -> bool {
    !line.is_empty()
        && !line.ends_with("END PROG LOAD LOG --")
        && !line.contains("failed to load object")
        && !line.contains(": failed to load: -")
        && !line.starts_with("processed ")
}

/// Tries each program of each object by itself in a guest, with sizes of maps as user space might set them.
pub fn try_each(machine: &Machine, objects: &[String], timeout: std::time::Duration) -> Result<Vec<Tried>> {
    let mut argv = vec!["guest", "libbpf"];
    argv.extend(objects.iter().map(String::as_str));
    let output = machine.run_for(&argv, &[], timeout)?;
    if !output.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::Other(format!(
            "libbpf in guest {}: {said}",
            machine.name()
        )));
    }
    let text = output.text();
    let line = |line| {
        serde_json::from_str(line)
            .map_err(|error| Error::Other(format!("libbpf in a guest printed {line:?}: {error}")))
    };
    text.lines().map(line).collect()
}

/// What runs in the guest: prints a line of JSON for each program.
pub fn print_each(objects: &[PathBuf]) -> Result<()> {
    for path in objects {
        each(path)?;
    }
    Ok(())
}

fn each(path: &Path) -> Result<()> {
    let about = || path.display().to_string();
    let failed = |error: libbpf::Error| Error::Other(format!("{}: {error}", path.display()));
    let bytes = std::fs::read(path).during(about)?;
    let sizes = Object::open(&bytes, None).map_err(failed)?.missing_sizes();
    let set = |object: &mut Object| object.set_sizes(&sizes);
    let tried = libbpf::attach_each(&bytes, None, set, attach).map_err(failed)?;
    let mut out = std::io::stdout().lock();
    for tried in tried {
        let line = Tried {
            object: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            program: tried.program.name.clone(),
            section: tried.program.section.clone(),
            outcome: outcome(tried),
        };
        let text = serde_json::to_string(&line).map_err(|error| Error::Other(error.to_string()))?;
        writeln!(out, "{text}").during(about)?;
    }
    Ok(())
}

fn attach(object: &Object, program: &libbpf::Program, at: usize) -> std::result::Result<(), libbpf::Error> {
    match program.section.trim_start_matches('?') {
        "usdt" => object.attach_usdt(at, PROBE.0, PROBE.1, PROBE.2),
        _ => object.attach(at),
    }
}

fn outcome(tried: libbpf::Tried) -> Outcome {
    match (tried.loaded, tried.attached) {
        (Err(error), _) => Outcome::NotLoaded(error.into()),
        (Ok(()), Some(Err(error))) if !half_a_place(&error) => Outcome::NotAttached(error.into()),
        (Ok(()), Some(Ok(()))) => Outcome::Attached,
        (Ok(()), _) => Outcome::Loaded,
    }
}

/// None, or a function and no binary as in `uretprobe/readline`.
fn half_a_place(error: &libbpf::Error) -> bool {
    error.errno == libbpf::Error::NO_TARGET || error.log.contains("missing ':function[+offset]'")
}
