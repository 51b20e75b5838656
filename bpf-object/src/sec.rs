//! Section names: what `SEC("…")` says, after libbpf's documented table.

use crate::kind::ProgramKind as K;
use crate::variant::{
    AddrFamily, Direction, NetkitSide, SkSkbKind, SockAddrHook, SockHook, SockoptHook, TcKind, XdpAttach,
};

/// A section name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sec {
    /// What programs in it are.
    pub kind: K,
    /// What the name says they attach to.
    pub target: SecTarget,
    /// Whether they may sleep (`.s`, and `syscall`).
    pub sleepable: bool,
    /// False with a leading `?`: not loaded unless asked for.
    pub autoload: bool,
}

/// What a section name says its programs attach to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SecTarget {
    /// Nothing; the kind needs no target or it is given elsewhere.
    None,
    /// A tracepoint.
    Tracepoint {
        /// Its category (`sched`).
        category: String,
        /// Its name (`sched_switch`).
        name: String,
    },
    /// A raw or typed tracepoint, security hook, iterator, operations table or tunnel hook.
    Name(String),
    /// A kernel function, or for `freplace` a function of another program.
    Function {
        /// Its module, if named (`fentry/mod:function`).
        module: Option<String>,
        /// Its name.
        name: String,
        /// Bytes from its start.
        offset: u64,
    },
    /// A pattern of kernel functions with `*` and `?`.
    FunctionPattern(String),
    /// A system call, by name without prefix (`nanosleep`).
    Syscall(String),
    /// A place in a user-space binary.
    Binary {
        /// Path, or the name of a program or library (`libc.so.6`).
        path: String,
        /// Function, or a pattern for the `.multi` kinds; empty for an absolute offset.
        symbol: String,
        /// Bytes from the start of the function, or of the file if there is none.
        offset: u64,
    },
    /// A statically defined probe of a user-space binary.
    Usdt {
        /// Path, or the name of a program or library.
        path: String,
        /// Provider.
        provider: String,
        /// Probe name.
        name: String,
    },
    /// Text that names no target: a label after a kind that takes no target, or after `uprobe`
    /// without a colon. The target is given elsewhere.
    Label(String),
    /// Text that does not have the form its kind needs.
    Malformed {
        /// The text after the kind.
        text: String,
        /// The form that is expected (`CATEGORY/NAME`).
        expected: &'static str,
    },
}

/// How the text after a kind is read.
#[derive(Clone, Copy)]
enum Grammar {
    Tracepoint,
    Name,
    Function,
    FunctionPattern,
    Syscall,
    Binary,
    Usdt,
}

/// Takes a section name apart. An unknown one gives [`ProgramKind::Unknown`](K::Unknown).
pub fn parse_sec(section: &str) -> Sec {
    let (autoload, name) = match section.strip_prefix('?') {
        Some(rest) => (false, rest),
        None => (true, section),
    };
    let family = name.split('/').next().unwrap_or(name);
    let rest_of = |prefix: &str| match name.strip_prefix(prefix) {
        Some("") => Some(None),
        Some(rest) => rest.strip_prefix('/').map(Some),
        None => None,
    };
    if let Some((kind, sleepable, grammar)) = with_target(family) {
        let target = rest_of(family)
            .flatten()
            .map_or(SecTarget::None, |text| parse_target(grammar, text));
        return Sec {
            kind,
            target,
            sleepable,
            autoload,
        };
    }
    // Longest first, so that `xdp/devmap` is not taken for `xdp` with a label.
    let exact = EXACT
        .iter()
        .find_map(|(prefix, kind)| rest_of(prefix).map(|rest| (*kind, rest)));
    let (kind, target) = match exact {
        Some((kind, None)) => (kind, SecTarget::None),
        Some((kind, Some(label))) => (kind, SecTarget::Label(label.into())),
        None => (K::Unknown, SecTarget::None),
    };
    Sec {
        kind,
        target,
        sleepable: kind == K::Syscall,
        autoload,
    }
}

