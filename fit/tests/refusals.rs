//! What is refused, and that each refusal says what to write instead.

mod common;

use bpfleet_fit::ProblemKind::{Spec, Unsupported};
use common::{compile, hook, interface, named, planned, problems, programs, refused, test_program};
use serde_json::{Value, json};

/// Two maps that hold sockets, one that does not, and a program for them.
const TWO_SOCKMAPS: &str = r#"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#define MAP(name, t) struct { __uint(type, t); __uint(max_entries, 8); __type(key, __u32); __type(value, __u64); } \
    name SEC(".maps")
MAP(inbound, BPF_MAP_TYPE_SOCKMAP);
MAP(outbound, BPF_MAP_TYPE_SOCKHASH);
MAP(totals, BPF_MAP_TYPE_ARRAY);
SEC("sk_msg") int on_message(struct sk_msg_md *ctx) { return SK_PASS; }
SEC("sk_msg") int on_message_too(struct sk_msg_md *ctx) { return SK_PASS; }
"#;

#[test]
fn a_kind_that_needs_a_target_says_which_and_shows_it() {
    for (section, parts) in [
        ("tp", ["target.tracepoint", "tracepoint: sched/sched_switch"]),
        (
            "tp/sched",
            ["target.tracepoint", "tracepoint: sched/sched_switch"],
        ),
        ("raw_tp", ["target.rawTracepoint", "rawTracepoint: sched_switch"]),
        ("tp_btf", ["target.rawTracepoint", "rawTracepoint: sched_switch"]),
        ("uprobe", ["target.binary", "symbol: malloc"]),
        ("uprobe/some_label", ["target.binary", "symbol: malloc"]),
        (
            "uretprobe/libc.so.6:getppid",
            ["libc.so.6", "absolute path, as in `binary: {path: /usr/lib/"],
        ),
        (
            "perf_event",
            [
                "target.perfEvent",
                "perfEvent: {event: CpuClock, sampleFrequency: 49}",
            ],
        ),
        ("xdp", ["target.interface", "interface: {defaultRoute: true}"]),
        (
            "tcx/ingress",
            ["target.interface", "interface: {defaultRoute: true}"],
        ),
        ("tc", ["target.interface", "interface: {defaultRoute: true}"]),
        ("iter", ["SEC(\"iter\")", "write SEC(\"iter/task\")"]),
        ("iter/bpf_map_elem", ["walks one map", "walk another object"]),
        ("sk_msg", ["on_event", "needs a map of type SOCKMAP or SOCKHASH"]),
        (
            "cgroup/skb",
            [
                "no direction",
                "SEC(\"cgroup_skb/ingress\") or SEC(\"cgroup_skb/egress\")",
            ],
        ),
    ] {
        let object = programs(&[("on_event", section)]);
        refused(&object, None, Spec, &parts);
        refused(&object, Some(&[hook("on_event", Value::Null)]), Spec, &parts);
    }
}

#[test]
fn the_shown_hook_can_be_pasted() {
    let problem = problems(&programs(&[("On_Event", "xdp")]), None)
        .remove(0)
        .to_string();
    let shown =
        "hooks: [{name: on-event, anyOf: [{program: On_Event, target: {interface: {defaultRoute: true}}}]}]";
    assert!(problem.contains(shown), "{problem}");
}

#[test]
fn a_target_of_another_kind_is_named_with_the_right_one() {
    let tracepoint = || json!({"tracepoint": "sched/sched_switch"});
    for (section, target, given, fix) in [
        (
            "tp/a/b",
            interface("eth0"),
            "target.interface",
            "give target.tracepoint",
        ),
        (
            "raw_tp/a",
            tracepoint(),
            "target.tracepoint",
            "give target.rawTracepoint",
        ),
        (
            "tp_btf/a",
            tracepoint(),
            "target.tracepoint",
            "give target.rawTracepoint",
        ),
        (
            "uprobe//bin/x:main",
            tracepoint(),
            "target.tracepoint",
            "give target.binary",
        ),
        (
            "perf_event",
            tracepoint(),
            "target.tracepoint",
            "give target.perfEvent",
        ),
        ("xdp", tracepoint(), "target.tracepoint", "give target.interface"),
        (
            "tcx/egress",
            json!({"cgroup": {"path": "/"}}),
            "target.cgroup",
            "give target.interface",
        ),
        (
            "sk_skb/stream_verdict",
            tracepoint(),
            "target.tracepoint",
            "give target.sockMap",
        ),
        (
            "cgroup/dev",
            json!({"sockMap": {"map": "m"}}),
            "target.sockMap",
            "give target.cgroup",
        ),
        (
            "sk_lookup",
            interface("eth0"),
            "target.interface",
            "takes no target; remove it",
        ),
        (
            "iter/task",
            json!({"rawTracepoint": "a"}),
            "target.rawTracepoint",
            "takes no target; remove it",
        ),
        (
            "xdp",
            json!({"interface": {"name": "e"}, "cgroup": {"path": "/"}}),
            "target.cgroup",
            "give target.interface",
        ),
    ] {
        let object = programs(&[("prog", section)]);
        refused(
            &object,
            Some(&[hook("prog", target)]),
            Spec,
            &["hook h", given, "program prog", fix],
        );
    }
}

