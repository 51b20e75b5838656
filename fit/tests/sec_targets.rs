//! Each kind of program, placed by its SEC() alone or with the least that its kind needs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by panicking")]

mod common;

use bpfleet_crds::hook::{Direction, PerfEvent, PerfEventTarget, XdpMode};
use bpfleet_fit::{Attach, InterfaceSelector, function::KernelFunction};
use common::{example, hook, interface, planned, programs, test_program};
use serde_json::{Value, json};

fn cgroup(path: &str) -> Attach {
    Attach::Cgroup { path: path.into() }
}

fn eth0() -> InterfaceSelector {
    InterfaceSelector::Name("eth0".into())
}

fn tracepoint(category: &str, name: &str) -> Attach {
    Attach::Tracepoint {
        category: category.into(),
        name: name.into(),
    }
}

fn function(text: &str) -> KernelFunction {
    text.parse().unwrap()
}

fn uprobe(path: &str, symbol: Option<&str>, offset: u64) -> Attach {
    Attach::Uprobe {
        path: path.into(),
        symbol: symbol.map(str::to_owned),
        offset,
    }
}

#[test]
fn without_hooks_every_program_goes_where_its_sec_says() {
    let root = || vec![cgroup("/")];
    for (file, expected) in [
        ("tracepoint", vec![tracepoint("sched", "sched_switch")]),
        ("tracepoint_exec", vec![tracepoint("sched", "sched_process_exec")]),
        (
            "raw_tp",
            vec![Attach::RawTracepoint {
                name: "sys_enter".into(),
            }],
        ),
        (
            "tp_btf",
            vec![Attach::BtfTracepoint {
                name: "sched_switch".into(),
            }],
        ),
        ("iter_task", vec![Attach::Iter { kind: "task".into() }]),
        ("sk_lookup", vec![Attach::NetworkNamespace]),
        (
            "sk_msg",
            vec![Attach::SockMap {
                map: "sockets".into(),
            }],
        ),
        (
            "sk_skb",
            vec![
                Attach::SockMap {
                    map: "sockets".into(),
                },
                Attach::SockMap {
                    map: "sockets".into(),
                },
            ],
        ),
        ("sockops", root()),
        ("cgroup_dev", root()),
        ("cgroup_sysctl", root()),
        ("cgroup_skb", vec![cgroup("/"); 2]),
        ("cgroup_sockopt", vec![cgroup("/"); 2]),
        ("cgroup_sock", vec![cgroup("/"); 4]),
        ("cgroup_sock_addr", vec![cgroup("/"); 12]),
    ] {
        let object = test_program(file);
        let hooks = planned(&object, None);
        let places: Vec<Attach> = hooks.iter().map(|hook| hook.attach.clone()).collect();
        assert_eq!(places, expected, "{file}");
        for hook in &hooks {
            assert_eq!(
                hook.name, hook.program.name,
                "{file}: a hook without a name has its program's"
            );
        }
    }
}

