//! What an alternative needs of a node.

use bpf_object::{ObjectInfo, ProgramKind as K};
use bpfleet_crds::{NodeReason, requirement::FunctionAttach};

use crate::{
    feature::{AttachKind, Feature, ProgramType},
    function::{KernelFunction, is_pattern},
    hooks::PlannedHook,
    question::Question,
    target::Attach,
};

/// One thing that a node must have, and what it means if it has it not.
pub(crate) struct Need {
    pub question: Question,
    pub reason: NodeReason,
    /// What it is needed for, where that is not plain.
    pub purpose: Option<String>,
}

/// What must hold on a node for this to be attached there, as far as it can be asked beforehand.
pub(crate) fn needs(object: &ObjectInfo, hook: &PlannedHook) -> Vec<Need> {
    let mut needs = Vec::new();
    let mut need = |reason, question, purpose| {
        needs.push(Need {
            question,
            reason,
            purpose,
        });
    };
    let (program_type, attach_kind) = features(hook);
    if let Some(program_type) = program_type {
        let feature = Feature::Program(program_type);
        need(NodeReason::UnsupportedByKernel, Question::Feature(feature), None);
    }
    if hook.program.kind.needs_kernel_btf() {
        let purpose = format!("a program of kind {} needs it", hook.program.kind);
        need(NodeReason::BtfMissing, Question::KernelBtf, Some(purpose));
    } else if object.program_needs_target_btf(&hook.program.name) {
        let purpose = "its CO-RE relocations need it".to_owned();
        need(NodeReason::BtfMissing, Question::KernelBtf, Some(purpose));
    }
    if let Some(kind) = attach_kind {
        need(
            NodeReason::UnsupportedByKernel,
            Question::Feature(Feature::Attach(kind)),
            None,
        );
    }
    for question in places(hook) {
        need(NodeReason::TargetNotFound, question, None);
    }
    needs
}

/// The type of the program, and the way to attach it where kernels differ in it.
fn features(hook: &PlannedHook) -> (Option<ProgramType>, Option<AttachKind>) {
    use ProgramType as P;
    match hook.program.kind {
        // A function is asked for by its name, which says more.
        K::Kprobe | K::Kretprobe | K::Ksyscall | K::Kretsyscall => (Some(P::Kprobe), None),
        K::KprobeMulti | K::KretprobeMulti => (Some(P::Kprobe), Some(AttachKind::KprobeMulti)),
        K::KprobeSession => (Some(P::Kprobe), Some(AttachKind::KprobeSession)),
        K::Uprobe | K::Uretprobe => (Some(P::Kprobe), Some(AttachKind::Uprobe)),
        K::UprobeMulti | K::UretprobeMulti => (Some(P::Kprobe), Some(AttachKind::UprobeMulti)),
        K::UprobeSession => (Some(P::Kprobe), Some(AttachKind::UprobeSession)),
        K::Usdt => (Some(P::Kprobe), Some(AttachKind::Uprobe)),
        K::Fentry => (Some(P::Tracing), Some(AttachKind::Fentry)),
        K::Fexit => (Some(P::Tracing), Some(AttachKind::Fexit)),
        K::FmodRet => (Some(P::Tracing), Some(AttachKind::FmodRet)),
        K::BtfTracepoint => (Some(P::Tracing), Some(AttachKind::BtfTracepoint)),
        K::Iter => (Some(P::Tracing), Some(AttachKind::Iter)),
        K::Lsm => (Some(P::Lsm), Some(AttachKind::Lsm)),
        K::LsmCgroup => (Some(P::Lsm), Some(AttachKind::LsmCgroup)),
        K::Tracepoint => (Some(P::Tracepoint), None),
        K::RawTracepoint { writable: false } => (Some(P::RawTracepoint), None),
        K::RawTracepoint { writable: true } => (Some(P::RawTracepointWritable), None),
        K::PerfEvent => (Some(P::PerfEvent), None),
        K::Xdp { .. } => (Some(P::Xdp), None),
        K::SchedCls { .. } => (Some(P::SchedCls), None),
        K::CgroupSkb { .. } => (Some(P::CgroupSkb), None),
        K::CgroupSock(_) => (Some(P::CgroupSock), None),
        K::CgroupSockAddr { .. } => (Some(P::CgroupSockAddr), None),
        K::CgroupSockopt(_) => (Some(P::CgroupSockopt), None),
        K::CgroupSysctl => (Some(P::CgroupSysctl), None),
        K::CgroupDevice => (Some(P::CgroupDevice), None),
        K::SockOps => (Some(P::SockOps), None),
        K::SkLookup => (Some(P::SkLookup), Some(AttachKind::Netns)),
        K::SkMsg => (Some(P::SkMsg), None),
        K::SkSkb(_) => (Some(P::SkSkb), None),
        _ => (None, None),
    }
}

/// The places that it names.
fn places(hook: &PlannedHook) -> Vec<Question> {
    let function = |function: &KernelFunction, attach| Question::Function {
        function: KernelFunction {
            offset: 0,
            ..function.clone()
        },
        attach,
    };
    let one = |question| vec![question];
    match &hook.attach {
        Attach::Kprobe { function: place } => one(function(place, FunctionAttach::Kprobe)),
        Attach::Trampoline { function: place } => one(function(place, FunctionAttach::Fentry)),
        Attach::Functions { functions } => functions
            .iter()
            .map(|name| {
                if is_pattern(name) {
                    return Question::FunctionPattern(name.clone());
                }
                Question::Function {
                    function: KernelFunction {
                        module: None,
                        name: name.clone(),
                        offset: 0,
                    },
                    attach: FunctionAttach::KprobeMulti,
                }
            })
            .collect(),
        Attach::Syscall { name } => one(Question::Syscall(name.clone())),
        Attach::Lsm { hook } | Attach::LsmCgroup { hook, .. } => one(Question::LsmHook(hook.clone())),
        Attach::Tracepoint { category, name } => one(Question::Tracepoint {
            category: category.clone(),
            name: name.clone(),
            fields: Vec::new(),
        }),
        Attach::RawTracepoint { name } | Attach::BtfTracepoint { name } => {
            one(Question::RawTracepoint(name.clone()))
        }
        Attach::Uprobe { path, symbol, .. } => one(Question::Binary {
            path: path.clone(),
            symbol: symbol.clone(),
        }),
        Attach::Usdt { path, provider, name } => one(Question::Usdt {
            path: path.clone(),
            provider: provider.clone(),
            name: name.clone(),
        }),
        Attach::PerfEvent(_)
        | Attach::Xdp { .. }
        | Attach::Tcx { .. }
        | Attach::TcFilter { .. }
        | Attach::Cgroup { .. }
        | Attach::SockMap { .. }
        | Attach::NetworkNamespace
        | Attach::Iter { .. } => Vec::new(),
    }
}
