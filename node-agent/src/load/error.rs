//! What the kernel's and aya's errors mean to the person who must act.

use std::io;

use aya::{
    BtfError, EbpfError,
    maps::MapError,
    programs::{ProgramError, tc::TcError, trace_point::TracePointError},
};
use bpf_object::{ProgramPlan, ResolveError};
use bpfleet_crds::NodeReason;

use super::{
    attempt::Miss,
    request::{Failure, MAX_LOG_BYTES},
    verifier,
};
use crate::kernel::program::LoadError;

/// A hook that could not be attached: why, as a word and as a sentence.
#[derive(Debug)]
pub struct HookError {
    /// Why, as one word.
    pub reason: NodeReason,
    /// What failed, on what, why, and what to do next.
    pub message: String,
}

impl HookError {
    /// Of this reason.
    pub fn new(reason: NodeReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }

    /// A pin or record could not be made.
    pub fn pin(path: &std::path::Path, error: &dyn std::error::Error) -> Self {
        Self::new(
            NodeReason::PinFailed,
            format!("cannot pin at {}: {}", path.display(), chain(error)),
        )
    }
}

/// An error with its causes, outermost first.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// The object could not be opened: parsed, relocated, its maps made.
pub fn opening(error: &EbpfError) -> Failure {
    let text = chain(error);
    match error {
        EbpfError::MapError(MapError::CreateError { name, io_error }) => Failure::new(
            if matches!(io_error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP)) {
                NodeReason::UnsupportedByKernel
            } else {
                NodeReason::LoadFailed
            },
            format!("the kernel refused map {name}: {io_error}{}", hint(io_error)),
        ),
        EbpfError::MapError(_) | EbpfError::ProgramError(_) => Failure::new(NodeReason::LoadFailed, text),
        EbpfError::BtfError(BtfError::LoadError { io_error, .. }) => Failure::new(
            NodeReason::LoadFailed,
            format!(
                "the kernel refused the object's BTF: {io_error}{}",
                hint(io_error)
            ),
        ),
        _ => Failure::new(
            NodeReason::InvalidObject,
            format!("the object cannot be opened: {text}"),
        ),
    }
}

/// The object could not be resolved for this kernel.
pub fn resolving(error: &ResolveError) -> Miss {
    use ResolveError as E;
    let reason = match error {
        E::NeedsTargetBtf { .. } | E::NeedsKernelBtf { .. } => NodeReason::BtfMissing,
        E::AttachTargetMissing { .. } | E::ModuleMissing { .. } | E::NoSyscallPrefix { .. } => {
            NodeReason::TargetNotFound
        }
        E::KconfigMissing { .. } => NodeReason::KernelConfigMissing,
        E::SymbolMissing { .. } | E::AddressHidden { .. } => NodeReason::KernelSymbolMissing,
        E::NoSuchProgram { .. } | E::NoAttachTarget { .. } => NodeReason::InvalidHook,
        E::MapSize { .. } => NodeReason::InvalidMap,
        E::UnknownKind { .. } | E::Unsupported { .. } | E::StructOps { .. } => NodeReason::UnsupportedProgram,
        _ => NodeReason::InvalidObject,
    };
    let failure = Failure::new(reason, error.to_string());
    match error.program() {
        Some(program) => Miss::Programs(vec![(program.to_owned(), failure)]),
        None => Miss::Revision(failure),
    }
}

/// A program could not be loaded by aya.
pub fn loading(program: &ProgramPlan, error: &ProgramError) -> Failure {
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => refused(program, io_error, &verifier_log.to_string()),
        other => Failure::new(
            NodeReason::LoadFailed,
            format!("program {} cannot be loaded: {}", program.name, chain(other)),
        ),
    }
}

/// A program could not be loaded by us.
pub fn loading_own(row: &ProgramPlan, error: &LoadError) -> Failure {
    match error {
        LoadError::Refused { error, log, .. } => refused(row, error, log),
        LoadError::Module { .. } => Failure::new(NodeReason::TargetNotFound, error.to_string()),
        LoadError::Layout(_) | LoadError::NoProgram(_) => {
            Failure::new(NodeReason::InvalidObject, error.to_string())
        }
    }
}