#[test]
fn programs_of_the_kernel_go_where_their_sec_says() {
    let kprobe = |text: &str| Attach::Kprobe {
        function: function(text),
    };
    let trampoline = |text: &str| Attach::Trampoline {
        function: function(text),
    };
    for (section, expected) in [
        ("kprobe/do_exit", kprobe("do_exit")),
        ("kprobe/do_exit+0x10", kprobe("do_exit+0x10")),
        ("kretprobe/do_exit", kprobe("do_exit")),
        ("fentry/do_exit", trampoline("do_exit")),
        (
            "fexit/nf_conntrack:nf_conntrack_in",
            trampoline("nf_conntrack:nf_conntrack_in"),
        ),
        ("fmod_ret/should_fail", trampoline("should_fail")),
        (
            "lsm/file_open",
            Attach::Lsm {
                hook: "file_open".into(),
            },
        ),
        (
            "lsm_cgroup/socket_bind",
            Attach::LsmCgroup {
                hook: "socket_bind".into(),
                path: "/".into(),
            },
        ),
        (
            "kprobe.multi/tcp_*",
            Attach::Functions {
                functions: vec!["tcp_*".into()],
            },
        ),
        (
            "ksyscall/openat",
            Attach::Syscall {
                name: "openat".into(),
            },
        ),
        ("uprobe.multi//bin/x:f*", uprobe("/bin/x", Some("f*"), 0)),
        (
            "usdt//bin/x:provider:probe",
            Attach::Usdt {
                path: "/bin/x".into(),
                provider: "provider".into(),
                name: "probe".into(),
            },
        ),
        (
            "raw_tp.w/nbd_send_request",
            Attach::RawTracepoint {
                name: "nbd_send_request".into(),
            },
        ),
        ("cgroup/connect_unix", cgroup("/")),
    ] {
        let hooks = planned(&programs(&[("prog", section)]), None);
        assert_eq!(hooks[0].attach, expected, "{section}");
    }
    for (section, target, expected) in [
        ("kprobe", json!({"function": "a+8"}), kprobe("a+8")),
        ("fentry/other", json!({"function": "m:a"}), trampoline("m:a")),
        (
            "lsm",
            json!({"lsmHook": "bprm_check_security"}),
            Attach::Lsm {
                hook: "bprm_check_security".into(),
            },
        ),
        (
            "kprobe.multi",
            json!({"functions": ["a", "b*"]}),
            Attach::Functions {
                functions: vec!["a".into(), "b*".into()],
            },
        ),
        (
            "ksyscall",
            json!({"syscall": "openat"}),
            Attach::Syscall {
                name: "openat".into(),
            },
        ),
        (
            "lsm_cgroup/socket_bind",
            json!({"cgroup": {"path": "/a"}}),
            Attach::LsmCgroup {
                hook: "socket_bind".into(),
                path: "/a".into(),
            },
        ),
        (
            "uprobe.multi",
            json!({"binary": {"path": "/bin/x", "symbol": "f*"}}),
            uprobe("/bin/x", Some("f*"), 0),
        ),
    ] {
        let hooks = planned(&programs(&[("prog", section)]), Some(&[hook("prog", target)]));
        assert_eq!(hooks[0].attach, expected, "{section}");
    }
}

#[test]
fn a_large_object_gives_one_hook_for_each_program() {
    let object = test_program("many");
    let hooks = planned(&object, None);
    assert_eq!(hooks.len(), 20);
    assert!(
        hooks
            .iter()
            .all(|hook| matches!(&hook.attach, Attach::Tracepoint { name, .. }
        if hook.program.name == format!("on_{name}")))
    );
}

#[test]
fn the_examples_can_be_placed() {
    assert_eq!(planned(&example("execcount"), None).len(), 1);
    assert_eq!(planned(&example("runqlat"), None).len(), 3);
    let default_route = json!({"interface": {"defaultRoute": true, "direction": "Egress"}});
    let hooks = planned(
        &example("tcx-bytes"),
        Some(&[hook("count_egress", default_route)]),
    );
    let expected = Attach::Tcx {
        interface: InterfaceSelector::DefaultRoute,
        direction: Direction::Egress,
    };
    assert_eq!(hooks[0].attach, expected);
}