fn with_target(family: &str) -> Option<(K, bool, Grammar)> {
    use Grammar as G;
    let (base, sleepable) = match family {
        "uprobe.s" | "uretprobe.s" | "uprobe.multi.s" | "uretprobe.multi.s" | "uprobe.session.s"
        | "usdt.s" | "fentry.s" | "fexit.s" | "fmod_ret.s" | "lsm.s" | "iter.s" | "struct_ops.s" => {
            (family.strip_suffix(".s").unwrap_or(family), true)
        }
        _ => (family, false),
    };
    let (kind, grammar) = match base {
        "tracepoint" | "tp" => (K::Tracepoint, G::Tracepoint),
        "raw_tracepoint" | "raw_tp" => (K::RawTracepoint { writable: false }, G::Name),
        "raw_tracepoint.w" | "raw_tp.w" => (K::RawTracepoint { writable: true }, G::Name),
        "tp_btf" => (K::BtfTracepoint, G::Name),
        "kprobe" => (K::Kprobe, G::Function),
        "kretprobe" => (K::Kretprobe, G::Function),
        "kprobe.multi" => (K::KprobeMulti, G::FunctionPattern),
        "kretprobe.multi" => (K::KretprobeMulti, G::FunctionPattern),
        "kprobe.session" => (K::KprobeSession, G::FunctionPattern),
        "ksyscall" => (K::Ksyscall, G::Syscall),
        "kretsyscall" => (K::Kretsyscall, G::Syscall),
        "uprobe" => (K::Uprobe, G::Binary),
        "uretprobe" => (K::Uretprobe, G::Binary),
        "uprobe.multi" => (K::UprobeMulti, G::Binary),
        "uretprobe.multi" => (K::UretprobeMulti, G::Binary),
        "uprobe.session" => (K::UprobeSession, G::Binary),
        "usdt" => (K::Usdt, G::Usdt),
        "fentry" => (K::Fentry, G::Function),
        "fexit" => (K::Fexit, G::Function),
        "fmod_ret" => (K::FmodRet, G::Function),
        "freplace" => (K::Extension, G::Function),
        "lsm" => (K::Lsm, G::Name),
        "lsm_cgroup" => (K::LsmCgroup, G::Name),
        "iter" => (K::Iter, G::Name),
        "struct_ops" => (K::StructOps, G::Name),
        _ => return None,
    };
    Some((kind, sleepable, grammar))
}

const fn tc(kind: TcKind, direction: Option<Direction>) -> K {
    K::SchedCls { kind, direction }
}

const fn addr(hook: SockAddrHook, family: AddrFamily) -> K {
    K::CgroupSockAddr { hook, family }
}

/// Names without a target. Where one begins with another, the longer comes first.
const EXACT: &[(&str, K)] = {
    use AddrFamily::{Unix, V4, V6};
    use Direction::{Egress, Ingress};
    use SockAddrHook as A;
    &[
        (
            "xdp/devmap",
            K::Xdp {
                frags: false,
                attach: XdpAttach::Devmap,
            },
        ),
        (
            "xdp/cpumap",
            K::Xdp {
                frags: false,
                attach: XdpAttach::Cpumap,
            },
        ),
        (
            "xdp.frags/devmap",
            K::Xdp {
                frags: true,
                attach: XdpAttach::Devmap,
            },
        ),
        (
            "xdp.frags/cpumap",
            K::Xdp {
                frags: true,
                attach: XdpAttach::Cpumap,
            },
        ),
        (
            "xdp.frags",
            K::Xdp {
                frags: true,
                attach: XdpAttach::Interface,
            },
        ),
        (
            "xdp",
            K::Xdp {
                frags: false,
                attach: XdpAttach::Interface,
            },
        ),
        ("tc/ingress", tc(TcKind::Classifier, Some(Ingress))),
        ("tc/egress", tc(TcKind::Classifier, Some(Egress))),
        ("tcx/ingress", tc(TcKind::Tcx, Some(Ingress))),
        ("tcx/egress", tc(TcKind::Tcx, Some(Egress))),
        ("tc", tc(TcKind::Classifier, None)),
        ("classifier", tc(TcKind::Classifier, None)),
        ("action", tc(TcKind::Action, None)),
        ("netkit/primary", K::Netkit(NetkitSide::Primary)),
        ("netkit/peer", K::Netkit(NetkitSide::Peer)),
        (
            "cgroup_skb/ingress",
            K::CgroupSkb {
                direction: Some(Ingress),
            },
        ),
        (
            "cgroup_skb/egress",
            K::CgroupSkb {
                direction: Some(Egress),
            },
        ),
        ("cgroup/skb", K::CgroupSkb { direction: None }),
        ("cgroup/sock_create", K::CgroupSock(SockHook::Create)),
        ("cgroup/sock_release", K::CgroupSock(SockHook::Release)),
        ("cgroup/sock", K::CgroupSock(SockHook::Create)),
        ("cgroup/post_bind4", K::CgroupSock(SockHook::PostBind4)),
        ("cgroup/post_bind6", K::CgroupSock(SockHook::PostBind6)),
        ("cgroup/bind4", addr(A::Bind, V4)),
        ("cgroup/bind6", addr(A::Bind, V6)),
        ("cgroup/connect4", addr(A::Connect, V4)),
        ("cgroup/connect6", addr(A::Connect, V6)),
        ("cgroup/connect_unix", addr(A::Connect, Unix)),
        ("cgroup/sendmsg4", addr(A::Sendmsg, V4)),
        ("cgroup/sendmsg6", addr(A::Sendmsg, V6)),
        ("cgroup/sendmsg_unix", addr(A::Sendmsg, Unix)),
        ("cgroup/recvmsg4", addr(A::Recvmsg, V4)),
        ("cgroup/recvmsg6", addr(A::Recvmsg, V6)),
        ("cgroup/recvmsg_unix", addr(A::Recvmsg, Unix)),
        ("cgroup/getpeername4", addr(A::Getpeername, V4)),
        ("cgroup/getpeername6", addr(A::Getpeername, V6)),
        ("cgroup/getpeername_unix", addr(A::Getpeername, Unix)),
        ("cgroup/getsockname4", addr(A::Getsockname, V4)),
        ("cgroup/getsockname6", addr(A::Getsockname, V6)),
        ("cgroup/getsockname_unix", addr(A::Getsockname, Unix)),
        ("cgroup/sysctl", K::CgroupSysctl),
        ("cgroup/getsockopt", K::CgroupSockopt(SockoptHook::Get)),
        ("cgroup/setsockopt", K::CgroupSockopt(SockoptHook::Set)),
        ("cgroup/dev", K::CgroupDevice),
        ("sockops", K::SockOps),
        ("sk_lookup", K::SkLookup),
        ("sk_msg", K::SkMsg),
        ("sk_skb/stream_parser", K::SkSkb(SkSkbKind::StreamParser)),
        ("sk_skb/stream_verdict", K::SkSkb(SkSkbKind::StreamVerdict)),
        ("sk_skb/verdict", K::SkSkb(SkSkbKind::Verdict)),
        ("sk_skb", K::SkSkb(SkSkbKind::Any)),
        ("sk_reuseport/migrate", K::SkReuseport { migrate: true }),
        ("sk_reuseport", K::SkReuseport { migrate: false }),
        ("socket", K::SocketFilter),
        ("flow_dissector", K::FlowDissector),
        ("perf_event", K::PerfEvent),
        ("syscall", K::Syscall),
        ("lwt_in", K::LwtIn),
        ("lwt_out", K::LwtOut),
        ("lwt_xmit", K::LwtXmit),
        ("lwt_seg6local", K::LwtSeg6Local),
        ("lirc_mode2", K::LircMode2),
        ("netfilter", K::Netfilter),
    ]
};

