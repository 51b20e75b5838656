//! Attaching to binaries of the host.

use std::{
    fs,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
};

use bpf_object::ProgramKind;
use bpfleet_crds::NodeReason;

use object::ReadCache;

use super::{
    attach::Attaching,
    error::{HookError, uprobe},
    programs::Attachable,
    symbol,
};
use crate::{
    facts::below,
    kernel::{
        link::{self, UserPlaces, When},
        perf::{self, Way},
    },
    usdt::{self, Machine, attach::How},
};

/// Attaches to a function of a binary, or to all that a pattern stands for.
pub fn function(
    context: &mut Attaching<'_>,
    program: BorrowedFd<'_>,
    kind: ProgramKind,
    (path, symbol, offset): (&str, Option<&str>, u64),
    target: &str,
) -> Result<(), HookError> {
    let file = binary(context, path)?;
    let missing = |why: String| HookError::new(NodeReason::TargetNotFound, format!("{target}: {why}"));
    let starts = match symbol {
        None => vec![0],
        Some(symbol) => symbol::file_offsets(&file, symbol)
            .map_err(|error| missing(format!("the binary cannot be read: {error}")))?,
    };
    if starts.is_empty() {
        return Err(missing(format!(
            "the binary has no symbol {}; is it stripped, or is the name another?",
            symbol.unwrap_or_default()
        )));
    }
    let offsets: Vec<u64> = starts.iter().map(|start| start.saturating_add(offset)).collect();
    let when = match kind {
        ProgramKind::UretprobeMulti => When::Return,
        ProgramKind::UprobeSession => When::Session,
        ProgramKind::UprobeMulti => When::Entry,
        _ => return one(context, program, kind, &file, &offsets, target),
    };
    let places = UserPlaces {
        path: &file,
        offsets: &offsets,
        counters: &[],
        cookies: &[],
        process: 0,
    };
    let link = context
        .timed(|| link::uprobe_multi(program, &places, when))
        .map_err(|error| uprobe(target, &error))?;
    context.pin_fd(&link)
}

fn one(
    context: &mut Attaching<'_>,
    program: BorrowedFd<'_>,
    kind: ProgramKind,
    file: &Path,
    offsets: &[u64],
    target: &str,
) -> Result<(), HookError> {
    let on_return = kind == ProgramKind::Uretprobe;
    // A name that stands twice in the symbol table is one function with two names of the same place, or a local
    // function of several files, of which the first is meant.
    let place = offsets.first().copied().unwrap_or_default();
    let way = if context.node.perf_links {
        Way::Link { cookie: 0 }
    } else {
        Way::Event
    };
    let kept = context
        .timed(|| {
            let event = perf::uprobe_event(file, place, 0, on_return)?;
            way.attach(event, program)
        })
        .map_err(|error| uprobe(target, &error))?;
    match way {
        Way::Link { .. } => context.pin_fd(&kept),
        Way::Event => context.hold(kept),
    }
}

/// Attaches to a statically defined probe of a binary, in every place that it stands.
pub fn probe(
    context: &mut Attaching<'_>,
    programs: &mut dyn Attachable,
    program: &str,
    (path, provider, name): (&str, &str, &str),
    target: &str,
) -> Result<(), HookError> {
    let file = binary(context, path)?;
    let missing =
        |why: &dyn std::fmt::Display| HookError::new(NodeReason::TargetNotFound, format!("{target}: {why}"));
    let machine = Machine::HOST.ok_or_else(|| {
        HookError::new(
            NodeReason::UnsupportedByKernel,
            format!("{target}: where probes have their arguments is not known for this machine"),
        )
    })?;
    let probes = {
        let opened = fs::File::open(&file).map_err(|error| missing(&error))?;
        let cache = ReadCache::new(opened);
        usdt::find(&cache, machine, provider, name).map_err(|error| missing(&error))?
    };
    let plan = programs.describe_probes(name, &probes)?;
    let how = if context.node.perf_links {
        How::Links
    } else {
        How::Events
    };
    let program = programs.fd(program)?;
    let kept = context
        .timed(|| usdt::attach::attach(program, &file, &plan, how))
        .map_err(|error| uprobe(target, &error))?;
    for link in kept {
        match how {
            How::Events => context.hold(link)?,
            _ => context.pin_fd(&link)?,
        }
    }
    Ok(())
}

/// The binary where the host's root is mounted.
fn binary(context: &Attaching<'_>, path: &str) -> Result<PathBuf, HookError> {
    let file = below(&context.node.host_root, path);
    match fs::metadata(&file) {
        Ok(_) => Ok(file),
        Err(error) => Err(HookError::new(
            NodeReason::TargetNotFound,
            format!("this node has no binary {path}: {error}"),
        )),
    }
}
