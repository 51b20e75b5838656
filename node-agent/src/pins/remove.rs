//! Taking away what was attached: first the hooks, then programs and maps, then the directories.

use std::{
    fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use aya::programs::{
    Link, TcAttachType,
    tc::{SchedClassifierLink, TcHandle},
};

use super::{
    entries, link, name, program_id,
    watched::{WATCHED, instances},
};
use crate::{
    kernel::bpf,
    layout::{ProgramDir, RevisionDir},
    load::interface_name,
    record::{Instance, PROGRAM, TcDirection},
};

/// What could not be taken away. The rest was.
#[derive(Debug, thiserror::Error)]
#[error("{} could not be removed: {source}{}", path.display(), if *more == 0 { String::new() } else { format!(" (and {more} more)") })]
pub struct RemoveError {
    /// The first path.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
    /// How many more.
    pub more: usize,
}

/// Collects failures: one must not keep the rest attached.
#[derive(Default)]
struct Failures {
    first: Option<(PathBuf, io::Error)>,
    more: usize,
}

impl Failures {
    fn note(&mut self, path: &Path, result: io::Result<()>) {
        match result {
            Ok(()) => {}
            // Somebody else was faster; what was to go is gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if self.first.is_none() => self.first = Some((path.to_owned(), error)),
            Err(_) => self.more += 1,
        }
    }

    fn list(&mut self, path: &Path) -> Vec<PathBuf> {
        entries(path).unwrap_or_else(|error| {
            self.note(path, Err(error));
            Vec::new()
        })
    }

    fn finish(self) -> Result<(), RemoveError> {
        let more = self.more;
        self.first
            .map_or(Ok(()), |(path, source)| Err(RemoveError { path, source, more }))
    }
}

/// Detaches and unpins one revision, complete or not. An XDP link that has passed to another revision stays,
/// and one that this revision took from a complete one goes back to it.
pub fn remove_revision(program: &ProgramDir, revision: &RevisionDir) -> Result<(), RemoveError> {
    let mut failures = Failures::default();
    revision_into(program, revision, &mut failures);
    failures.finish()
}

/// Detaches and unpins everything of a program.
pub fn remove_program(program: &ProgramDir) -> Result<(), RemoveError> {
    let mut failures = Failures::default();
    // No complete revision may get a link back: unfinished ones go last.
    for directory in [program.revisions(), program.loading()] {
        for revision in failures.list(&directory) {
            revision_into(program, &RevisionDir::at(revision), &mut failures);
        }
        failures.note(&directory, fs::remove_dir(&directory));
    }
    tree(program.path(), &mut failures);
    failures.finish()
}

fn revision_into(program: &ProgramDir, revision: &RevisionDir, failures: &mut Failures) {
    for hook in failures.list(&revision.hooks()) {
        let program_pin = hook.join(PROGRAM);
        for path in failures.list(&hook) {
            if let Some(instance) = name(&path).and_then(Instance::parse) {
                let detached = detach(program, revision, &program_pin, &instance);
                failures.note(&path, detached);
            }
        }
    }
    tree(revision.path(), failures);
}

/// Puts what was attached anew for a hook of a complete revision in the place of what the hook has lost. A crash halfway
/// leaves a hook that lacks something, and not one that looks whole.
pub(crate) fn replace_hook(
    program: &ProgramDir,
    revision: &RevisionDir,
    hook: &Path,
    fresh: &Path,
) -> io::Result<()> {
    let program_pin = hook.join(PROGRAM);
    for (path, instance) in instances(hook)? {
        // What has the same name is the same interface, map or cgroup: ending that would end the new attachment.
        let again = fs::symlink_metadata(fresh.join(instance.to_string())).is_ok();
        if !again {
            detach(program, revision, &program_pin, &instance)?;
        }
        match instance {
            Instance::Link(_) => fs::remove_file(&path)?,
            _ => fs::remove_dir(&path)?,
        }
    }
    fs::rename(fresh.join(WATCHED), hook.join(WATCHED))?;
    for (path, instance) in instances(fresh)? {
        fs::rename(&path, hook.join(instance.to_string()))?;
    }
    Ok(())
}

/// Ends one attachment, apart from its own file or directory, which goes with the tree.
fn detach(
    program: &ProgramDir,
    revision: &RevisionDir,
    program_pin: &Path,
    instance: &Instance,
) -> io::Result<()> {
    match instance {
        // Unpinning detaches; so does the end of the process.
        Instance::Link(_) | Instance::Process(_) => Ok(()),
        Instance::Xdp { .. } => release_xdp(program, revision, program_pin, instance),
        Instance::TcFilter {
            ifindex,
            direction,
            priority,
            handle,
        } => {
            let attach_type = match direction {
                TcDirection::Ingress => TcAttachType::Ingress,
                TcDirection::Egress => TcAttachType::Egress,
            };
            match interface_name(*ifindex) {
                Some(interface) => {
                    let handle = TcHandle::from(*handle);
                    let link =
                        SchedClassifierLink::attached(&interface, attach_type, *priority, handle, None)?;
                    ended(link.detach())
                }
                None => Ok(()),
            }
        }
        Instance::SockMap { map, attach_type } => {
            let pin = revision.map(map).map_err(io::Error::other)?;
            detach_from(program_pin, bpf::obj_get(&pin), *attach_type)
        }
        Instance::Cgroup { path, attach_type } => {
            detach_from(program_pin, fs::File::open(path).map(Into::into), *attach_type)
        }
    }
}

/// A filter that somebody removed already is gone, which is what was wanted.
fn ended(result: Result<(), aya::programs::ProgramError>) -> io::Result<()> {
    match result {
        Err(error) => match crate::load::os_error(&error) {
            Some(libc::ENOENT | libc::EINVAL | libc::ENODEV) => Ok(()),
            _ => Err(io::Error::other(crate::load::error_chain(&error))),
        },
        Ok(()) => Ok(()),
    }
}

fn detach_from(
    program_pin: &Path,
    target: io::Result<std::os::fd::OwnedFd>,
    attach_type: u32,
) -> io::Result<()> {
    let target = match target {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let program = match bpf::obj_get(program_pin) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    match bpf::prog_detach(program.as_fd(), target.as_fd(), attach_type) {
        // It was recorded, and then not attached, or detached by hand.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => Ok(()),
        other => other,
    }
}

fn release_xdp(
    program: &ProgramDir,
    revision: &RevisionDir,
    program_pin: &Path,
    instance: &Instance,
) -> io::Result<()> {
    let held = program.held().join(instance.to_string());
    let link_state = match link(&held) {
        Ok(state) => state,
        Err(_) if !held.exists() => return Ok(()),
        Err(error) => return Err(error),
    };
    if program_id(program_pin).is_ok_and(|id| id != link_state.program_id) {
        return Ok(());
    }
    for other in entries(&program.revisions())? {
        if other == revision.path() {
            continue;
        }
        for hook in entries(&RevisionDir::at(other).hooks())? {
            if hook.join(instance.to_string()).exists() {
                let earlier = bpf::obj_get(&hook.join(PROGRAM))?;
                return match bpf::link_update(bpf::obj_get(&held)?.as_fd(), earlier.as_fd()) {
                    // The interface is gone, and with it what the link attached.
                    Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => fs::remove_file(&held),
                    other => other,
                };
            }
        }
    }
    detach_now(&held)
}

/// Detaches and unpins. Unpinning alone detaches some time later, and the interface would be busy until then.
pub(crate) fn detach_now(link: &Path) -> io::Result<()> {
    // Where it fails, unpinning still detaches, only later.
    if let Err(error) = bpf::link_detach(bpf::obj_get(link)?.as_fd()) {
        tracing::debug!(%error, link = %link.display(), "cannot be detached at once");
    }
    fs::remove_file(link)
}

/// Removes a directory with all that is in it. bpffs holds only files and directories.
fn tree(path: &Path, failures: &mut Failures) {
    for entry in failures.list(path) {
        let is_dir = fs::symlink_metadata(&entry).is_ok_and(|metadata| metadata.is_dir());
        if is_dir {
            tree(&entry, failures);
        } else {
            failures.note(&entry, fs::remove_file(&entry));
        }
    }
    failures.note(path, fs::remove_dir(path));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_removed_whole_and_twice_without_complaint() {
        let root = tempfile::tempdir().unwrap();
        let program = ProgramDir::at(root.path().join("p"));
        let revision = program.revision("r-1").unwrap();
        fs::create_dir_all(revision.hook("h").unwrap()).unwrap();
        fs::create_dir_all(revision.maps()).unwrap();
        fs::write(revision.map("m").unwrap(), "").unwrap();
        fs::create_dir_all(program.maps()).unwrap();
        remove_program(&program).unwrap();
        assert!(!program.path().exists());
        remove_program(&program).unwrap();
    }
}
