//! A bpffs of its own for each agent, so that several can live on one kernel.

use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::error::{During, Result, make_dir};

/// A mounted bpffs. Dropping it unmounts it, and with it goes whatever only its pins held.
pub struct Bpffs {
    path: PathBuf,
}

impl Bpffs {
    /// Mounts a bpffs at `path`, which is made if need be.
    pub fn mount(path: &Path) -> Result<Bpffs> {
        make_dir(path)?;
        mount(
            Some("bpf"),
            path,
            Some("bpf"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
            Some("mode=0700"),
        )
        .during(|| format!("mounting a bpffs at {} (needs root)", path.display()))?;
        Ok(Bpffs {
            path: path.to_owned(),
        })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let busy = umount2(&self.path, MntFlags::empty()).is_err();
        if busy && let Err(error) = umount2(&self.path, MntFlags::MNT_DETACH) {
            eprintln!("{} is still mounted: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn mounted(path: &Path) -> bool {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        mounts.lines().any(|line| line.split(' ').nth(1) == path.to_str())
    }

    #[test]
    fn a_dropped_bpffs_is_unmounted() {
        let scratch = Scratch::new("bpffs").unwrap();
        let path = scratch.path().join("bpffs");
        let bpffs = Bpffs::mount(&path).unwrap();
        assert!(mounted(&path));
        drop(bpffs);
        assert!(!mounted(&path));
    }

    #[test]
    fn a_bpffs_that_nobody_unmounted_goes_with_its_directory() {
        let scratch = Scratch::new("bpffs").unwrap();
        let path = scratch.path().join("bpffs");
        std::mem::forget(Bpffs::mount(&path).unwrap());
        drop(scratch);
        assert!(!mounted(&path) && !path.exists());
    }
}