fn refused(program: &ProgramPlan, error: &io::Error, log: &str) -> Failure {
    let name = &program.name;
    if log.trim().is_empty() {
        let reason = match error.raw_os_error() {
            Some(libc::EINVAL | libc::EOPNOTSUPP) => NodeReason::UnsupportedByKernel,
            _ => NodeReason::LoadFailed,
        };
        let message = format!(
            "the kernel refused program {name} of kind {} without a word of its verifier: {error}{}",
            program.kind,
            hint(error)
        );
        return Failure::new(reason, message);
    }
    let verdict = verifier::verdict(&program.poisoned, log);
    let translated = verifier::translate(&program.poisoned, log);
    Failure {
        reason: NodeReason::VerifierRejected,
        message: format!("the verifier rejected program {name}: {verdict}"),
        log: Some(bpfleet_crds::conditions::tail(&translated, MAX_LOG_BYTES).to_owned()),
        failed_hooks: Vec::new(),
    }
}

/// A hook could not be attached to `target`.
pub fn attaching(target: &str, error: &ProgramError) -> HookError {
    match error {
        ProgramError::TracePointError(TracePointError::FileError { io_error, .. })
            if io_error.kind() == io::ErrorKind::NotFound =>
        {
            HookError::new(NodeReason::TargetNotFound, format!("this kernel has no {target}"))
        }
        ProgramError::UnknownInterface { name } => HookError::new(
            NodeReason::TargetNotFound,
            format!("this node has no network interface {name}"),
        ),
        ProgramError::TcError(TcError::NetlinkError(error)) => HookError::new(
            NodeReason::AttachFailed,
            format!("cannot attach to {target}: {}", chain(error)),
        ),
        other => match find_io(other) {
            Some(error) => from_io(target, error),
            None => HookError::new(
                NodeReason::AttachFailed,
                format!("cannot attach to {target}: {}", chain(other)),
            ),
        },
    }
}

/// A uprobe could not be attached. The kernel took the right to do it from CAP_PERFMON again in 6.16 and in the
/// stable series of July 2025 (CVE-2025-38466; perf_uprobe_event_init of kernel/events/core.c).
pub fn uprobe(target: &str, error: &io::Error) -> HookError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => HookError::new(
            NodeReason::AttachFailed,
            format!(
                "cannot attach to {target}: {error}; uprobes need CAP_SYS_ADMIN on this kernel, as on every one since \
                 Linux 6.16 or a stable update of July 2025: install the chart with agent.privileges=SysAdmin"
            ),
        ),
        _ => from_io(target, error),
    }
}

/// A system call that attaches failed.
pub fn from_io(target: &str, error: &io::Error) -> HookError {
    let (reason, what) = match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => (
            NodeReason::TargetNotFound,
            format!("this node has no {target}: {error}"),
        ),
        Some(libc::EBUSY | libc::EEXIST) => (
            NodeReason::TargetBusy,
            format!(
                "{target} is held by another program: {error}; `bpftool net` and `bpftool cgroup tree` show which"
            ),
        ),
        Some(libc::EOPNOTSUPP) => (
            NodeReason::UnsupportedByKernel,
            format!("this kernel cannot attach to {target}: {error}"),
        ),
        _ => (
            NodeReason::AttachFailed,
            format!("cannot attach to {target}: {error}{}", hint(error)),
        ),
    };
    HookError::new(reason, what)
}

fn find_io<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io);
        }
        current = error.source();
    }
    None
}

/// The system's error number at the bottom of an error, if there is one.
pub fn os_error(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    find_io(error).and_then(io::Error::raw_os_error)
}

fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "; the agent needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN (before 5.8: CAP_SYS_ADMIN), and before 5.11 \
             a high memlock limit; agent.privileges=SysAdmin in the chart gives it what older kernels want"
        }
        Some(libc::ENOMEM) => "; the node is short of memory, or (before 5.11) of locked memory",
        Some(libc::E2BIG) => "; it is larger than this kernel takes",
        _ => "",
    }
}
