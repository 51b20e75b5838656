//! What the agent says of this machine: against libbpf's word, and as the command prints it.

use std::{collections::BTreeMap, fs, process::Command};

use bpf_oracle::libbpf::{probe_helper, probe_map_type, probe_program_type};
use bpfleet_agent::facts::{FactPaths, KernelBtf, Prober, kernel_btf};
use bpfleet_fit::{
    feature::{Feature, ProgramType},
    question::{Answer, Question},
};
use serde_json::Value;

fn facts(arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bpfleet-agent"))
        .arg("facts")
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn json(arguments: &[&str]) -> Value {
    let (success, out, err) = facts(arguments);
    assert!(success, "{out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

fn prober() -> Prober {
    Prober::new(&FactPaths::of_this_machine())
}

/// libbpf takes every refusal for a No, and does not look at the helpers of these types.
fn alike(ours: &Answer, libbpf: Result<bool, i32>) -> bool {
    match (ours, libbpf) {
        (Answer::Yes, Ok(there)) => there,
        (Answer::No(_), Ok(there)) => !there,
        // What is not permitted is Unknown to us.
        (Answer::Unknown(why), Ok(there)) => !there && why.contains("not permitted"),
        (_, Err(_)) => true,
    }
}

#[test]
fn types_of_programs_and_maps_are_those_that_libbpf_finds() {
    let mut prober = prober();
    for feature in Feature::base() {
        let libbpf = match feature {
            Feature::Program(program) => probe_program_type(program.number()),
            Feature::Map(map_type) => probe_map_type(map_type),
            _ => continue,
        };
        let ours = prober.answer(&Question::Feature(feature));
        assert!(libbpf.is_ok(), "{feature}: libbpf does not know it");
        assert!(alike(&ours, libbpf), "{feature}: {ours:?}, libbpf: {libbpf:?}");
    }
}

#[test]
fn helpers_are_those_that_libbpf_finds_in_every_type_of_program() {
    let mut prober = prober();
    let mut compared = 0;
    for program in ProgramType::ALL {
        for feature in Feature::helpers(*program) {
            let Feature::Helper { id, .. } = feature else {
                continue;
            };
            let Ok(libbpf) = probe_helper(program.number(), id) else {
                continue;
            };
            // libbpf takes a type that the kernel has not for one that can call everything.
            if !matches!(probe_program_type(program.number()), Ok(true)) {
                continue;
            }
            let ours = prober.answer(&Question::Feature(feature));
            assert!(alike(&ours, Ok(libbpf)), "{feature}: {ours:?}, libbpf: {libbpf}");
            compared += 1;
        }
    }
    assert!(compared > 1000, "only {compared} were compared");
}

#[test]
fn a_helper_of_any_type_is_one_that_some_type_can_call() {
    let mut prober = prober();
    for feature in Feature::helpers(ProgramType::Xdp) {
        let Feature::Helper { id, .. } = feature else {
            continue;
        };
        let any = prober.answer(&Question::Feature(Feature::Helper { id, program: None }));
        let one = ProgramType::ALL.iter().any(|program| {
            let program = Some(*program);
            prober
                .answer(&Question::Feature(Feature::Helper { id, program }))
                .is_yes()
        });
        assert_eq!(any.is_yes(), one, "helper {id}: {any:?}");
    }
}

#[test]
fn facts_of_the_status_list_what_is_missing_and_what_is_not_known_sorted() {
    let facts = Prober::new(&FactPaths::of_this_machine()).node_facts();
    let mut prober = prober();
    let (mut missing, mut unknown) = (Vec::new(), Vec::new());
    for feature in Feature::base() {
        match prober.answer(&Question::Feature(feature)) {
            Answer::Yes => {}
            Answer::No(_) => missing.push(feature.to_string()),
            Answer::Unknown(_) => unknown.push(feature.to_string()),
        }
    }
    missing.sort();
    unknown.sort();
    assert_eq!((facts.missing, facts.unknown), (missing, unknown));
}

#[test]
fn without_btf_all_that_needs_it_is_certainly_not_there() {
    let paths = FactPaths {
        kernel_btf: "/nonexistent".into(),
        ..FactPaths::of_this_machine()
    };
    assert_eq!(kernel_btf(&paths), KernelBtf::None);
    let mut prober = Prober::new(&paths);
    assert!(matches!(prober.answer(&Question::KernelBtf), Answer::No(_)));
    for name in [
        "attach/fentry",
        "attach/fexit",
        "attach/tp_btf",
        "attach/iter",
        "attach/lsm",
    ] {
        let answer = prober.answer(&Question::Feature(name.parse().unwrap()));
        assert!(matches!(answer, Answer::No(_)), "{name}: {answer:?}");
    }
    assert!(matches!(
        prober.answer(&Question::LsmHook("file_open".into())),
        Answer::No(_)
    ));
}

/// A function that the kernel has once, by its own list.
fn a_function() -> String {
    let mut count: BTreeMap<String, u32> = BTreeMap::new();
    let list = fs::read_to_string("/proc/kallsyms").unwrap();
    for name in list
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().nth(2))
    {
        *count.entry(name.to_owned()).or_default() += 1;
    }
    ["vfs_read", "do_unlinkat", "do_exit"]
        .into_iter()
        .find(|name| count.get(*name) == Some(&1))
        .expect("the kernel has one of these")
        .to_owned()
}

#[test]
fn functions_are_answered_for_each_way_and_a_typing_error_says_what_was_meant() {
    let there = a_function();
    let wrong = format!("{there}x");
    let json = json(&["-o", "json", "--function", &there, &wrong]);
    let answers = json["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 6);
    for (index, way) in ["kprobe", "fentry", "kprobe.multi"].iter().enumerate() {
        assert_eq!(answers[index]["name"], format!("function {there} by {way}"));
        let why = answers[index]["why"].as_str().unwrap_or_default();
        assert!(!why.contains("has no function"), "{why}");
        // A kernel without this way does not get so far as to look.
        let feature = prober().answer(&Question::Feature(format!("attach/{way}").parse().unwrap()));
        let answer = &answers[3 + index];
        assert_eq!(answer["answer"], "No", "{answer}");
        if !matches!(feature, Answer::No(_)) {
            let why = answer["why"].as_str().unwrap();
            assert!(
                why.contains(&format!("no function {wrong}; did you mean")) && why.contains(&there),
                "{why}"
            );
        }
    }
}

#[test]
fn system_calls_are_found_with_their_prefix() {
    let mut prober = prober();
    let prefix = prober.syscall_prefix().expect("every kernel has getpid");
    let list = fs::read_to_string("/proc/kallsyms").unwrap();
    assert!(list.contains(&format!(" {prefix}openat\n")), "{prefix}");
    assert_eq!(prober.answer(&Question::Syscall("openat".into())), Answer::Yes);
    match prober.answer(&Question::Syscall("opneat".into())) {
        Answer::No(why) => assert!(why.contains("no system call opneat"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn tracepoints_of_btf_are_known_without_tracefs() {
    let mut prober = prober();
    assert_eq!(
        prober.answer(&Question::RawTracepoint("sched_switch".into())),
        Answer::Yes
    );
    let none = prober.answer(&Question::RawTracepoint("sched_swich".into()));
    assert_eq!(
        matches!(none, Answer::No(_)),
        prober.tracefs().is_ok(),
        "{none:?}"
    );
    assert!(!none.is_yes());
    let whole = Question::Tracepoint {
        category: "sched".into(),
        name: "sched_switch".into(),
        fields: vec!["next_pid".into()],
    };
    let answer = prober.answer(&whole);
    match prober.tracefs() {
        Ok(_) => assert_eq!(answer, Answer::Yes),
        Err(why) => assert_eq!(answer, Answer::Unknown(why)),
    }
}

#[test]
fn options_of_the_configuration_are_those_in_its_file() {
    let mut prober = prober();
    let Ok(found) = prober.kconfig() else {
        eprintln!("this kernel does not show its configuration");
        return;
    };
    let value = found.config.get("CONFIG_BPF_SYSCALL").map(str::to_owned);
    let question = |value: Option<String>| Question::KernelConfig {
        option: "CONFIG_BPF_SYSCALL".into(),
        value,
    };
    assert_eq!(prober.answer(&question(value)), Answer::Yes);
    assert!(matches!(
        prober.answer(&question(Some("n".into()))),
        Answer::No(_)
    ));
}

#[test]
fn everything_is_data_and_the_table_has_all_of_it() {
    let json = json(&["-o", "json", "--all"]);
    let features = json["features"].as_array().unwrap();
    assert_eq!(features.len(), Feature::base().count());
    for row in features {
        let certain = row["answer"] == "Yes";
        assert_eq!(row["why"].is_null(), certain, "{row}");
    }
    let helpers = json["helpers"].as_array().unwrap();
    let of = |program: &str| helpers.iter().find(|row| row["program"] == program).unwrap();
    assert_eq!(helpers.len(), ProgramType::ALL.len());
    let socket_filter = of("socket_filter")["callable"].as_array().unwrap();
    assert!(socket_filter.iter().any(|name| name == "bpf_map_lookup_elem"));
    assert!(!socket_filter.iter().any(|name| name == "bpf_override_return"));
    let interfaces = &json["interfaces"];
    assert_ne!(
        interfaces["found"].is_array(),
        interfaces["why"].is_string(),
        "{interfaces}"
    );
    let (success, table, _) = facts(&[]);
    assert!(success);
    for row in features {
        assert!(
            table.contains(row["name"].as_str().unwrap()),
            "{row} is not in\n{table}"
        );
    }
    for title in [
        "KERNEL",
        "SYSTEM",
        "TYPES OF PROGRAMS",
        "TYPES OF MAPS",
        "WAYS TO ATTACH",
    ] {
        assert!(table.contains(title), "{title}");
    }
    assert!(!table.contains('\x1b'), "colours are for terminals");
}

#[test]
fn a_question_that_is_wrong_says_how_to_ask() {
    for (arguments, expected) in [
        (["--feature", "map/ringbuff"], "did you mean map/ringbuf?"),
        (["--function", "a b"], "is no kernel function"),
        (["--config", "BPF"], "does not begin with CONFIG_"),
    ] {
        let (success, _, err) = facts(&arguments);
        assert!(!success && err.contains(expected), "{err}");
    }
    let (_, help, _) = facts(&["--help"]);
    for word in ["Examples:", "--function do_unlinkat", "Unknown says why"] {
        assert!(help.contains(word), "{word}");
    }
}
