//! Section names, against libbpf's table.
#![allow(clippy::panic)]

use bpf_object::{
    AddrFamily, Direction, ProgramKind as K, SecTarget as T, SkSkbKind, SockAddrHook, SockHook, SockoptHook,
    TcKind, XdpAttach, parse_sec,
};

fn tracepoint(category: &str, name: &str) -> T {
    T::Tracepoint {
        category: category.into(),
        name: name.into(),
    }
}
fn name(name: &str) -> T {
    T::Name(name.into())
}
fn function(name: &str, offset: u64) -> T {
    T::Function {
        module: None,
        name: name.into(),
        offset,
    }
}
fn binary(path: &str, symbol: &str, offset: u64) -> T {
    T::Binary {
        path: path.into(),
        symbol: symbol.into(),
        offset,
    }
}
fn malformed(text: &str, expected: &'static str) -> T {
    T::Malformed {
        text: text.into(),
        expected,
    }
}
const fn tc(kind: TcKind, direction: Option<Direction>) -> K {
    K::SchedCls { kind, direction }
}

#[test]
fn a_section_name_gives_kind_and_target() {
    use Direction::{Egress, Ingress};
    let interface = |frags| K::Xdp {
        frags,
        attach: XdpAttach::Interface,
    };
    let table = [
        (
            "tracepoint/sched/sched_switch",
            K::Tracepoint,
            tracepoint("sched", "sched_switch"),
        ),
        (
            "tp/syscalls/sys_enter_openat",
            K::Tracepoint,
            tracepoint("syscalls", "sys_enter_openat"),
        ),
        ("tp", K::Tracepoint, T::None),
        ("tp/sched", K::Tracepoint, malformed("sched", "CATEGORY/NAME")),
        ("tp/a/b/c", K::Tracepoint, malformed("a/b/c", "CATEGORY/NAME")),
        (
            "raw_tp/sys_enter",
            K::RawTracepoint { writable: false },
            name("sys_enter"),
        ),
        (
            "raw_tracepoint/sys_enter",
            K::RawTracepoint { writable: false },
            name("sys_enter"),
        ),
        (
            "raw_tp.w/bpf_test_finish",
            K::RawTracepoint { writable: true },
            name("bpf_test_finish"),
        ),
        ("tp_btf/task_newtask", K::BtfTracepoint, name("task_newtask")),
        ("tp_btf/", K::BtfTracepoint, malformed("", "NAME")),
        ("kprobe/do_unlinkat", K::Kprobe, function("do_unlinkat", 0)),
        ("kprobe/do_unlinkat+0x10", K::Kprobe, function("do_unlinkat", 16)),
        ("kprobe/f+8", K::Kprobe, function("f", 8)),
        (
            "kprobe/f+x",
            K::Kprobe,
            malformed("f+x", "[MODULE:]FUNCTION[+OFFSET]"),
        ),
        ("kprobe", K::Kprobe, T::None),
        (
            "kretprobe/tcp_v4_connect",
            K::Kretprobe,
            function("tcp_v4_connect", 0),
        ),
        (
            "kprobe.multi/tcp_*",
            K::KprobeMulti,
            T::FunctionPattern("tcp_*".into()),
        ),
        (
            "kretprobe.multi/tcp_*",
            K::KretprobeMulti,
            T::FunctionPattern("tcp_*".into()),
        ),
        (
            "kprobe.session/tcp_*",
            K::KprobeSession,
            T::FunctionPattern("tcp_*".into()),
        ),
        ("ksyscall/nanosleep", K::Ksyscall, T::Syscall("nanosleep".into())),
        (
            "kretsyscall/nanosleep",
            K::Kretsyscall,
            T::Syscall("nanosleep".into()),
        ),
        (
            "uprobe//bin/bash:readline",
            K::Uprobe,
            binary("/bin/bash", "readline", 0),
        ),
        (
            "uprobe/libc.so.6:malloc+0x4",
            K::Uprobe,
            binary("libc.so.6", "malloc", 4),
        ),
        (
            "uprobe//bin/bash:0x1234",
            K::Uprobe,
            binary("/bin/bash", "", 0x1234),
        ),
        ("uprobe//bin/bash", K::Uprobe, T::Label("/bin/bash".into())),
        (
            "uprobe//bin/bash:",
            K::Uprobe,
            malformed("/bin/bash:", "PATH:FUNCTION[+OFFSET]"),
        ),
        ("uprobe", K::Uprobe, T::None),
        ("uretprobe/libc:malloc", K::Uretprobe, binary("libc", "malloc", 0)),
        (
            "uprobe.multi/libc:mem*",
            K::UprobeMulti,
            binary("libc", "mem*", 0),
        ),
        (
            "usdt/libc.so.6:libc:setjmp",
            K::Usdt,
            T::Usdt {
                path: "libc.so.6".into(),
                provider: "libc".into(),
                name: "setjmp".into(),
            },
        ),
        (
            "usdt/libc.so.6:libc",
            K::Usdt,
            malformed("libc.so.6:libc", "PATH:PROVIDER:NAME"),
        ),
        ("fentry/do_unlinkat", K::Fentry, function("do_unlinkat", 0)),
        (
            "fexit/nf_tables:nft_do_chain",
            K::Fexit,
            T::Function {
                module: Some("nf_tables".into()),
                name: "nft_do_chain".into(),
                offset: 0,
            },
        ),
        (
            "fmod_ret/bpf_fentry_test1",
            K::FmodRet,
            function("bpf_fentry_test1", 0),
        ),
        ("freplace/get_constant", K::Extension, function("get_constant", 0)),
        ("lsm/file_open", K::Lsm, name("file_open")),
        ("lsm_cgroup/socket_bind", K::LsmCgroup, name("socket_bind")),
        ("iter/task", K::Iter, name("task")),
        ("struct_ops/ssthresh", K::StructOps, name("ssthresh")),
        ("syscall", K::Syscall, T::None),
        ("xdp", interface(false), T::None),
        ("xdp.frags", interface(true), T::None),
        (
            "xdp/devmap",
            K::Xdp {
                frags: false,
                attach: XdpAttach::Devmap,
            },
            T::None,
        ),
        (
            "xdp.frags/cpumap",
            K::Xdp {
                frags: true,
                attach: XdpAttach::Cpumap,
            },
            T::None,
        ),
        ("xdp/firewall", interface(false), T::Label("firewall".into())),
        ("tc", tc(TcKind::Classifier, None), T::None),
        ("classifier", tc(TcKind::Classifier, None), T::None),
        (
            "classifier/mine",
            tc(TcKind::Classifier, None),
            T::Label("mine".into()),
        ),
        ("tc/ingress", tc(TcKind::Classifier, Some(Ingress)), T::None),
        ("tcx/ingress", tc(TcKind::Tcx, Some(Ingress)), T::None),
        ("tcx/egress", tc(TcKind::Tcx, Some(Egress)), T::None),
        ("action", tc(TcKind::Action, None), T::None),
        (
            "cgroup_skb/ingress",
            K::CgroupSkb {
                direction: Some(Ingress),
            },
            T::None,
        ),
        (
            "cgroup_skb/egress",
            K::CgroupSkb {
                direction: Some(Egress),
            },
            T::None,
        ),
        ("cgroup/skb", K::CgroupSkb { direction: None }, T::None),
        ("cgroup/sock", K::CgroupSock(SockHook::Create), T::None),
        ("cgroup/sock_create", K::CgroupSock(SockHook::Create), T::None),
        ("cgroup/sock_release", K::CgroupSock(SockHook::Release), T::None),
        ("cgroup/post_bind6", K::CgroupSock(SockHook::PostBind6), T::None),
        ("cgroup/sysctl", K::CgroupSysctl, T::None),
        ("cgroup/dev", K::CgroupDevice, T::None),
        ("cgroup/getsockopt", K::CgroupSockopt(SockoptHook::Get), T::None),
        ("cgroup/setsockopt", K::CgroupSockopt(SockoptHook::Set), T::None),
        ("sockops", K::SockOps, T::None),
        ("sk_lookup", K::SkLookup, T::None),
        ("sk_msg", K::SkMsg, T::None),
        ("sk_skb", K::SkSkb(SkSkbKind::Any), T::None),
        ("sk_skb/stream_parser", K::SkSkb(SkSkbKind::StreamParser), T::None),
        (
            "sk_skb/stream_verdict",
            K::SkSkb(SkSkbKind::StreamVerdict),
            T::None,
        ),
        ("sk_reuseport/migrate", K::SkReuseport { migrate: true }, T::None),
        ("socket", K::SocketFilter, T::None),
        ("perf_event", K::PerfEvent, T::None),
        ("flow_dissector", K::FlowDissector, T::None),
        ("netfilter", K::Netfilter, T::None),
        ("cgroup/nonsense", K::Unknown, T::None),
        ("xdpfoo", K::Unknown, T::None),
        ("", K::Unknown, T::None),
    ];
    for (section, kind, target) in table {
        let sec = parse_sec(section);
        assert_eq!((sec.kind, sec.target), (kind, target), "{section}");
    }
}

