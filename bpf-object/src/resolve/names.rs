//! What each kind of program is to the kernel, and which section name makes aya open it.

use crate::kind::ProgramKind as K;
use crate::resolve::plan::OwnReason;
use crate::variant::{
    AddrFamily, Direction, NetkitSide, SkSkbKind, SockAddrHook, SockHook, SockoptHook, TcKind, XdpAttach,
};

/// `BPF_F_SLEEPABLE`.
const SLEEPABLE: u32 = 1 << 4;
/// `BPF_F_XDP_HAS_FRAGS`.
const XDP_FRAGS: u32 = 1 << 5;

/// How a kind of program is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Loading {
    /// Section name for aya.
    pub(crate) section: &'static str,
    /// `enum bpf_prog_type`.
    pub(crate) program_type: u32,
    /// `enum bpf_attach_type`.
    pub(crate) attach_type: u32,
    pub(crate) flags: u32,
    /// Why aya cannot load it under that section name.
    pub(crate) own: Option<OwnReason>,
}

/// How programs of this kind are loaded; `None` for [`K::Unknown`].
pub(crate) fn loading(kind: K, sleepable: bool) -> Option<Loading> {
    let (section, program_type, attach_type, own) = row(kind, sleepable)?;
    let frags = matches!(kind, K::Xdp { frags: true, .. });
    Some(Loading {
        section,
        program_type,
        attach_type,
        flags: if sleepable { SLEEPABLE } else { 0 } | if frags { XDP_FRAGS } else { 0 },
        own,
    })
}

