//! What this version of bpfleet can load.

use bpf_object::{AddrFamily, ExternKind, ObjectInfo, ProgramKind as K, SkSkbKind, TcKind, XdpAttach};

use crate::problem::Problem;

/// Whether a kind can be attached; if not, why, and what serves instead.
pub(crate) fn attachable(kind: K) -> Result<(), &'static str> {
    match kind {
        K::Kprobe
        | K::Kretprobe
        | K::KprobeMulti
        | K::KretprobeMulti
        | K::KprobeSession
        | K::Ksyscall
        | K::Kretsyscall
        | K::Fentry
        | K::Fexit
        | K::FmodRet
        | K::Lsm
        | K::LsmCgroup
        | K::Tracepoint
        | K::RawTracepoint { .. }
        | K::BtfTracepoint
        | K::Uprobe
        | K::Uretprobe
        | K::UprobeMulti
        | K::UretprobeMulti
        | K::UprobeSession
        | K::Usdt
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
            family: AddrFamily::V4 | AddrFamily::V6 | AddrFamily::Unix,
            ..
        }
        | K::CgroupSockopt(_)
        | K::CgroupSysctl
        | K::CgroupDevice
        | K::SockOps
        | K::SkLookup
        | K::SkMsg
        | K::SkSkb(SkSkbKind::StreamParser | SkSkbKind::StreamVerdict | SkSkbKind::Verdict)
        | K::Iter => Ok(()),
        K::SkSkb(SkSkbKind::Any) => Err(
            "write SEC(\"sk_skb/stream_verdict\"), SEC(\"sk_skb/stream_parser\") or SEC(\"sk_skb/verdict\")",
        ),
        K::Xdp { .. } => {
            Err("programs of device and CPU maps are run by other programs, not attached; leave it out")
        }
        K::SchedCls { .. } => Err(
            "actions of traffic control filters are not served; write SEC(\"tcx/ingress\") or SEC(\"tc\")",
        ),
        K::Netkit(_) => {
            Err("netkit devices belong to the network plugin that made them; write SEC(\"tcx/ingress\")")
        }
        K::Netfilter => {
            Err("netfilter hooks are not served; write SEC(\"cgroup_skb/ingress\") or SEC(\"tcx/ingress\")")
        }
        K::StructOps => Err("tables of kernel operations are not served"),
        K::Extension => Err("programs that replace a function of another program are not served"),
        K::Syscall => Err("programs that are run on demand are attached nowhere; leave it out"),
        K::SocketFilter | K::SkReuseport { .. } => {
            Err("programs of one socket are attached by the process that has it; leave it out")
        }
        K::FlowDissector | K::LircMode2 | K::LwtIn | K::LwtOut | K::LwtXmit | K::LwtSeg6Local => {
            Err("bpfleet does not serve this kind of program")
        }
        K::Unknown => Err("its SEC() name is none that libbpf knows; see libbpf's list of section names"),
        _ => Err("bpfleet cannot attach this kind of program"),
    }
}

/// What keeps the object as a whole from being loaded.
pub(crate) fn object_problems(object: &ObjectInfo) -> Vec<Problem> {
    let names: Vec<&str> = object
        .externs
        .iter()
        .filter(|e| e.kind == ExternKind::Undefined)
        .map(|e| e.name.as_str())
        .take(8)
        .collect();
    if names.is_empty() {
        return Vec::new();
    }
    vec![Problem::unsupported(
        None,
        format!(
            "the object uses symbols that nothing defines: {}; link the object, or compile in what is missing",
            names.join(", ")
        ),
    )]
}