fn parse_target(grammar: Grammar, text: &str) -> SecTarget {
    let malformed = |expected| SecTarget::Malformed {
        text: text.into(),
        expected,
    };
    match grammar {
        Grammar::Name if text.is_empty() => malformed("NAME"),
        Grammar::Name => SecTarget::Name(text.into()),
        Grammar::Syscall if text.is_empty() => malformed("SYSCALL"),
        Grammar::Syscall => SecTarget::Syscall(text.into()),
        Grammar::FunctionPattern if text.is_empty() => malformed("PATTERN"),
        Grammar::FunctionPattern => SecTarget::FunctionPattern(text.into()),
        Grammar::Tracepoint => match text.split_once('/') {
            Some((category, name)) if !category.is_empty() && !name.is_empty() && !name.contains('/') => {
                SecTarget::Tracepoint {
                    category: category.into(),
                    name: name.into(),
                }
            }
            _ => malformed("CATEGORY/NAME"),
        },
        Grammar::Function => function(text).unwrap_or_else(|| malformed("[MODULE:]FUNCTION[+OFFSET]")),
        // `uprobe/anything`: libbpf leaves the target to the caller.
        Grammar::Binary if !text.is_empty() && !text.contains(':') => SecTarget::Label(text.into()),
        Grammar::Binary => binary(text).unwrap_or_else(|| malformed("PATH:FUNCTION[+OFFSET]")),
        Grammar::Usdt => {
            let mut parts = text.splitn(3, ':').filter(|p| !p.is_empty());
            match (parts.next(), parts.next(), parts.next()) {
                (Some(path), Some(provider), Some(name)) => SecTarget::Usdt {
                    path: path.into(),
                    provider: provider.into(),
                    name: name.into(),
                },
                _ => malformed("PATH:PROVIDER:NAME"),
            }
        }
    }
}

fn function(text: &str) -> Option<SecTarget> {
    let (module, rest) = match text.split_once(':') {
        Some((module, rest)) if !module.is_empty() => (Some(module.to_owned()), rest),
        Some(_) => return None,
        None => (None, text),
    };
    let (name, offset) = with_offset(rest)?;
    (!name.is_empty()).then(|| SecTarget::Function {
        module,
        name: name.into(),
        offset,
    })
}

fn binary(text: &str) -> Option<SecTarget> {
    let (path, symbol) = text.split_once(':')?;
    let (symbol, offset) = match number(symbol) {
        Some(offset) => ("", offset),
        None => with_offset(symbol)?,
    };
    if path.is_empty() || (symbol.is_empty() && offset == 0) {
        return None;
    }
    Some(SecTarget::Binary {
        path: path.into(),
        symbol: symbol.into(),
        offset,
    })
}

/// `name+offset`; a `+` that no number follows is an error, since symbols have none.
fn with_offset(text: &str) -> Option<(&str, u64)> {
    match text.rsplit_once('+') {
        Some((name, offset)) => number(offset).map(|offset| (name, offset)),
        None => Some((text, 0)),
    }
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => u64::from_str_radix(hex, 16).ok(),
        None if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}