#[test]
fn a_target_of_the_right_kind_overrides_sec() {
    let sample = PerfEventTarget {
        event: PerfEvent::CpuClock,
        sample_frequency: Some(49),
        sample_period: None,
    };
    let rows: [(&str, Value, Attach); 18] = [
        (
            "tp/sched/sched_switch",
            json!({"tracepoint": "net/net_dev_queue"}),
            tracepoint("net", "net_dev_queue"),
        ),
        (
            "tp",
            json!({"tracepoint": "net/net_dev_queue"}),
            tracepoint("net", "net_dev_queue"),
        ),
        (
            "raw_tp/sys_enter",
            json!({"rawTracepoint": "sys_exit"}),
            Attach::RawTracepoint {
                name: "sys_exit".into(),
            },
        ),
        (
            "tp_btf",
            json!({"rawTracepoint": "sys_exit"}),
            Attach::BtfTracepoint {
                name: "sys_exit".into(),
            },
        ),
        (
            "perf_event",
            json!({"perfEvent": {"event": "CpuClock", "sampleFrequency": 49}}),
            Attach::PerfEvent(sample),
        ),
        (
            "uprobe",
            json!({"binary": {"path": "/bin/x", "symbol": "main"}}),
            uprobe("/bin/x", Some("main"), 0),
        ),
        (
            "uretprobe",
            json!({"binary": {"path": "/bin/x", "offset": 64}}),
            uprobe("/bin/x", None, 64),
        ),
        (
            "uprobe//bin/y:main+8",
            Value::Null,
            uprobe("/bin/y", Some("main"), 8),
        ),
        ("uprobe//bin/y:0x40", Value::Null, uprobe("/bin/y", None, 0x40)),
        (
            "xdp",
            interface("eth0"),
            Attach::Xdp {
                interface: eth0(),
                mode: XdpMode::Auto,
            },
        ),
        (
            "xdp.frags",
            json!({"interface": {"name": "eth0", "xdpMode": "Generic"}}),
            Attach::Xdp {
                interface: eth0(),
                mode: XdpMode::Generic,
            },
        ),
        (
            "tcx/ingress",
            interface("eth0"),
            Attach::Tcx {
                interface: eth0(),
                direction: Direction::Ingress,
            },
        ),
        (
            "tcx/egress",
            interface("eth0"),
            Attach::Tcx {
                interface: eth0(),
                direction: Direction::Egress,
            },
        ),
        (
            "tc/egress",
            interface("eth0"),
            Attach::TcFilter {
                interface: eth0(),
                direction: Direction::Egress,
            },
        ),
        (
            "classifier",
            json!({"interface": {"name": "eth0", "direction": "Ingress"}}),
            Attach::TcFilter {
                interface: eth0(),
                direction: Direction::Ingress,
            },
        ),
        (
            "cgroup/connect4",
            json!({"cgroup": {"path": "/kubepods.slice"}}),
            cgroup("/kubepods.slice"),
        ),
        (
            "cgroup_skb/egress",
            json!({"cgroup": {"path": "/a"}}),
            cgroup("/a"),
        ),
        ("sockops", json!({"cgroup": {"path": "/a"}}), cgroup("/a")),
    ];
    for (section, target, expected) in rows {
        let object = programs(&[("prog", section)]);
        let hooks = planned(&object, Some(&[hook("prog", target.clone())]));
        assert_eq!(hooks.len(), 1);
        assert_eq!(
            (hooks[0].name.as_str(), &hooks[0].attach),
            ("h", &expected),
            "{section} with {target}"
        );
    }
}

#[test]
fn programs_that_no_hook_names_are_left_out() {
    let object = test_program("many");
    let hooks = planned(&object, Some(&[hook("on_sys_exit", Value::Null)]));
    assert_eq!(hooks.len(), 1);
    assert_eq!(hooks[0].program.name, "on_sys_exit");
}

#[test]
fn a_program_marked_optional_is_planned_only_when_a_hook_names_it() {
    let object = programs(&[("always", "raw_tp/sys_enter"), ("on_request", "?raw_tp/sys_exit")]);
    let names = |hooks: &[bpfleet_fit::PlannedHook]| -> Vec<String> {
        hooks.iter().map(|hook| hook.program.name.clone()).collect()
    };
    assert_eq!(names(&planned(&object, None)), ["always"]);
    assert_eq!(
        names(&planned(&object, Some(&[hook("on_request", Value::Null)]))),
        ["on_request"]
    );
}
