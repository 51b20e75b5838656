//! Program kinds, by how they are attached.

use std::fmt;

use crate::variant::{
    AddrFamily, Direction, NetkitSide, SkSkbKind, SockAddrHook, SockHook, SockoptHook, TcKind, XdpAttach,
};

/// What a program is, as far as its section name says.
///
/// `Display` gives the section name's family as libbpf spells it (`cgroup/connect4`), [`as_str`]
/// a short name without variants (`cgroup_sock_addr`).
///
/// [`as_str`]: ProgramKind::as_str
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProgramKind {
    /// A tracepoint, with its record as context.
    Tracepoint,
    /// A tracepoint's raw arguments.
    RawTracepoint {
        /// May write to a writable tracepoint's buffer.
        writable: bool,
    },
    /// A tracepoint's arguments, typed by kernel BTF.
    BtfTracepoint,
    /// Entry of a kernel function, or an instruction in it.
    Kprobe,
    /// Return of a kernel function.
    Kretprobe,
    /// Entries of many kernel functions, in one link.
    KprobeMulti,
    /// Returns of many kernel functions, in one link.
    KretprobeMulti,
    /// Entries and returns of many kernel functions, in one link.
    KprobeSession,
    /// Entry of a system call, whatever its function is called.
    Ksyscall,
    /// Return of a system call.
    Kretsyscall,
    /// An instruction of a user-space binary.
    Uprobe,
    /// Return of a user-space function.
    Uretprobe,
    /// Many places of a user-space binary, in one link.
    UprobeMulti,
    /// Many returns in a user-space binary, in one link.
    UretprobeMulti,
    /// Entries and returns in a user-space binary, in one link.
    UprobeSession,
    /// A statically defined probe of a user-space binary.
    Usdt,
    /// Entry of a kernel function, by trampoline.
    Fentry,
    /// Exit of a kernel function, by trampoline.
    Fexit,
    /// Replaces the return value of a kernel function.
    FmodRet,
    /// A security hook, for the whole system.
    Lsm,
    /// A security hook, for a cgroup.
    LsmCgroup,
    /// A performance counter or clock.
    PerfEvent,
    /// Packets at a driver.
    Xdp {
        /// Takes packets in several buffers.
        frags: bool,
        /// Where it runs.
        attach: XdpAttach,
    },
    /// Packets at traffic control.
    SchedCls {
        /// Which spelling.
        kind: TcKind,
        /// Direction, if the section says it.
        direction: Option<Direction>,
    },
    /// Packets at a netkit device.
    Netkit(NetkitSide),
    /// Packets of a cgroup's sockets.
    CgroupSkb {
        /// Direction, if the section says it.
        direction: Option<Direction>,
    },
    /// Life of a cgroup's sockets.
    CgroupSock(SockHook),
    /// Addresses in socket calls of a cgroup.
    CgroupSockAddr {
        /// The call.
        hook: SockAddrHook,
        /// The address family.
        family: AddrFamily,
    },
    /// Socket options of a cgroup.
    CgroupSockopt(SockoptHook),
    /// Access to sysctls from a cgroup.
    CgroupSysctl,
    /// Access to devices from a cgroup.
    CgroupDevice,
    /// TCP events of a cgroup's sockets.
    SockOps,
    /// Socket lookup of a network namespace.
    SkLookup,
    /// Messages sent on sockets of a sockmap.
    SkMsg,
    /// Data received on sockets of a sockmap.
    SkSkb(SkSkbKind),
    /// Packets of one socket.
    SocketFilter,
    /// Choice among sockets that share a port.
    SkReuseport {
        /// Also when a listener closes.
        migrate: bool,
    },
    /// Flow dissection of a network namespace.
    FlowDissector,
    /// Reads of a kernel object list.
    Iter,
    /// Functions of a kernel operations table.
    StructOps,
    /// Run on demand.
    Syscall,
    /// Replaces a function of another program.
    Extension,
    /// Lightweight tunnel: input.
    LwtIn,
    /// Lightweight tunnel: output.
    LwtOut,
    /// Lightweight tunnel: transmit.
    LwtXmit,
    /// Lightweight tunnel: local segment routing.
    LwtSeg6Local,
    /// Infrared remote controls.
    LircMode2,
    /// Netfilter hooks.
    Netfilter,
    /// The section name is none that libbpf knows.
    Unknown,
}

