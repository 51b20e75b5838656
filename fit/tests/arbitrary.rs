//! Whatever a spec says and an object holds, there is an answer.

use bpf_object::{Endian, Extern, ExternKind, Map, MapSource, ObjectInfo, Pinning, Program, parse_sec};
use bpfleet_crds::hook::{
    BinaryTarget, CgroupTarget, Direction, Hook, HookAlternative, InterfaceTarget, PerfEvent,
    PerfEventTarget, SockMapTarget, Target, XdpMode,
};
use bpfleet_fit::{Alternative, Tried, choose, hook_questions, plan_hooks, question::Answer};
use proptest::{option, prelude::*, sample::select};

/// Every spelling of a section, right, half right and wrong.
const SECTIONS: [&str; 40] = [
    "tp/sched/sched_switch",
    "tp",
    "tp/x",
    "raw_tp/a",
    "raw_tp",
    "raw_tp.w/a",
    "tp_btf/a",
    "kprobe/f",
    "kprobe.multi/f*",
    "ksyscall/nanosleep",
    "uprobe",
    "uprobe//bin/x:f",
    "uprobe/x:f",
    "uretprobe//bin/x:0x40",
    "usdt//bin/x:a:b",
    "fentry/f",
    "lsm/file_open",
    "perf_event",
    "xdp",
    "xdp.frags",
    "xdp/devmap",
    "tc",
    "tc/ingress",
    "tcx/egress",
    "action",
    "netkit/peer",
    "cgroup/skb",
    "cgroup_skb/ingress",
    "cgroup/connect4",
    "cgroup/connect_unix",
    "cgroup/dev",
    "sockops",
    "sk_lookup",
    "sk_msg",
    "sk_skb",
    "sk_skb/stream_parser",
    "iter/task",
    "iter/bpf_map_elem",
    "?syscall",
    "",
];

/// Few names, so that hooks and programs meet, and some that nothing has.
fn name() -> impl Strategy<Value = String> + Clone {
    prop_oneof![4 => select(vec!["a", "b", "sockets"]).prop_map(str::to_owned), 1 => ".{0,12}"]
}

fn program(section: String) -> impl Strategy<Value = Program> {
    (name(), any::<u64>()).prop_map(move |(name, offset)| {
        let sec = parse_sec(&section);
        Program {
            name,
            section: section.clone(),
            kind: sec.kind,
            target: sec.target,
            sleepable: sec.sleepable,
            autoload: sec.autoload,
            instructions: 2,
            section_index: 1,
            offset,
        }
    })
}

fn map() -> impl Strategy<Value = Map> {
    (name(), prop_oneof![Just(15), Just(18), any::<u32>()]).prop_map(|(name, map_type)| Map {
        name,
        map_type,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        flags: 0,
        pinning: Pinning::None,
        source: MapSource::Btf,
        key_type: None,
        value_type: None,
    })
}

fn external() -> impl Strategy<Value = Extern> {
    let kinds = vec![
        ExternKind::Kconfig,
        ExternKind::Ksym,
        ExternKind::Kfunc,
        ExternKind::Undefined,
    ];
    (name(), select(kinds)).prop_map(|(name, kind)| Extern {
        name,
        kind,
        weak: false,
    })
}

fn object() -> impl Strategy<Value = ObjectInfo> {
    let section = prop_oneof![6 => select(SECTIONS.to_vec()).prop_map(str::to_owned), 1 => "[?a-z_./]{0,16}"];
    let programs = prop::collection::vec(section.prop_flat_map(program), 0..6);
    // Externs refuse the whole object, so most have none.
    let externs = prop_oneof![9 => Just(Vec::new()), 1 => prop::collection::vec(external(), 0..3)];
    (programs, prop::collection::vec(map(), 0..3), externs).prop_map(|(programs, maps, externs)| ObjectInfo {
        programs,
        subprograms: Vec::new(),
        maps,
        initial: Vec::new(),
        license: None,
        co_re: Vec::new(),
        externs,
        has_btf: true,
        endian: Endian::HOST,
    })
}

