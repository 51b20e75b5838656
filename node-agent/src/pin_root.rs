//! The directory below which everything is pinned, held by one agent at a time.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use bpfleet_crds::node::Fact;
use nix::{
    fcntl::{Flock, FlockArg},
    mount::{MsFlags, mount, umount},
};

use crate::facts::bpffs_mounted_at;

/// Where systemd and libbpf mount the BPF file system.
const BPFFS: &str = "/sys/fs/bpf";

/// The pin root cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinRootError {
    /// Nothing is mounted.
    #[error(
        "{path} is not on a BPF file system: mount one on the node (`mount -t bpf bpf {BPFFS}`), let the chart do it \
         (agent.bpffs.mount=true), or name another --pin-root"
    )]
    NoBpffs {
        /// The directory.
        path: PathBuf,
    },
    /// Mounting failed.
    #[error(
        "no BPF file system is mounted at {BPFFS}, and it cannot be mounted: {0}; run as root, or `mount -t bpf bpf {BPFFS}`"
    )]
    Mount(io::Error),
    /// The directory cannot be made.
    #[error("{path} cannot be made: {source}; run as root?")]
    Make {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process holds it.
    #[error("another bpfleet-agent uses {path}; end it, or name another --pin-root")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
}

/// Mounts the BPF file system at its usual place, unless it is there. Whether it was not.
pub fn mount_bpffs() -> Result<bool, PinRootError> {
    if bpffs_mounted_at(Path::new(BPFFS)) == Fact::Yes {
        return Ok(false);
    }
    mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), None::<&str>)
        .map_err(|error| PinRootError::Mount(error.into()))?;
    Ok(true)
}

/// A pin root that this process holds.
#[derive(Debug)]
pub struct PinRoot {
    path: PathBuf,
    /// Kept for its lock.
    _lock: Flock<File>,
    mounted: bool,
}

impl PinRoot {
    /// Takes the directory. With `may_mount`, mounts the BPF file system at its usual place if it is missing there.
    pub fn take(path: &Path, may_mount: bool) -> Result<Self, PinRootError> {
        let mut mounted = false;
        if bpffs_mounted_at(path) == Fact::No {
            if !may_mount || !path.starts_with(BPFFS) {
                return Err(PinRootError::NoBpffs {
                    path: path.to_owned(),
                });
            }
            mounted = mount_bpffs()?;
        }
        let make = |source| PinRootError::Make {
            path: path.to_owned(),
            source,
        };
        loop {
            fs::create_dir_all(path).map_err(make)?;
            let directory = File::open(path).map_err(make)?;
            let lock =
                Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(
                    |(_, error)| match error {
                        nix::Error::EWOULDBLOCK => PinRootError::InUse {
                            path: path.to_owned(),
                        },
                        other => make(other.into()),
                    },
                )?;
            // Whoever held it before may have given it back between our opening and our lock.
            let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
            let held = lock.metadata().map(id).map_err(make)?;
            if fs::metadata(path).is_ok_and(|found| id(found) == held) {
                return Ok(Self {
                    path: path.to_owned(),
                    _lock: lock,
                    mounted,
                });
            }
        }
    }

    /// Gives an empty pin root back: removes the directory, and unmounts what [`take`](Self::take) mounted. What is
    /// not empty stays, for somebody uses it.
    pub fn give_back(self) {
        // Some kernels put files of their own there; only their names have dots.
        let empty = |mut entries: fs::ReadDir| {
            entries.all(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().contains('.')))
        };
        if fs::remove_dir(&self.path).is_ok() && self.mounted && fs::read_dir(BPFFS).is_ok_and(empty) {
            drop(self._lock);
            if let Err(error) = umount(BPFFS) {
                tracing::debug!(%error, "the BPF file system stays mounted");
            }
        }
    }
}