#[test]
fn a_target_that_is_not_whole_says_what_is_missing() {
    let binary = |rest: Value| json!({ "binary": rest });
    let event = |rest: Value| json!({ "perfEvent": rest });
    for (section, target, fix) in [
        (
            "tp",
            json!({"tracepoint": "sched_switch"}),
            "is not category/name",
        ),
        (
            "uprobe",
            binary(json!({"path": "/bin/x"})),
            "set binary.symbol, binary.offset, or both",
        ),
        (
            "uprobe",
            binary(json!({"path": "libc.so.6", "symbol": "f"})),
            "is not absolute",
        ),
        (
            "uprobe",
            binary(json!({"path": "/bin/x", "offset": -1})),
            "binary.offset is negative",
        ),
        (
            "perf_event",
            event(json!({"event": "CpuClock"})),
            "exactly one of perfEvent.sampleFrequency",
        ),
        (
            "perf_event",
            event(json!({"event": "CpuClock", "sampleFrequency": 9, "samplePeriod": 9})),
            "exactly one of perfEvent.sampleFrequency",
        ),
        (
            "xdp",
            json!({"interface": {}}),
            "set interface.name, or interface.defaultRoute: true",
        ),
        (
            "xdp",
            json!({"interface": {"name": "e", "defaultRoute": true}}),
            "and not both",
        ),
        (
            "tc",
            interface("e"),
            "give interface.direction, Ingress or Egress",
        ),
        (
            "xdp",
            json!({"interface": {"name": "e", "direction": "Ingress"}}),
            "for tc and tcx programs",
        ),
        (
            "tcx/ingress",
            json!({"interface": {"name": "e", "xdpMode": "Auto"}}),
            "for xdp programs",
        ),
    ] {
        let object = programs(&[("prog", section)]);
        refused(&object, Some(&[hook("prog", target)]), Spec, &["hook h", fix]);
    }
}

#[test]
fn a_direction_that_contradicts_sec_is_refused_and_one_that_repeats_it_is_not() {
    for section in ["tcx/ingress", "tc/ingress"] {
        let object = programs(&[("prog", section)]);
        let towards = |direction: &str| {
            [hook(
                "prog",
                json!({"interface": {"name": "e", "direction": direction}}),
            )]
        };
        let parts = ["Egress", section, "remove one of them"];
        refused(&object, Some(&towards("Egress")), Spec, &parts);
        planned(&object, Some(&towards("Ingress")));
    }
}

#[test]
fn an_unknown_program_gets_the_nearest_names_or_all_of_them() {
    let object = test_program("many");
    let parts = ["no program on_sched_switc;", "did you mean on_sched_switch"];
    refused(
        &object,
        Some(&[hook("on_sched_switc", Value::Null)]),
        Spec,
        &parts,
    );
    let object = test_program("partly_rejected");
    refused(
        &object,
        Some(&[hook("something_else_entirely", Value::Null)]),
        Spec,
        &["it has good, bad"],
    );
}

#[test]
fn one_place_for_one_program_is_given_once() {
    let object = programs(&[("first", "xdp"), ("second", "xdp")]);
    let two = |one: &str, other: &str| {
        [
            named("a", "first", interface(one)),
            named("b", "second", interface(other)),
        ]
    };
    refused(
        &object,
        Some(&two("eth0", "eth0")),
        Spec,
        &["hook b", "hook a", "interface eth0", "different targets"],
    );
    assert_eq!(planned(&object, Some(&two("eth0", "eth1"))).len(), 2);
    let uplink = json!({"interface": {"defaultRoute": true}});
    let both = [named("a", "first", uplink.clone()), named("b", "second", uplink)];
    refused(&object, Some(&both), Spec, &["hook b", "hook a", "default route"]);

    let object = compile(TWO_SOCKMAPS);
    let into = |map: &str| json!({"sockMap": {"map": map}});
    let both = [
        named("a", "on_message", into("inbound")),
        named("b", "on_message_too", into("inbound")),
    ];
    refused(&object, Some(&both), Spec, &["hook b", "hook a", "map inbound"]);
    let apart = [
        named("a", "on_message", into("inbound")),
        named("b", "on_message_too", into("outbound")),
    ];
    assert_eq!(planned(&object, Some(&apart)).len(), 2);
}

#[test]
fn two_hooks_of_one_name_are_refused() {
    let object = test_program("many");
    let twice = [
        hook("on_sys_enter", Value::Null),
        hook("on_sys_exit", Value::Null),
    ];
    refused(&object, Some(&twice), Spec, &["hook h", "a name of its own"]);
}

#[test]
fn a_sockmap_is_chosen_only_when_there_is_no_doubt() {
    let object = compile(TWO_SOCKMAPS);
    let to = |map: &str| [hook("on_message", json!({"sockMap": {"map": map}}))];
    refused(
        &object,
        Some(&[hook("on_message", Value::Null)]),
        Spec,
        &["(inbound, outbound)", "target.sockMap.map"],
    );
    refused(
        &object,
        Some(&to("inbond")),
        Spec,
        &["no map inbond", "inbound, outbound"],
    );
    refused(
        &object,
        Some(&to("totals")),
        Spec,
        &["map totals is of type array", "inbound, outbound"],
    );
    planned(&object, Some(&to("outbound")));
}

