//! What cannot run says why and what to do, in a typed reason, and leaves nothing behind.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rstest::rstest;

use crate::support::{
    bench::{Bench, hooks, object, object_with},
    events, netns,
    running::eventually,
};

/// Runs a program that cannot run; returns its row.
fn fails(bench: &Bench, object: &Path, hooks: &str, reason: &str, words: &[&str]) -> serde_json::Value {
    let running = bench.run(&bench.program("p", object, hooks));
    let row = running.ends_with("p", reason);
    let message = row["message"].as_str().unwrap_or_default();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
    assert_eq!(row["hooksAttached"], 0, "{row}");
    bench.assert_nothing_pinned();
    row
}

#[rstest]
#[case::text("not an ELF object", |_| b"int main() {}".to_vec())]
#[case::empty("not an ELF object", |_| Vec::new())]
#[case::truncated("truncated", |mut object: Vec<u8>| { object.truncate(object.len() / 2); object })]
#[case::header_only("truncated", |mut object: Vec<u8>| { object.truncate(64); object })]
#[case::another_machine("not for eBPF", |mut object: Vec<u8>| { object[18] = 62; object[19] = 0; object })]
fn bytes_that_are_no_object(#[case] words: &str, #[case] damage: fn(Vec<u8>) -> Vec<u8>) {
    let bench = Bench::new();
    let damaged = bench.file("damaged.bpf.o", damage(fs::read(object("tracepoint")).unwrap()));
    fails(&bench, &damaged, "", "InvalidObject", &[words]);
}

#[test]
fn an_object_for_this_machine_instead_of_ebpf_says_how_to_compile_it() {
    let bench = Bench::new();
    let own = PathBuf::from(env!("CARGO_BIN_EXE_bpfleet-agent"));
    let own = bench.file("own.bpf.o", &fs::read(own).unwrap()[..1 << 20]);
    let row = fails(
        &bench,
        &own,
        "",
        "InvalidObject",
        &["not for eBPF", "-target bpf"],
    );
    assert!(row["message"].as_str().unwrap().contains("x86"), "{row}");
}

#[test]
fn an_object_of_the_other_byte_order_says_how_to_compile_it() {
    let object = object_with("big_endian", &["-target", "bpfeb"]);
    fails(
        &Bench::new(),
        &object,
        "",
        "InvalidObject",
        &["big-endian", "-target bpfel"],
    );
}

#[test]
fn an_object_without_programs_names_the_function_that_lacks_its_section() {
    fails(
        &Bench::new(),
        &object("no_programs"),
        "",
        "InvalidObject",
        &["no eBPF programs", "forgotten"],
    );
}

#[test]
fn kernel_configuration_that_a_program_needs_and_the_kernel_lacks_is_named() {
    fails(
        &Bench::new(),
        &object("kconfig"),
        &hooks(&["without"], "null"),
        "KernelConfigMissing",
        &["CONFIG_BPFLEET_NONE"],
    );
}

#[test]
fn kernel_configuration_reaches_the_program() {
    let bench = Bench::new();
    let running = bench.run(&bench.program("p", &object("kconfig"), &hooks(&["with_kconfig"], "null")));
    running.healthy("p");
    eventually("execs to be counted by CONFIG_HZ", || {
        events::exec();
        match bench.counts("p")[0] {
            0 => Err("none".to_owned()),
            // 100, 250, 300 or 1000, for each exec.
            hz if hz >= 100 => Ok(()),
            other => Err(format!("{other}")),
        }
    });
    running.interrupt();
}

#[rstest]
#[case::one_of_one("rejected", "out_of_bounds")]
#[case::one_of_two("partly_rejected", "bad")]
fn a_program_that_the_verifier_rejects_comes_with_its_words(#[case] name: &str, #[case] program: &str) {
    let row = fails(
        &Bench::new(),
        &object(name),
        "",
        "VerifierRejected",
        &[program, "unbounded"],
    );
    let log = row["logTail"].as_str().unwrap();
    assert!(log.contains("processed") && log.len() <= 1024, "{log}");
}

#[test]
fn a_field_that_this_kernel_lacks_is_named() {
    let words = ["bpfleet_no_such_field", "task_struct"];
    let row = fails(
        &Bench::new(),
        &object("core_missing"),
        "",
        "VerifierRejected",
        &words,
    );
    assert!(!row.to_string().contains("195896080"), "{row}");
}

#[test]
fn a_field_that_this_kernel_lacks_does_no_harm_behind_a_question() {
    let bench = Bench::new();
    let running = bench.run(&bench.program("p", &object("core_guarded"), ""));
    running.healthy("p");
    eventually("execs to be counted where the field is missing", || {
        events::exec();
        let counts = bench.counts("p");
        if counts[0] > 0 && counts[1] == 0 {
            Ok(())
        } else {
            Err(format!("{counts:?}"))
        }
    });
    running.interrupt();
}

