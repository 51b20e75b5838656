//! What is pinned, read back from the kernel: the agent keeps no state of its own about what runs.

mod publish;
mod remove;
mod verify;
pub mod watched;

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use aya::programs::ProgramInfo;

pub use publish::publish;
pub use remove::{RemoveError, remove_program, remove_revision};
pub(crate) use remove::{detach_now, replace_hook};
pub use verify::{HookState, UNPINNED, verify};

use crate::{
    escape::unescape,
    kernel::bpf::{self, LinkState},
    layout::{ProgramDir, RevisionDir},
    record::Instance,
};

/// One program's directory in bpffs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundProgram {
    /// Name of the BpfProgram.
    pub name: String,
    /// Complete revisions, sorted.
    pub revisions: Vec<String>,
}

/// Reads a pinned link.
pub fn link(path: &Path) -> io::Result<LinkState> {
    bpf::link_info(bpf::obj_get(path)?.as_fd())
}

/// The id of a pinned program.
pub fn program_id(path: &Path) -> io::Result<u32> {
    ProgramInfo::from_pin(path)
        .map(|info| info.id())
        .map_err(io::Error::other)
}

/// The entries of a directory, sorted; none if there is no such directory.
pub(crate) fn entries(path: &Path) -> io::Result<Vec<PathBuf>> {
    let listing = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut paths = listing
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// A file's name; ours are all ASCII.
pub(crate) fn name(path: &Path) -> Option<&str> {
    path.file_name().and_then(|name| name.to_str())
}

/// Everything below a pin root. Names that bpfleet never writes are somebody else's and left alone.
pub fn scan(root: &Path) -> io::Result<Vec<FoundProgram>> {
    let mut found = Vec::new();
    for path in entries(root)? {
        let Some(program) = name(&path).and_then(unescape) else {
            continue;
        };
        let dir = ProgramDir::at(path);
        let revisions = entries(&dir.revisions())?;
        found.push(FoundProgram {
            name: program,
            revisions: revisions
                .iter()
                .filter_map(|path| name(path).and_then(unescape))
                .collect(),
        });
    }
    Ok(found)
}

/// The variant that a complete revision was loaded as.
pub fn variant(revision: &RevisionDir) -> io::Result<Option<String>> {
    let paths = entries(revision.path())?;
    Ok(paths
        .iter()
        .filter_map(|path| name(path))
        .find_map(|name| unescape(name.strip_prefix("variant-")?)))
}

/// Finds a pinned program of any revision by its id.
pub(crate) fn find_program(dir: &ProgramDir, id: u32) -> Option<OwnedFd> {
    for revision in entries(&dir.revisions()).ok()? {
        for path in entries(&RevisionDir::at(revision).programs()).ok()? {
            if program_id(&path).is_ok_and(|found| found == id) {
                return bpf::obj_get(&path).ok();
            }
        }
    }
    None
}

/// The other program of this pin root that holds an interface.
pub(crate) fn xdp_holder(root: &Path, own: &ProgramDir, ifindex: u32) -> Option<String> {
    for path in entries(root).ok()? {
        let dir = ProgramDir::at(path);
        if dir == *own {
            continue;
        }
        for held in entries(&dir.held()).ok()? {
            if let Some(Instance::Xdp { ifindex: index, .. }) = name(&held).and_then(Instance::parse)
                && index == ifindex
            {
                return name(dir.path()).and_then(unescape);
            }
        }
    }
    None
}
