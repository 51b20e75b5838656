//! eBPF C, compiled when tests run. Needs clang, libbpf's headers and the kernel's.

use std::path::Path;
use std::process::Command;

/// An object from C. `args` say the target, and whatever else.
///
/// # Errors
/// What clang says of it.
pub fn compile(source: &str, args: &[&str]) -> Result<Vec<u8>, String> {
    let dir = tempfile::tempdir().map_err(|e| format!("no temporary directory: {e}"))?;
    let input = dir.path().join("test.bpf.c");
    std::fs::write(&input, source).map_err(|e| format!("writing {}: {e}", input.display()))?;
    compile_file(&input, args)
}

/// The same from a file.
///
/// # Errors
/// What clang says of it.
pub fn compile_file(source: &Path, args: &[&str]) -> Result<Vec<u8>, String> {
    let dir = tempfile::tempdir().map_err(|e| format!("no temporary directory: {e}"))?;
    let output = dir.path().join("test.bpf.o");
    let run = Command::new("clang")
        .args(["-O2", "-Wall", "-Wno-unused-function", "-c"])
        .args(args)
        .arg(format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH))
        .arg(source)
        .arg("-o")
        .arg(&output)
        .output()
        .map_err(|e| format!("clang does not run: {e}; apt-get install clang libbpf-dev linux-libc-dev"))?;
    if !run.status.success() {
        return Err(format!("clang: {}", String::from_utf8_lossy(&run.stderr)));
    }
    std::fs::read(&output).map_err(|e| format!("reading {}: {e}", output.display()))
}