#[test]
fn a_hook_without_alternatives_is_refused() {
    let mut empty = hook("on_switch", Value::Null);
    empty.any_of.clear();
    refused(
        &test_program("tracepoint"),
        Some(&[empty]),
        Spec,
        &["anyOf is empty"],
    );
}

#[test]
fn an_object_of_optional_programs_alone_asks_for_hooks() {
    let object = programs(&[("one", "?raw_tp/sys_enter"), ("two", "?raw_tp/sys_exit")]);
    refused(&object, None, Unsupported, &["begins with `?`", "give hooks"]);
}

#[test]
fn everything_wrong_is_said_at_once() {
    let object = programs(&[
        ("one", "xdp"),
        ("two", "perf_event"),
        ("three", "raw_tp/sys_enter"),
    ]);
    let hooks: Vec<_> = problems(&object, None)
        .into_iter()
        .map(|problem| problem.hook.unwrap())
        .collect();
    assert_eq!(hooks, ["one", "two"]);
}

#[test]
fn a_kind_that_aya_opens_is_refused_only_where_it_is_chosen() {
    for (section, parts) in [
        (
            "kprobe/do_exit",
            ["kernel functions", "tracepoint, raw_tp or tp_btf"],
        ),
        (
            "kretprobe/do_exit",
            ["kernel functions", "tracepoint, raw_tp or tp_btf"],
        ),
        (
            "fentry/do_exit",
            ["kernel functions", "tracepoint, raw_tp or tp_btf"],
        ),
        (
            "fexit/do_exit",
            ["kernel functions", "tracepoint, raw_tp or tp_btf"],
        ),
        ("lsm/file_open", ["LSM programs", "later version"]),
        ("xdp/devmap", ["SEC \"xdp/devmap\"", "cannot attach this kind"]),
        ("socket", ["SEC \"socket\"", "cannot attach this kind"]),
    ] {
        let object = programs(&[("served", "raw_tp/sys_enter"), ("other", section)]);
        refused(&object, Some(&[hook("other", Value::Null)]), Unsupported, &parts);
        refused(&object, None, Unsupported, &parts);
        assert_eq!(
            planned(&object, Some(&[hook("served", Value::Null)])).len(),
            1,
            "{section}"
        );
    }
}

#[test]
fn a_kind_that_aya_cannot_open_is_refused_also_where_no_hook_names_it() {
    for (section, why) in [
        ("kprobe.multi/tcp_*", "write one program for each"),
        ("uprobe.multi//bin/x:f*", "write one program for each"),
        ("ksyscall/nanosleep", "kernel functions"),
        ("fmod_ret/security_file_open", "kernel functions"),
        ("usdt//bin/x:provider:probe", "USDT"),
        ("raw_tp.w/nbd_send_request", "use raw_tp"),
        ("cgroup/connect_unix", "Unix sockets"),
        ("sk_skb/verdict", "write SEC(\"sk_skb/stream_verdict\")"),
        ("struct_ops/init", "cannot attach this kind"),
        ("syscall", "cannot attach this kind"),
        ("netkit/primary", "cannot attach this kind"),
        ("action", "cannot attach this kind"),
        ("my_own_section", "none that libbpf knows"),
        ("?kprobe.multi/tcp_*", "write one program for each"),
    ] {
        let object = programs(&[("served", "raw_tp/sys_enter"), ("other", section)]);
        let parts = [
            "program other",
            "keeps the whole object from loading",
            why,
            "Compile the object without it",
        ];
        refused(&object, Some(&[hook("served", Value::Null)]), Unsupported, &parts);
    }
}

#[test]
fn what_the_object_wants_from_outside_is_refused_with_its_names() {
    refused(
        &test_program("kconfig"),
        None,
        Unsupported,
        &["__kconfig", "CONFIG_HZ", "decide in user space"],
    );
    let source = r#"
        #include <linux/bpf.h>
        #include <bpf/bpf_helpers.h>
        extern void bpf_rcu_read_lock(void) __ksym;
        extern const void init_task __ksym;
        SEC("raw_tp/sys_enter") int prog(void *ctx) { bpf_rcu_read_lock(); return (int)(long)&init_task; }
    "#;
    let texts: Vec<String> = problems(&compile(source), None)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(texts.len(), 2, "{texts:#?}");
    assert!(texts[0].contains("init_task") && texts[0].contains("read the value through a helper or CO-RE"));
    assert!(texts[1].contains("bpf_rcu_read_lock") && texts[1].contains("use a helper"));
    let source = r#"
        int elsewhere(void);
        __attribute__((section("raw_tp/sys_enter"), used)) int prog(void *ctx) { return elsewhere(); }
    "#;
    refused(
        &compile(source),
        None,
        Unsupported,
        &["elsewhere", "link the object"],
    );
}
