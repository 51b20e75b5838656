//! A cgroup of a test's own.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use bpfleet_agent::facts;
use bpfleet_e2e::wait;

use super::running::PATIENCE;

/// A cgroup below the root of the version 2 hierarchy. Dropping it removes it.
pub struct Cgroup {
    path: PathBuf,
    name: String,
}

impl Cgroup {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let root = facts::cgroup_hierarchies(std::path::Path::new("/"))
            .v2
            .expect("a cgroup version 2 hierarchy is mounted");
        let name = format!(
            "bpfleet-test-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = root.join(&name);
        fs::create_dir(&path).unwrap();
        Self { path, name }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path as a BpfProgram names it.
    pub fn target(&self) -> String {
        format!("/{}", self.name)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Processes that ended stay in it until they are reaped.
        if let Err(error) = wait::until("the cgroup to be empty", PATIENCE, || {
            match fs::remove_dir(&self.path) {
                Err(error) if self.path.exists() => Err(error.to_string()),
                _ => Ok(()),
            }
        }) {
            eprintln!("{} is left: {error}", self.path.display());
        }
    }
}
