//! A C program of a test, compiled and run.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use bpfleet_e2e::tools;
use object::{Object, ObjectSegment, ObjectSymbol};

/// Compiles a source beside the tests into `dir`.
pub fn compile(name: &str, flags: &[&str], dir: &Path) -> PathBuf {
    let source = tools::repository().join(format!("node-agent/tests/local/programs/{name}.c"));
    let binary = dir.join(name);
    let output = Command::new("clang")
        .args(["-O1", "-Wall"])
        .args(flags)
        .arg("-o")
        .args([&binary, &source])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    binary
}

/// Where a function stands in a binary's file.
pub fn offset(binary: &Path, symbol: &str) -> u64 {
    let bytes = std::fs::read(binary).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let address = file
        .symbols()
        .find(|known| known.name() == Ok(symbol))
        .unwrap()
        .address();
    file.segments()
        .find_map(|segment| {
            let within = address.checked_sub(segment.address())?;
            let (start, size) = segment.file_range();
            (within < size).then_some(start + within)
        })
        .unwrap()
}

/// A process that answers each line with a line. Dropping it ends it.
pub struct Answering {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Answering {
    pub fn start(binary: &Path) -> Self {
        let mut child = Command::new(binary)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    /// Does once what it does for a line, and returns the answer.
    pub fn ask(&mut self) -> String {
        self.input.write_all(b"\n").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        assert!(!answer.is_empty(), "the process ended");
        answer.trim_end().to_owned()
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
