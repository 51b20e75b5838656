//! What this version of bpfleet can load.

use bpf_object::{AddrFamily, ExternKind, ObjectInfo, ProgramKind as K, SkSkbKind, TcKind, XdpAttach};

use crate::problem::Problem;

/// Whether a kind can be attached; if not, why, and what serves instead.
pub(crate) fn attachable(kind: K) -> Result<(), &'static str> {
    const KERNEL_FUNCTIONS: &str = "programs on kernel functions come with a later version of bpfleet; a \
        tracepoint, raw_tp or tp_btf program may serve instead";
    const MULTI: &str =
        "links to many functions come with a later version of bpfleet; write one program for each";
    match kind {
        K::Tracepoint
        | K::RawTracepoint { writable: false }
        | K::BtfTracepoint
        | K::Uprobe
        | K::Uretprobe
        | K::PerfEvent
        | K::Xdp {
            attach: XdpAttach::Interface,
            ..
        }
        | K::SchedCls {
            kind: TcKind::Classifier | TcKind::Tcx,
            ..
        }
        | K::CgroupSkb { .. }
        | K::CgroupSock(_)
        | K::CgroupSockAddr {
            family: AddrFamily::V4 | AddrFamily::V6,
            ..
        }
        | K::CgroupSockopt(_)
        | K::CgroupSysctl
        | K::CgroupDevice
        | K::SockOps
        | K::SkLookup
        | K::SkMsg
        | K::SkSkb(SkSkbKind::StreamParser | SkSkbKind::StreamVerdict)
        | K::Iter => Ok(()),
        K::Kprobe | K::Kretprobe | K::Ksyscall | K::Kretsyscall | K::Fentry | K::Fexit | K::FmodRet => {
            Err(KERNEL_FUNCTIONS)
        }
        K::Lsm | K::LsmCgroup => Err("LSM programs come with a later version of bpfleet"),
        K::KprobeMulti | K::KretprobeMulti | K::KprobeSession => Err(MULTI),
        K::UprobeMulti | K::UretprobeMulti | K::UprobeSession => Err(MULTI),
        K::Usdt => Err("USDT probes come with a later version of bpfleet"),
        K::SkSkb(SkSkbKind::Verdict | SkSkbKind::Any) => {
            Err("write SEC(\"sk_skb/stream_verdict\") or SEC(\"sk_skb/stream_parser\")")
        }
        K::CgroupSockAddr {
            family: AddrFamily::Unix,
            ..
        } => Err("cgroup programs on Unix sockets come with a later version of bpfleet"),
        K::RawTracepoint { writable: true } => Err("writable raw tracepoints are not served; use raw_tp"),
        K::Unknown => Err("its SEC() name is none that libbpf knows; see libbpf's list of section names"),
        _ => Err("bpfleet cannot attach this kind of program"),
    }
}

/// Whether aya 0.14 can open an object that holds such a program, chosen or not: one unknown section
/// fails the whole object. (`bpf-object`'s resolve step will leave such programs out.)
fn opens(kind: K) -> bool {
    match kind {
        K::Kprobe | K::Kretprobe | K::Fentry | K::Fexit | K::Lsm | K::LsmCgroup | K::Extension => true,
        K::SocketFilter | K::SkReuseport { .. } | K::FlowDissector | K::LircMode2 => true,
        K::Xdp { .. } => true,
        other => attachable(other).is_ok(),
    }
}

/// What keeps the object as a whole from being opened.
pub(crate) fn object_problems(object: &ObjectInfo) -> Vec<Problem> {
    let mut problems: Vec<Problem> = object
        .programs
        .iter()
        .filter(|program| !opens(program.kind))
        .map(|program| {
            let why = attachable(program.kind).err().unwrap_or("bpfleet cannot load this kind of program");
            Problem::unsupported(
                None,
                format!(
                    "program {} (SEC \"{}\") keeps the whole object from loading, also when no hook names it: \
                     {why}. Compile the object without it",
                    program.name, program.section
                ),
            )
        })
        .collect();
    for (kind, what, instead) in [
        (
            ExternKind::Kconfig,
            "kernel configuration (extern … __kconfig)",
            "decide in user space or by a CO-RE check",
        ),
        (
            ExternKind::Ksym,
            "kernel symbols (extern … __ksym)",
            "read the value through a helper or CO-RE",
        ),
        (ExternKind::Kfunc, "kernel functions (kfuncs)", "use a helper"),
        (
            ExternKind::Undefined,
            "symbols that nothing defines",
            "link the object, or compile in what is missing",
        ),
    ] {
        let names: Vec<&str> = object
            .externs
            .iter()
            .filter(|e| e.kind == kind)
            .map(|e| e.name.as_str())
            .take(8)
            .collect();
        if !names.is_empty() {
            problems.push(Problem::unsupported(
                None,
                format!(
                    "the object uses {what} that this version of bpfleet cannot supply: {}; {instead}",
                    names.join(", ")
                ),
            ));
        }
    }
    problems
}