impl ProgramKind {
    /// A short name without variants, for labels, messages and equality across spellings.
    pub fn as_str(&self) -> &'static str {
        use ProgramKind as K;
        match self {
            K::Tracepoint => "tracepoint",
            K::RawTracepoint { .. } => "raw_tracepoint",
            K::BtfTracepoint => "tp_btf",
            K::Kprobe => "kprobe",
            K::Kretprobe => "kretprobe",
            K::KprobeMulti => "kprobe_multi",
            K::KretprobeMulti => "kretprobe_multi",
            K::KprobeSession => "kprobe_session",
            K::Ksyscall => "ksyscall",
            K::Kretsyscall => "kretsyscall",
            K::Uprobe => "uprobe",
            K::Uretprobe => "uretprobe",
            K::UprobeMulti => "uprobe_multi",
            K::UretprobeMulti => "uretprobe_multi",
            K::UprobeSession => "uprobe_session",
            K::Usdt => "usdt",
            K::Fentry => "fentry",
            K::Fexit => "fexit",
            K::FmodRet => "fmod_ret",
            K::Lsm => "lsm",
            K::LsmCgroup => "lsm_cgroup",
            K::PerfEvent => "perf_event",
            K::Xdp { .. } => "xdp",
            K::SchedCls {
                kind: TcKind::Classifier,
                ..
            } => "tc",
            K::SchedCls {
                kind: TcKind::Tcx, ..
            } => "tcx",
            K::SchedCls {
                kind: TcKind::Action, ..
            } => "tc_action",
            K::Netkit(_) => "netkit",
            K::CgroupSkb { .. } => "cgroup_skb",
            K::CgroupSock(_) => "cgroup_sock",
            K::CgroupSockAddr { .. } => "cgroup_sock_addr",
            K::CgroupSockopt(_) => "cgroup_sockopt",
            K::CgroupSysctl => "cgroup_sysctl",
            K::CgroupDevice => "cgroup_device",
            K::SockOps => "sock_ops",
            K::SkLookup => "sk_lookup",
            K::SkMsg => "sk_msg",
            K::SkSkb(_) => "sk_skb",
            K::SocketFilter => "socket_filter",
            K::SkReuseport { .. } => "sk_reuseport",
            K::FlowDissector => "flow_dissector",
            K::Iter => "iter",
            K::StructOps => "struct_ops",
            K::Syscall => "syscall",
            K::Extension => "extension",
            K::LwtIn => "lwt_in",
            K::LwtOut => "lwt_out",
            K::LwtXmit => "lwt_xmit",
            K::LwtSeg6Local => "lwt_seg6local",
            K::LircMode2 => "lirc_mode2",
            K::Netfilter => "netfilter",
            K::Unknown => "unknown",
        }
    }

    /// Whether the kernel needs type ids of its own BTF to load such a program. BTF from elsewhere
    /// does not help: its ids are others.
    pub fn needs_kernel_btf(&self) -> bool {
        use ProgramKind as K;
        matches!(
            self,
            K::BtfTracepoint
                | K::Fentry
                | K::Fexit
                | K::FmodRet
                | K::Lsm
                | K::LsmCgroup
                | K::Iter
                | K::StructOps
        )
    }
}

impl fmt::Display for ProgramKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use ProgramKind as K;
        match self {
            K::RawTracepoint { writable: false } => f.write_str("raw_tp"),
            K::RawTracepoint { writable: true } => f.write_str("raw_tp.w"),
            K::KprobeMulti => f.write_str("kprobe.multi"),
            K::KretprobeMulti => f.write_str("kretprobe.multi"),
            K::KprobeSession => f.write_str("kprobe.session"),
            K::UprobeMulti => f.write_str("uprobe.multi"),
            K::UretprobeMulti => f.write_str("uretprobe.multi"),
            K::UprobeSession => f.write_str("uprobe.session"),
            K::Xdp { frags, attach } => {
                f.write_str(if *frags { "xdp.frags" } else { "xdp" })?;
                match attach {
                    XdpAttach::Interface => Ok(()),
                    XdpAttach::Devmap => f.write_str("/devmap"),
                    XdpAttach::Cpumap => f.write_str("/cpumap"),
                }
            }
            K::SchedCls { kind, direction } => {
                f.write_str(match kind {
                    TcKind::Classifier => "tc",
                    TcKind::Tcx => "tcx",
                    TcKind::Action => "action",
                })?;
                direction.map_or(Ok(()), |d| write!(f, "/{d}"))
            }
            K::Netkit(NetkitSide::Primary) => f.write_str("netkit/primary"),
            K::Netkit(NetkitSide::Peer) => f.write_str("netkit/peer"),
            K::CgroupSkb { direction: Some(d) } => write!(f, "cgroup_skb/{d}"),
            K::CgroupSkb { direction: None } => f.write_str("cgroup/skb"),
            K::CgroupSock(hook) => f.write_str(match hook {
                SockHook::Create => "cgroup/sock_create",
                SockHook::Release => "cgroup/sock_release",
                SockHook::PostBind4 => "cgroup/post_bind4",
                SockHook::PostBind6 => "cgroup/post_bind6",
            }),
            K::CgroupSockAddr { hook, family } => {
                let hook = match hook {
                    SockAddrHook::Bind => "bind",
                    SockAddrHook::Connect => "connect",
                    SockAddrHook::Sendmsg => "sendmsg",
                    SockAddrHook::Recvmsg => "recvmsg",
                    SockAddrHook::Getpeername => "getpeername",
                    SockAddrHook::Getsockname => "getsockname",
                };
                let family = match family {
                    AddrFamily::V4 => "4",
                    AddrFamily::V6 => "6",
                    AddrFamily::Unix => "_unix",
                };
                write!(f, "cgroup/{hook}{family}")
            }
            K::CgroupSockopt(SockoptHook::Get) => f.write_str("cgroup/getsockopt"),
            K::CgroupSockopt(SockoptHook::Set) => f.write_str("cgroup/setsockopt"),
            K::CgroupSysctl => f.write_str("cgroup/sysctl"),
            K::CgroupDevice => f.write_str("cgroup/dev"),
            K::SockOps => f.write_str("sockops"),
            K::SkSkb(kind) => f.write_str(match kind {
                SkSkbKind::StreamParser => "sk_skb/stream_parser",
                SkSkbKind::StreamVerdict => "sk_skb/stream_verdict",
                SkSkbKind::Verdict => "sk_skb/verdict",
                SkSkbKind::Any => "sk_skb",
            }),
            K::SocketFilter => f.write_str("socket"),
            K::SkReuseport { migrate: true } => f.write_str("sk_reuseport/migrate"),
            K::Extension => f.write_str("freplace"),
            other => f.write_str(other.as_str()),
        }
    }
}
