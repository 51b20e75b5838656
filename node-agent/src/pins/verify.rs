//! Whether what a complete revision says is attached still is.

use std::{io, os::fd::AsFd, path::Path};

use aya::programs::{
    SchedClassifier, TcAttachType,
    tc::{SchedClassifierLink, TcHandle},
};

use super::{entries, link, name, program_id};
use crate::{
    escape::unescape,
    kernel::bpf,
    layout::{ProgramDir, RevisionDir},
    load::interface_name,
    record::{Instance, PROGRAM, TcDirection},
};

/// One hook of a complete revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookState {
    /// Name.
    pub name: String,
    /// Why it is not attached any more.
    pub detached: Option<String>,
    /// Whether it ends with the agent's process.
    pub ends_with_agent: bool,
}

/// Looks at every hook of a revision. `holds` tells whether this process holds the perf events of a hook.
///
/// With `adopt`, netlink filters are put in place again by an exact replacement, which succeeds only if they
/// are there: the kernel has no cheaper question.
pub fn verify(
    program: &ProgramDir,
    revision: &RevisionDir,
    adopt: bool,
    holds: impl Fn(&str) -> bool,
) -> io::Result<Vec<HookState>> {
    let mut hooks = Vec::new();
    for path in entries(&revision.hooks())? {
        let Some(hook) = name(&path).and_then(unescape) else {
            continue;
        };
        let (mut detached, mut ends_with_agent, mut instances) = (None, false, 0);
        let program_pin = path.join(PROGRAM);
        for instance_path in entries(&path)? {
            let Some(instance) = name(&instance_path).and_then(Instance::parse) else {
                continue;
            };
            instances += 1;
            ends_with_agent |= matches!(instance, Instance::Process(_));
            let state = match &instance {
                Instance::Process(_) if holds(&hook) => Ok(()),
                Instance::Process(_) => Err("it ended with the agent's earlier process".to_owned()),
                _ => check(program, revision, &program_pin, &instance_path, &instance, adopt),
            };
            if let Err(why) = state {
                detached.get_or_insert(why);
            }
        }
        if instances == 0 {
            detached = Some("its pins were removed".to_owned());
        }
        hooks.push(HookState {
            name: hook,
            detached,
            ends_with_agent,
        });
    }
    Ok(hooks)
}

fn check(
    program: &ProgramDir,
    revision: &RevisionDir,
    program_pin: &Path,
    path: &Path,
    instance: &Instance,
    adopt: bool,
) -> Result<(), String> {
    let id =
        program_id(program_pin).map_err(|error| format!("its program is not pinned any more: {error}"))?;
    let runs = |path: &Path| match link(path) {
        Ok(state) if !state.attached => Err("what it was attached to is gone".to_owned()),
        Ok(state) if state.program_id == id => Ok(()),
        Ok(_) => Err("its link runs another program now".to_owned()),
        Err(error) => Err(format!("its link is gone: {error}")),
    };
    match instance {
        Instance::Link(_) => runs(path),
        Instance::Xdp { .. } => runs(&program.held().join(instance.to_string())),
        Instance::TcFilter {
            ifindex,
            direction,
            priority,
            handle,
        } => {
            let Some(interface) = interface_name(*ifindex) else {
                return Err(format!("the network interface with index {ifindex} is gone"));
            };
            if adopt {
                adopt_filter(program_pin, &interface, *direction, *priority, *handle)
            } else {
                Ok(())
            }
        }
        Instance::SockMap { map, attach_type } => {
            let pin = revision.map(map).map_err(|error| error.to_string())?;
            attached_to(bpf::obj_get(&pin), *attach_type, id)
        }
        Instance::Cgroup { path, attach_type } => {
            attached_to(std::fs::File::open(path).map(Into::into), *attach_type, id)
        }
        Instance::Process(_) => Ok(()),
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

fn adopt_filter(
    program_pin: &Path,
    interface: &str,
    direction: TcDirection,
    priority: u16,
    handle: u32,
) -> Result<(), String> {
    let attach_type = match direction {
        TcDirection::Ingress => TcAttachType::Ingress,
        TcDirection::Egress => TcAttachType::Egress,
    };
    let mut program = SchedClassifier::from_pin(program_pin).map_err(|error| error.to_string())?;
    let link = SchedClassifierLink::attached(interface, attach_type, priority, TcHandle::from(handle), None)
        .map_err(|error| error.to_string())?;
    let id = program
        .attach_to_link(link)
        .map_err(|error| format!("its filter is gone: {error}"))?;
    // Dropping the link would detach the filter.
    program
        .take_link(id)
        .map(std::mem::forget)
        .map_err(|error| error.to_string())
}