#[test]
fn every_address_hook_is_known_by_family() {
    use SockAddrHook as H;
    let hooks = [
        ("bind", H::Bind, false),
        ("connect", H::Connect, true),
        ("sendmsg", H::Sendmsg, true),
        ("recvmsg", H::Recvmsg, true),
        ("getpeername", H::Getpeername, true),
        ("getsockname", H::Getsockname, true),
    ];
    for (word, hook, has_unix) in hooks {
        for (suffix, family) in [
            ("4", AddrFamily::V4),
            ("6", AddrFamily::V6),
            ("_unix", AddrFamily::Unix),
        ] {
            let section = format!("cgroup/{word}{suffix}");
            let known = family != AddrFamily::Unix || has_unix;
            let kind = if known {
                K::CgroupSockAddr { hook, family }
            } else {
                K::Unknown
            };
            assert_eq!(parse_sec(&section).kind, kind, "{section}");
        }
    }
}

#[test]
fn a_kind_is_displayed_as_a_section_that_parses_to_itself() {
    let sections = [
        "tracepoint",
        "raw_tp",
        "raw_tp.w",
        "tp_btf",
        "kprobe",
        "kretprobe",
        "kprobe.multi",
        "kretprobe.multi",
        "kprobe.session",
        "ksyscall",
        "kretsyscall",
        "uprobe",
        "uretprobe",
        "uprobe.multi",
        "uretprobe.multi",
        "uprobe.session",
        "usdt",
        "fentry",
        "fexit",
        "fmod_ret",
        "freplace",
        "lsm",
        "lsm_cgroup",
        "iter",
        "struct_ops",
        "syscall",
        "xdp",
        "xdp.frags",
        "xdp/devmap",
        "xdp.frags/cpumap",
        "tc",
        "tc/ingress",
        "tcx/egress",
        "action",
        "netkit/primary",
        "netkit/peer",
        "cgroup_skb/ingress",
        "cgroup/skb",
        "cgroup/sock_create",
        "cgroup/post_bind4",
        "cgroup/connect_unix",
        "cgroup/sendmsg6",
        "cgroup/getsockopt",
        "cgroup/sysctl",
        "cgroup/dev",
        "sockops",
        "sk_lookup",
        "sk_msg",
        "sk_skb",
        "sk_skb/verdict",
        "sk_reuseport",
        "sk_reuseport/migrate",
        "socket",
        "flow_dissector",
        "perf_event",
        "lwt_in",
        "lwt_seg6local",
        "lirc_mode2",
        "netfilter",
    ];
    for section in sections {
        assert_eq!(parse_sec(section).kind.to_string(), section);
    }
}

#[test]
fn the_s_suffix_means_sleepable_and_a_question_mark_no_autoload() {
    for (section, sleepable, autoload) in [
        ("uprobe.s/libc:malloc", true, true),
        ("fentry.s/f", true, true),
        ("lsm.s/file_open", true, true),
        ("iter.s/task", true, true),
        ("struct_ops.s/x", true, true),
        ("syscall", true, true),
        ("fentry/f", false, true),
        ("?xdp", false, false),
        ("?fentry.s/f", true, false),
    ] {
        let sec = parse_sec(section);
        assert_eq!((sec.sleepable, sec.autoload), (sleepable, autoload), "{section}");
        assert_ne!(sec.kind, K::Unknown, "{section}");
    }
    assert_eq!(parse_sec("kprobe.s/f").kind, K::Unknown, "kprobes never sleep");
}