fn target() -> impl Strategy<Value = Target> {
    let direction = || option::of(select(vec![Direction::Ingress, Direction::Egress]));
    let mode = || option::of(select(vec![XdpMode::Auto, XdpMode::Driver, XdpMode::Generic]));
    let interface = (option::of(name()), option::of(any::<bool>()), direction(), mode()).prop_map(
        |(name, default_route, direction, xdp_mode)| InterfaceTarget {
            name,
            default_route,
            direction,
            xdp_mode,
        },
    );
    let binary = ("/?.{0,8}", option::of(name()), option::of(any::<i64>()))
        .prop_map(|(path, symbol, offset)| BinaryTarget { path, symbol, offset });
    let event =
        (option::of(any::<i64>()), option::of(any::<i64>())).prop_map(|(sample_frequency, sample_period)| {
            PerfEventTarget {
                event: PerfEvent::CpuClock,
                sample_frequency,
                sample_period,
            }
        });
    // Mostly one member, as the API demands; sometimes several, as a file for local mode may have.
    prop_oneof![
        interface.clone().prop_map(|interface| Target {
            interface: Some(interface),
            ..Target::default()
        }),
        ".{0,8}".prop_map(|text| Target {
            tracepoint: Some(text),
            ..Target::default()
        }),
        name().prop_map(|name| Target {
            raw_tracepoint: Some(name),
            ..Target::default()
        }),
        "[a-z:+*0-9]{0,8}".prop_map(|text| Target {
            function: Some(text),
            ..Target::default()
        }),
        prop::collection::vec("[a-z*?]{0,4}", 0..3).prop_map(|names| Target {
            functions: Some(names),
            ..Target::default()
        }),
        name().prop_map(|path| Target {
            cgroup: Some(CgroupTarget { path }),
            ..Target::default()
        }),
        name().prop_map(|map| Target {
            sock_map: Some(SockMapTarget { map }),
            ..Target::default()
        }),
        binary.clone().prop_map(|binary| Target {
            binary: Some(binary),
            ..Target::default()
        }),
        event.clone().prop_map(|event| Target {
            perf_event: Some(event),
            ..Target::default()
        }),
        (option::of(interface), option::of(binary), option::of(event)).prop_map(
            |(interface, binary, perf_event)| {
                Target {
                    interface,
                    binary,
                    perf_event,
                    ..Target::default()
                }
            }
        ),
    ]
}

fn hook() -> impl Strategy<Value = Hook> {
    let alternative =
        (name(), option::of(target())).prop_map(|(program, target)| HookAlternative { program, target });
    (
        name(),
        prop::collection::vec(alternative, 0..3),
        option::of(any::<bool>()),
    )
        .prop_map(|(name, any_of, optional)| Hook {
            name,
            any_of,
            optional,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_hooks_on_any_object_are_planned_whole_or_refused_with_words(
        object in object(),
        hooks in option::of(prop::collection::vec(hook(), 0..5)),
        seed in any::<u64>(),
    ) {
        match plan_hooks(&object, hooks.as_deref()) {
            Ok(planned) => {
                // Nothing is left out in silence, and every program is one of the object.
                let expected = hooks.as_ref().map_or_else(|| object.programs.iter().filter(|p| p.autoload).count(), Vec::len);
                prop_assert_eq!(planned.len(), expected);
                for plan in &planned {
                    for alternative in &plan.alternatives {
                        if let Alternative::Planned(hook) = alternative {
                            prop_assert!(object.programs.contains(&hook.program));
                        }
                    }
                }
                // Whatever the node answers, each hook is served, absent by leave, or named as unservable.
                let questions = hook_questions(&object, &planned);
                let answers = questions
                    .into_iter()
                    .enumerate()
                    .map(|(index, question)| {
                        let answer = match (seed >> (index % 60)) & 3 {
                            0 => Answer::No("no".into()),
                            1 => Answer::Unknown("unknown".into()),
                            _ => Answer::Yes,
                        };
                        (question, answer)
                    })
                    .collect();
                match choose(&object, &planned, &answers, &Tried::new()) {
                    Ok(choice) => {
                        prop_assert_eq!(choice.hooks.len() + choice.absent.len(), planned.len());
                        prop_assert!(!choice.hooks.is_empty());
                        prop_assert!(choice.hooks.iter().all(|chosen| chosen.passed_over.len() == chosen.alternative));
                    }
                    Err(unservable) => {
                        prop_assert!(!unservable.is_empty());
                        prop_assert!(unservable.iter().all(|hook| !hook.passed_over.is_empty()));
                    }
                }
            }
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                for problem in problems {
                    prop_assert!(!problem.message.is_empty());
                }
            }
        }
    }
}