type Row = (&'static str, u32, u32, Option<OwnReason>);

/// Numbers are those of include/uapi/linux/bpf.h, pairs those of libbpf's table of sections.
fn row(kind: K, sleepable: bool) -> Option<Row> {
    const TYPE: Option<OwnReason> = Some(OwnReason::Type);
    const ATTACH: Option<OwnReason> = Some(OwnReason::AttachType);
    let slept = |plain, sleepable_name| if sleepable { sleepable_name } else { plain };
    Some(match kind {
        K::SocketFilter => ("socket", 1, 0, None),
        K::Kprobe | K::Ksyscall => ("kprobe", 2, 0, None),
        K::Kretprobe | K::Kretsyscall => ("kretprobe", 2, 0, None),
        K::KprobeMulti => ("kprobe", 2, 42, ATTACH),
        K::KretprobeMulti => ("kretprobe", 2, 42, ATTACH),
        K::KprobeSession => ("kprobe", 2, 56, ATTACH),
        K::Uprobe => (slept("uprobe", "uprobe.s"), 2, 0, None),
        K::Uretprobe => (slept("uretprobe", "uretprobe.s"), 2, 0, None),
        // Of a probe that is attached one place at a time nothing else is asked.
        K::Usdt => (slept("uprobe", "uprobe.s"), 2, 0, None),
        K::UprobeMulti => (slept("uprobe", "uprobe.s"), 2, 48, ATTACH),
        K::UretprobeMulti => (slept("uretprobe", "uretprobe.s"), 2, 48, ATTACH),
        K::UprobeSession => (slept("uprobe", "uprobe.s"), 2, 57, ATTACH),
        K::SchedCls {
            kind: TcKind::Action, ..
        } => ("classifier", 4, 0, TYPE),
        // The kernel does not ask a classifier where it will be attached.
        K::SchedCls { kind, direction } => {
            let attach = match (kind, direction) {
                (_, Some(Direction::Ingress)) => 46,
                (_, Some(Direction::Egress)) => 47,
                (_, None) => 0,
            };
            ("classifier", 3, attach, None)
        }
        K::Netkit(NetkitSide::Primary) => ("classifier", 3, 54, None),
        K::Netkit(NetkitSide::Peer) => ("classifier", 3, 55, None),
        K::Tracepoint => ("tracepoint", 5, 0, None),
        K::Xdp { frags, attach } => {
            let (plain, fragged, number) = match attach {
                XdpAttach::Interface => ("xdp", "xdp.frags", 37),
                XdpAttach::Devmap => ("xdp/devmap", "xdp.frags/devmap", 33),
                XdpAttach::Cpumap => ("xdp/cpumap", "xdp.frags/cpumap", 35),
            };
            (if frags { fragged } else { plain }, 6, number, None)
        }
        K::PerfEvent => ("perf_event", 7, 0, None),
        K::CgroupSkb { direction } => match direction {
            Some(Direction::Ingress) => ("cgroup_skb/ingress", 8, 0, None),
            Some(Direction::Egress) => ("cgroup_skb/egress", 8, 1, None),
            None => ("cgroup/skb", 8, 0, None),
        },
        K::CgroupSock(hook) => match hook {
            SockHook::Create => ("cgroup/sock_create", 9, 2, None),
            SockHook::Release => ("cgroup/sock_release", 9, 34, None),
            SockHook::PostBind4 => ("cgroup/post_bind4", 9, 12, None),
            SockHook::PostBind6 => ("cgroup/post_bind6", 9, 13, None),
        },
        K::LwtIn => ("socket", 10, 0, TYPE),
        K::LwtOut => ("socket", 11, 0, TYPE),
        K::LwtXmit => ("socket", 12, 0, TYPE),
        K::SockOps => ("sockops", 13, 3, None),
        K::SkSkb(kind) => match kind {
            SkSkbKind::StreamParser => ("sk_skb/stream_parser", 14, 4, None),
            SkSkbKind::StreamVerdict => ("sk_skb/stream_verdict", 14, 5, None),
            SkSkbKind::Verdict => ("sk_skb/stream_verdict", 14, 38, ATTACH),
            SkSkbKind::Any => ("sk_skb/stream_verdict", 14, 0, ATTACH),
        },
        K::CgroupDevice => ("cgroup/dev", 15, 6, None),
        K::SkMsg => ("sk_msg", 16, 7, None),
        K::RawTracepoint { writable: false } => ("raw_tp", 17, 0, None),
        K::RawTracepoint { writable: true } => ("raw_tp", 24, 0, TYPE),
        K::CgroupSockAddr { hook, family } => address(hook, family),
        K::LwtSeg6Local => ("socket", 19, 0, TYPE),
        K::LircMode2 => ("lirc_mode2", 20, 16, None),
        K::SkReuseport { migrate: false } => ("sk_reuseport", 21, 39, None),
        K::SkReuseport { migrate: true } => ("sk_reuseport/migrate", 21, 40, None),
        K::FlowDissector => ("flow_dissector", 22, 17, None),
        K::CgroupSysctl => ("cgroup/sysctl", 23, 18, None),
        K::CgroupSockopt(SockoptHook::Get) => ("cgroup/getsockopt", 25, 21, None),
        K::CgroupSockopt(SockoptHook::Set) => ("cgroup/setsockopt", 25, 22, None),
        K::BtfTracepoint => ("tp_btf", 26, 23, None),
        K::Fentry => (slept("fentry", "fentry.s"), 26, 24, None),
        K::Fexit => (slept("fexit", "fexit.s"), 26, 25, None),
        K::FmodRet => (slept("fexit", "fexit.s"), 26, 26, ATTACH),
        K::Iter => (slept("iter", "iter.s"), 26, 28, None),
        K::StructOps => ("socket", 27, 0, TYPE),
        K::Extension => ("freplace", 28, 0, None),
        K::Lsm => (slept("lsm", "lsm.s"), 29, 27, None),
        K::LsmCgroup => ("lsm_cgroup", 29, 43, None),
        K::SkLookup => ("sk_lookup", 30, 36, None),
        K::Syscall => ("socket", 31, 0, TYPE),
        K::Netfilter => ("socket", 32, 45, TYPE),
        K::Unknown => return None,
    })
}

fn address(hook: SockAddrHook, family: AddrFamily) -> Row {
    use AddrFamily::{Unix, V4, V6};
    use SockAddrHook as A;
    let (section, attach_type) = match (hook, family) {
        (A::Bind, V4 | Unix) => ("cgroup/bind4", 8),
        (A::Bind, V6) => ("cgroup/bind6", 9),
        (A::Connect, V4) => ("cgroup/connect4", 10),
        (A::Connect, V6) => ("cgroup/connect6", 11),
        (A::Connect, Unix) => ("cgroup/connect4", 49),
        (A::Sendmsg, V4) => ("cgroup/sendmsg4", 14),
        (A::Sendmsg, V6) => ("cgroup/sendmsg6", 15),
        (A::Sendmsg, Unix) => ("cgroup/sendmsg4", 50),
        (A::Recvmsg, V4) => ("cgroup/recvmsg4", 19),
        (A::Recvmsg, V6) => ("cgroup/recvmsg6", 20),
        (A::Recvmsg, Unix) => ("cgroup/recvmsg4", 51),
        (A::Getpeername, V4) => ("cgroup/getpeername4", 29),
        (A::Getpeername, V6) => ("cgroup/getpeername6", 30),
        (A::Getpeername, Unix) => ("cgroup/getpeername4", 52),
        (A::Getsockname, V4) => ("cgroup/getsockname4", 31),
        (A::Getsockname, V6) => ("cgroup/getsockname6", 32),
        (A::Getsockname, Unix) => ("cgroup/getsockname4", 53),
    };
    let own = (family == Unix).then_some(OwnReason::AttachType);
    (section, 18, attach_type, own)
}
