//! Attaching to functions, tracepoints and security hooks of the kernel.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufRead, BufReader},
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

use bpf_object::ProgramKind;
use bpfleet_crds::NodeReason;
use bpfleet_fit::function::{KernelFunction, matches};

use super::{
    attach::Attaching,
    error::{HookError, from_io},
};
use crate::{
    kallsyms::{self, Line},
    kernel::{
        bpf::{self, LinkTarget},
        link::{self, Functions, When},
        perf::{self, KernelPlace, TRACEFS, Way},
        probe::ENOTSUPP,
    },
};

/// `enum bpf_attach_type` of include/uapi/linux/bpf.h.
const BPF_TRACE_RAW_TP: u32 = 23;
const BPF_TRACE_FENTRY: u32 = 24;
const BPF_TRACE_FEXIT: u32 = 25;
const BPF_MODIFY_RETURN: u32 = 26;
const BPF_LSM_MAC: u32 = 27;
const BPF_TRACE_ITER: u32 = 28;
const BPF_LSM_CGROUP: u32 = 43;
/// Most functions of one link (MAX_KPROBE_MULTI_CNT of kernel/trace/bpf_trace.c, 6.6).
const MAX_FUNCTIONS: usize = 1 << 20;

/// Attaches a kprobe or kretprobe program.
pub fn kprobe(
    context: &mut Attaching<'_>,
    program: BorrowedFd<'_>,
    function: &KernelFunction,
    kind: ProgramKind,
    target: &str,
) -> Result<(), HookError> {
    let on_return = matches!(kind, ProgramKind::Kretprobe | ProgramKind::Kretsyscall);
    let way = if context.node.perf_links {
        Way::Link { cookie: 0 }
    } else {
        Way::Event
    };
    let opened = context.timed(|| {
        let by_name = match &function.module {
            // The kernel takes a module's name in front of the function's, but not every stable series does.
            Some(module) => format!("{module}:{}", function.name),
            None => function.name.clone(),
        };
        let place = KernelPlace::Function {
            name: &by_name,
            offset: function.offset,
        };
        match (perf::kprobe_event(place, on_return), &function.module) {
            (Err(_), Some(module)) => {
                let address = address(&function.name, module)?;
                perf::kprobe_event(
                    KernelPlace::Address(address.saturating_add(function.offset)),
                    on_return,
                )
            }
            (event, _) => event,
        }
    });
    let event = opened.map_err(|error| kprobe_error(target, &error))?;
    let kept = context
        .timed(|| way.attach(event, program))
        .map_err(|error| kprobe_error(target, &error))?;
    match way {
        Way::Link { .. } => context.pin_fd(&kept),
        Way::Event => context.hold(kept),
    }
}

fn kprobe_error(target: &str, error: &io::Error) -> HookError {
    match error.raw_os_error() {
        Some(libc::EADDRNOTAVAIL) => HookError::new(
            NodeReason::TargetNotFound,
            format!("{target} is not unique in this kernel; name its module, as in `module:function`"),
        ),
        Some(libc::EINVAL | libc::EILSEQ) => HookError::new(
            NodeReason::AttachFailed,
            format!(
                "{target} cannot be probed ({error}): it is on the kernel's list of functions that must not be, or the \
                 offset is in the middle of an instruction"
            ),
        ),
        _ if error.kind() == io::ErrorKind::Unsupported => {
            HookError::new(NodeReason::UnsupportedByKernel, format!("{target}: {error}"))
        }
        _ => from_io(target, error),
    }
}

/// The address of a module's function.
fn address(function: &str, module: &str) -> io::Result<u64> {
    for line in BufReader::new(File::open(kallsyms::PATH)?).lines() {
        let line = line?;
        if let Some(found) = Line::parse(&line)
            && found.name == function
            && found.module_name() == Some(module)
            && found.kind.eq_ignore_ascii_case("t")
        {
            return found.address.filter(|address| *address > 0).ok_or_else(|| {
                io::Error::other("the kernel hides addresses from the agent (kernel.kptr_restrict)")
            });
        }
    }
    Err(io::Error::from_raw_os_error(libc::ENOENT))
}

