//! What is refused, and that each refusal says what to write instead.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by panicking")]

mod common;

use bpfleet_fit::{
    ProblemKind::{Spec, Unsupported},
    plan_hooks, unknown_programs,
};
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
        &["there is good, bad"],
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
fn a_kind_that_is_not_served_is_refused_by_name_and_only_where_it_is_chosen() {
    for (section, why) in [
        ("xdp/devmap", "run by other programs"),
        ("socket", "attached by the process that has it"),
        ("sk_skb", "write SEC(\"sk_skb/stream_verdict\")"),
        ("struct_ops/init", "tables of kernel operations"),
        ("syscall", "run on demand"),
        ("netkit/primary", "write SEC(\"tcx/ingress\")"),
        ("netfilter", "netfilter hooks are not served"),
        ("action", "write SEC(\"tcx/ingress\") or SEC(\"tc\")"),
        ("freplace/main", "replace a function of another program"),
        ("my_own_section", "none that libbpf knows"),
    ] {
        let object = programs(&[("served", "raw_tp/sys_enter"), ("other", section)]);
        let parts = ["program other", section, why];
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
fn a_place_in_the_kernel_that_cannot_be_read_says_how_it_is_written() {
    for (section, target, parts) in [
        (
            "kprobe",
            json!({"function": "a b"}),
            ["target.function", "do_unlinkat"],
        ),
        (
            "kretprobe",
            json!({"function": "do_exit+0x10"}),
            ["only kprobe programs", "remove it"],
        ),
        (
            "fentry",
            json!({"function": "do_exit+8"}),
            ["only kprobe programs", "remove it"],
        ),
        (
            "kprobe.multi",
            json!({"functions": []}),
            ["target.functions", "empty name"],
        ),
        (
            "usdt",
            json!({"usdt": {"path": "libjvm.so", "provider": "hotspot", "name": "gc__begin"}}),
            ["absolute path", "usdt: {path: /usr/lib"],
        ),
        (
            "uprobe",
            json!({"binary": {"path": "/bin/x", "symbol": "f*"}}),
            ["is a pattern", "SEC(\"uprobe.multi\")"],
        ),
    ] {
        let object = programs(&[("prog", section)]);
        refused(&object, Some(&[hook("prog", target)]), Spec, &parts);
    }
}

#[test]
fn a_program_tied_to_its_place_by_loading_has_one_place() {
    let object = programs(&[("enter", "fentry"), ("probe", "kprobe")]);
    let at = |name: &str, program: &str, function: &str| named(name, program, json!({"function": function}));
    let twice = [at("a", "enter", "do_exit"), at("b", "enter", "do_unlinkat")];
    refused(
        &object,
        Some(&twice),
        Spec,
        &["hook b", "tied to one place", "one program for each place"],
    );
    let kprobes = [at("a", "probe", "do_exit"), at("b", "probe", "do_unlinkat")];
    assert_eq!(planned(&object, Some(&kprobes)).len(), 2);
}

#[test]
fn an_alternative_whose_program_another_variant_has_is_no_mistake_and_one_that_nobody_has_is() {
    let (core, legacy) = (
        programs(&[("enter", "fentry/f")]),
        programs(&[("probe", "kprobe/f")]),
    );
    let mut hook = hook("enter", Value::Null);
    hook.any_of.push(bpfleet_crds::hook::HookAlternative {
        program: "probe".into(),
        target: None,
    });
    let hooks = [hook];
    assert!(plan_hooks(&core, Some(&hooks)).is_ok() && plan_hooks(&legacy, Some(&hooks)).is_ok());
    assert_eq!(unknown_programs([&core, &legacy], &hooks), []);
    let missing = unknown_programs([&core], &hooks);
    assert_eq!(missing.len(), 1);
    assert!(
        missing[0]
            .to_string()
            .contains("no variant's object has a program probe"),
        "{}",
        missing[0]
    );
}

#[test]
fn a_symbol_that_nothing_defines_is_refused_with_its_name() {
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
