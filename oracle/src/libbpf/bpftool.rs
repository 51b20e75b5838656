//! The minimal BTF of bpftool, which works with libbpf's relocations.

use std::path::Path;
use std::process::Command;

/// What the objects need of a kernel's BTF (`bpftool gen min_core_btf`).
///
/// # Errors
/// If bpftool does not run, or refuses.
pub fn bpftool_min(objects: &[&Path], btf: &Path) -> Result<Vec<u8>, String> {
    let dir = tempfile::tempdir().map_err(|e| format!("a temporary directory: {e}"))?;
    let output = dir.path().join("min.btf");
    let run = Command::new("bpftool")
        .args(["gen", "min_core_btf"])
        .arg(btf)
        .arg(&output)
        .args(objects)
        .output()
        .map_err(|e| format!("bpftool does not run: {e}"))?;
    if !run.status.success() {
        // What it says is on both.
        let said = [run.stdout, run.stderr].concat();
        return Err(format!(
            "bpftool: {}: {}",
            run.status,
            String::from_utf8_lossy(&said).trim()
        ));
    }
    std::fs::read(&output).map_err(|e| format!("bpftool's output: {e}"))
}