/// Attaches one program to every function that a name or pattern stands for, in one link.
pub fn functions(
    context: &mut Attaching<'_>,
    program: BorrowedFd<'_>,
    patterns: &[String],
    kind: ProgramKind,
    target: &str,
) -> Result<(), HookError> {
    let when = match kind {
        ProgramKind::KretprobeMulti => When::Return,
        ProgramKind::KprobeSession => When::Session,
        _ => When::Entry,
    };
    let names = traceable(patterns, &mut context.modules).map_err(|error| {
        HookError::new(
            NodeReason::AttachFailed,
            format!(
                "{target}: the list of functions that can be traced cannot be read from tracefs: {error}"
            ),
        )
    })?;
    if names.is_empty() {
        return Err(HookError::new(
            NodeReason::TargetNotFound,
            format!("this kernel has no function that can be traced for {target}"),
        ));
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let link = context
        .timed(|| link::kprobe_multi(program, Functions::Names(&names), &[], when))
        .map_err(|error| match error.raw_os_error() {
            Some(libc::ESRCH | libc::ENOENT) => HookError::new(
                NodeReason::TargetNotFound,
                format!("{target}: a function is gone or has several places in this kernel: {error}"),
            ),
            _ => from_io(target, &error),
        })?;
    context.pin_fd(&link)
}

/// Names of functions that can be traced, each once: a name that several functions have is refused by the kernel.
/// Adds the modules that they are in.
fn traceable(patterns: &[String], modules: &mut BTreeSet<String>) -> io::Result<Vec<String>> {
    let list = TRACEFS
        .iter()
        .find_map(|root| File::open(Path::new(root).join("available_filter_functions")).ok())
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
    let mut found = std::collections::BTreeMap::new();
    for line in BufReader::new(list).lines() {
        let line = line?;
        let mut words = line.split_ascii_whitespace();
        let Some(name) = words.next() else {
            continue;
        };
        if patterns.iter().any(|pattern| matches(pattern, name)) {
            let module = words
                .next()
                .and_then(|word| word.strip_prefix('[')?.strip_suffix(']'));
            modules.extend(module.map(str::to_owned));
            *found.entry(name.to_owned()).or_insert(0u32) += 1;
        }
        if found.len() > MAX_FUNCTIONS {
            return Err(io::Error::other(format!(
                "more than {MAX_FUNCTIONS} functions are meant; use a narrower pattern"
            )));
        }
    }
    Ok(found
        .into_iter()
        .filter_map(|(name, count)| (count == 1).then_some(name))
        .collect())
}

/// Attaches a program that was tied to its place when it was loaded.
pub fn tracing(
    context: &mut Attaching<'_>,
    program: BorrowedFd<'_>,
    kind: ProgramKind,
    target: &str,
) -> Result<(), HookError> {
    let attach_type = match kind {
        ProgramKind::Fentry => BPF_TRACE_FENTRY,
        ProgramKind::Fexit => BPF_TRACE_FEXIT,
        ProgramKind::FmodRet => BPF_MODIFY_RETURN,
        ProgramKind::Lsm => BPF_LSM_MAC,
        _ => BPF_TRACE_RAW_TP,
    };
    let link = context
        .timed(|| link::tracing(program, attach_type, None))
        .map_err(|error| match error.raw_os_error() {
            Some(ENOTSUPP | libc::EOPNOTSUPP) => HookError::new(
                NodeReason::UnsupportedByKernel,
                format!("this kernel cannot attach to {target}: {error}"),
            ),
            _ => from_io(target, &error),
        })?;
    context.pin_fd(&link)
}

/// Makes an iterator, which runs when its pin is read (5.8).
pub fn iter(context: &mut Attaching<'_>, program: BorrowedFd<'_>, target: &str) -> Result<(), HookError> {
    let link = context
        .timed(|| bpf::link_create(program, LinkTarget::None, BPF_TRACE_ITER, 0))
        .map_err(|error| from_io(target, &error))?;
    context.pin_fd(&link)
}

/// Attaches to a security hook of one cgroup (6.0).
pub fn lsm_cgroup(
    context: &mut Attaching<'_>,
    program: BorrowedFd<'_>,
    cgroup: &fs::File,
    target: &str,
) -> Result<(), HookError> {
    let link = context
        .timed(|| bpf::link_create(program, LinkTarget::Fd(cgroup.as_fd()), BPF_LSM_CGROUP, 0))
        .map_err(|error| from_io(target, &error))?;
    context.pin_fd(&link)
}