#[test]
fn offsets_are_relocated_to_this_kernels() {
    let bench = Bench::new();
    let running = bench.run(&bench.program("p", &object("core_read"), ""));
    running.healthy("p");
    eventually("execs to be counted", || {
        events::exec();
        let counts = bench.counts("p");
        if counts[0] > 0 {
            Ok(())
        } else {
            Err(format!("{counts:?}"))
        }
    });
    assert_eq!(bench.counts("p")[1], 0, "it reads from a wrong offset");
    running.interrupt();
}

#[rstest]
#[case::co_re("core_read", "CO-RE")]
#[case::tp_btf("tp_btf", "on_switch_btf")]
#[case::iter("iter_task", "list_tasks")]
fn without_btf_nothing_that_needs_it_is_loaded(#[case] name: &str, #[case] words: &str) {
    let bench = Bench::new();
    let file = bench.program("p", &object(name), "");
    let running = bench.start(&bench.launch(&[&file]).args(["--kernel-btf", "/nonexistent"]));
    let row = running.ends_with("p", "BtfMissing");
    assert!(row["message"].as_str().unwrap().contains(words), "{row}");
    bench.assert_nothing_pinned();
}

#[test]
fn without_btf_a_program_that_needs_none_runs() {
    let bench = Bench::new();
    let file = bench.program("p", &object("tracepoint"), "");
    let running = bench.start(&bench.launch(&[&file]).args(["--kernel-btf", "/nonexistent"]));
    running.healthy("p");
    running.interrupt();
}

#[rstest]
#[case::interface("xdp", "pass", "interface: {name: no-such-if}", &["no network interface no-such-if", "it has lo"])]
#[case::default_route("xdp", "pass", "interface: {defaultRoute: true}", &["no default route", "name one"])]
#[case::tc_interface("tc", "classify", "interface: {name: nope, direction: Ingress}", &["no network interface nope"])]
#[case::tcx_interface("tcx", "count_egress", "interface: {name: nope}", &["no network interface nope"])]
#[case::cgroup("cgroup_skb", "skb_ingress", "cgroup: {path: /no/such/cgroup}", &["/no/such/cgroup"])]
#[case::binary("uprobe", "on_enter", "binary: {path: /no/such/binary, symbol: main}", &["/no/such/binary"])]
#[case::symbol("uprobe", "on_enter", "binary: {path: /proc/self/exe, symbol: no_such_symbol}", &["no_such_symbol"])]
#[case::tracepoint("tracepoint", "on_switch", "tracepoint: sched/no_such", &["tracepoint sched/no_such"])]
#[case::tracepoint_category("tracepoint", "on_switch", "tracepoint: no_such/x", &["tracepoint no_such/x"])]
#[case::raw_tracepoint("raw_tp", "on_sys_enter", "rawTracepoint: no_such", &["raw tracepoint no_such"])]
#[case::btf_tracepoint("tp_btf", "on_switch_btf", "rawTracepoint: no_such", &["no_such"])]
fn a_target_that_this_node_lacks(
    #[case] name: &str,
    #[case] program: &str,
    #[case] target: &str,
    #[case] words: &[&str],
) {
    netns::inside(|| {
        let hooks = hooks(&[program], &format!("{{{target}}}"));
        fails(&Bench::new(), &object(name), &hooks, "TargetNotFound", words);
    });
}

#[rstest]
#[case::unknown_program(
    "tracepoint",
    "on_swich",
    "tracepoint: a/b",
    "InvalidHook",
    "did you mean on_switch?"
)]
#[case::wrong_member(
    "tracepoint",
    "on_switch",
    "cgroup: {path: /}",
    "InvalidHook",
    "give target.tracepoint"
)]
#[case::no_such_map("sk_msg", "on_message", "sockMap: {map: sockts}", "InvalidHook", "sockets")]
#[case::not_a_sockmap("sk_msg", "on_message", "sockMap: {map: counts}", "InvalidHook", "SOCKMAP")]
#[case::no_direction("tc", "classify", "interface: {name: lo}", "InvalidHook", "Ingress or Egress")]
fn a_hook_that_contradicts_its_object(
    #[case] name: &str,
    #[case] program: &str,
    #[case] target: &str,
    #[case] reason: &str,
    #[case] words: &str,
) {
    let hooks = hooks(&[program], &format!("{{{target}}}"));
    fails(&Bench::new(), &object(name), &hooks, reason, &[words]);
}

#[test]
fn one_missing_target_of_several_hooks_leaves_none_attached() {
    let bench = Bench::new();
    let hooks = "[{name: good, anyOf: [{program: good}]}, \
                 {name: missing, anyOf: [{program: good, target: {tracepoint: sched/no_such}}]}]";
    let row = fails(
        &bench,
        &object("partly_rejected"),
        hooks,
        "TargetNotFound",
        &["missing"],
    );
    assert_eq!(row["failedHooks"][0]["name"], "missing", "{row}");
}
