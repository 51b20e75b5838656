//! Whether what a complete revision says is attached still is.

use std::{io, os::fd::AsFd, path::Path};

use super::{
    entries, link, name, program_id,
    watched::{Identity, Watched, instances},
};
use crate::{
    escape::unescape,
    kernel::{
        bpf,
        netlink::{Filter, filters},
    },
    layout::{ProgramDir, RevisionDir},
    load::{interface_name, request::NodePaths},
    record::{Instance, PROGRAM, TcDirection},
};

/// Why a hook is not attached whose pins are missing.
pub const UNPINNED: &str = "its pins were removed";

/// One hook of a complete revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookState {
    /// Name.
    pub name: String,
    /// Why it is not attached any more.
    pub detached: Option<String>,
    /// Whether it ends with the agent's process.
    pub ends_with_agent: bool,
    /// Of a hook that is not attached: what is in the places of its targets now. When that changes, it is worth trying
    /// again.
    pub targets: Vec<Option<Identity>>,
}

impl HookState {
    /// A hook that has just been attached.
    pub fn attached(name: &str, ends_with_agent: bool) -> Self {
        Self {
            name: name.to_owned(),
            detached: None,
            ends_with_agent,
            targets: Vec::new(),
        }
    }
}

/// Looks at every hook of a revision. `holds` tells whether this process holds the perf events of a hook.
pub fn verify(
    program: &ProgramDir,
    revision: &RevisionDir,
    node: &NodePaths,
    holds: impl Fn(&str) -> bool,
) -> io::Result<Vec<HookState>> {
    let mut look = Look {
        program,
        revision,
        filters: Vec::new(),
    };
    let mut hooks = Vec::new();
    for path in entries(&revision.hooks())? {
        let Some(hook) = name(&path).and_then(unescape) else {
            continue;
        };
        let instances = instances(&path)?;
        let watched = Watched::read(&path);
        let ends_with_agent = instances
            .iter()
            .any(|(_, instance)| matches!(instance, Instance::Process(_)));
        let detached = look
            .hook(&path, &instances, watched.as_ref(), node, holds(&hook))
            .err();
        let targets = match (&detached, &watched) {
            (Some(_), Some(watched)) => watched.now(node),
            _ => Vec::new(),
        };
        hooks.push(HookState {
            name: hook,
            detached,
            ends_with_agent,
            targets,
        });
    }
    Ok(hooks)
}

/// One look at a revision.
struct Look<'a> {
    program: &'a ProgramDir,
    revision: &'a RevisionDir,
    /// Lists of filters that were asked for already.
    filters: Vec<(u32, TcDirection, Result<Vec<Filter>, String>)>,
}

impl Look<'_> {
    fn hook(
        &mut self,
        dir: &Path,
        instances: &[(std::path::PathBuf, Instance)],
        watched: Option<&Watched>,
        node: &NodePaths,
        held: bool,
    ) -> Result<(), String> {
        let id = match watched {
            Some(watched) => watched.program,
            None => program_id(&dir.join(PROGRAM))
                .map_err(|error| format!("its program is not pinned any more: {error}"))?,
        };
        for target in watched.iter().flat_map(|watched| &watched.targets) {
            target.lost(node).map_or(Ok(()), Err)?;
        }
        for (path, instance) in instances {
            self.instance(path, instance, id, held)?;
        }
        let expected = watched.map_or(1, |watched| watched.instances.max(1));
        if instances.len() < expected {
            return Err(UNPINNED.to_owned());
        }
        Ok(())
    }

    fn instance(&mut self, path: &Path, instance: &Instance, id: u32, held: bool) -> Result<(), String> {
        match instance {
            Instance::Link(_) => runs(path, id),
            Instance::Xdp { .. } => runs(&self.program.held().join(instance.to_string()), id),
            Instance::TcFilter {
                ifindex,
                direction,
                priority,
                handle,
            } => self.filter(*ifindex, *direction, (*priority, *handle), id),
            Instance::SockMap { map, attach_type } => {
                let pin = self.revision.map(map).map_err(|error| error.to_string())?;
                attached_to(bpf::obj_get(&pin), *attach_type, id)
            }
            Instance::Cgroup { path, attach_type } => {
                attached_to(std::fs::File::open(path).map(Into::into), *attach_type, id)
            }
            Instance::Process(_) if held => Ok(()),
            Instance::Process(_) => Err("it ended with the agent's earlier process".to_owned()),
        }
    }

    fn filter(
        &mut self,
        ifindex: u32,
        direction: TcDirection,
        (priority, handle): (u16, u32),
        id: u32,
    ) -> Result<(), String> {
        let known = self
            .filters
            .iter()
            .position(|(index, way, _)| (*index, *way) == (ifindex, direction));
        let index = known.unwrap_or_else(|| {
            let listed = filters(ifindex, direction).map_err(|error| error.to_string());
            self.filters.push((ifindex, direction, listed));
            self.filters.len() - 1
        });
        let listed = match self.filters.get(index).map(|(_, _, listed)| listed) {
            Some(Ok(listed)) => listed.as_slice(),
            Some(Err(error)) => return Err(format!("its filter cannot be looked up: {error}")),
            None => &[],
        };
        find_filter(listed, priority, handle, id).map_err(|why| {
            if interface_name(ifindex).is_some() {
                why.to_owned()
            } else {
                format!("the network interface with index {ifindex} is gone")
            }
        })
    }
}

fn runs(path: &Path, id: u32) -> Result<(), String> {
    match link(path) {
        Ok(state) if !state.attached => {
            Err("what it was attached to is gone, or somebody detached it".to_owned())
        }
        Ok(state) if state.program_id == id => Ok(()),
        Ok(_) => Err("its link runs another program now".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(UNPINNED.to_owned()),
        Err(error) => Err(format!("its link is gone: {error}")),
    }
}

/// Whether our filter is among these.
fn find_filter(listed: &[Filter], priority: u16, handle: u32, id: u32) -> Result<(), &'static str> {
    let ours = listed
        .iter()
        .find(|filter| (filter.priority, filter.handle) == (priority, handle));
    match ours.map(|filter| filter.program) {
        Some(program) if program.is_none_or(|program| program == id) => Ok(()),
        Some(_) => Err("its filter runs another program now"),
        None => Err("its filter was deleted"),
    }
}

fn attached_to(target: io::Result<std::os::fd::OwnedFd>, attach_type: u32, id: u32) -> Result<(), String> {
    let target = target.map_err(|error| format!("what it was attached to is gone: {error}"))?;
    match bpf::prog_query(target.as_fd(), attach_type) {
        Ok(ids) if ids.contains(&id) => Ok(()),
        Ok(_) => Err("it was detached".to_owned()),
        // Sockmaps can be asked from 5.17 on; before, the map's pin is all there is to see.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        Err(error) => Err(format!("cannot be looked up: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_ours_by_priority_handle_and_program() {
        let filter = |priority, handle, program| Filter {
            priority,
            handle,
            program,
        };
        let listed = [
            filter(49152, 1, Some(7)),
            filter(50, 1, Some(8)),
            filter(50, 3, None),
        ];
        assert_eq!(find_filter(&listed, 50, 1, 8), Ok(()));
        assert_eq!(find_filter(&listed, 50, 3, 9), Ok(()), "the kernel does not say");
        assert_eq!(
            find_filter(&listed, 50, 1, 7),
            Err("its filter runs another program now")
        );
        assert_eq!(find_filter(&listed, 50, 2, 8), Err("its filter was deleted"));
        assert_eq!(find_filter(&[], 50, 1, 8), Err("its filter was deleted"));
    }
}
