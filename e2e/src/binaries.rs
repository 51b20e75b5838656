//! Where cargo put the operator and the agent, and where this harness may keep what it builds.

use std::path::PathBuf;

use crate::error::{During, Error, Result};

/// Directory of the workspace's binaries: `BPFLEET_BIN_DIR`, else that of the running executable's profile.
pub fn dir() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("BPFLEET_BIN_DIR") {
        return Ok(PathBuf::from(dir));
    }
    let exe = std::env::current_exe().during(|| "finding the running executable")?;
    let Some(dir) = exe.parent() else {
        return Err(Error::Other(format!("{} lies in no directory", exe.display())));
    };
    // Test executables lie in <profile>/deps.
    Ok(if dir.ends_with("deps") {
        dir.parent().unwrap_or(dir)
    } else {
        dir
    }
    .to_owned())
}

/// A binary of the workspace.
pub fn find(name: &str) -> Result<PathBuf> {
    let path = dir()?.join(name);
    if path.exists() {
        return Ok(path);
    }
    let hint = "build it with `cargo build --workspace --bins`, or set BPFLEET_BIN_DIR to where it is".into();
    Err(Error::Missing { path, hint })
}
