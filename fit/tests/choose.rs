//! Which alternative serves a hook, for what a node answers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by panicking")]

mod common;

use bpfleet_crds::{
    NodeReason,
    hook::{Hook, HookAlternative},
};
use bpfleet_fit::{
    Attempt, Choice, Tried, Unservable, choose, hook_questions, plan_hooks,
    question::{Answer, Answers},
};
use common::{compile, interface, named, programs};
use serde_json::{Value, json};

/// Hook `unlink`, by fentry, else kprobe, else a tracepoint.
fn unlink(optional: bool) -> Hook {
    let alternative = |program: &str, target: Value| HookAlternative {
        program: program.into(),
        target: serde_json::from_value(target).unwrap(),
    };
    Hook {
        name: "unlink".into(),
        any_of: vec![
            alternative("enter", json!({"function": "do_unlinkat"})),
            alternative("probe", json!({"function": "do_unlinkat"})),
            alternative("probe", json!({"function": "filename_unlinkat"})),
            alternative("trace", Value::Null),
        ],
        optional: Some(optional),
    }
}

fn object() -> bpf_object::ObjectInfo {
    programs(&[
        ("enter", "fentry"),
        ("probe", "kprobe"),
        ("trace", "tp/syscalls/sys_enter_unlinkat"),
    ])
}

/// Chooses; `answers` by the question's text, Yes where there is none.
fn chosen(hooks: &[Hook], answers: &[(&str, Answer)], tried: &Tried) -> Result<Choice, Vec<Unservable>> {
    let object = object();
    let plans = plan_hooks(&object, Some(hooks)).unwrap();
    let answers: Answers = hook_questions(&object, &plans)
        .into_iter()
        .map(|question| {
            let given = answers.iter().find(|(text, _)| *text == question.to_string());
            let answer = given.map_or(Answer::Yes, |(_, answer)| answer.clone());
            (question, answer)
        })
        .collect();
    choose(&object, &plans, &answers, tried)
}

fn no(why: &str) -> Answer {
    Answer::No(why.into())
}

#[test]
fn the_first_alternative_that_nothing_speaks_against_is_chosen() {
    let no_btf = ("the kernel's own BTF", no("none"));
    let no_fentry = ("function do_unlinkat by fentry", no("refused"));
    let no_kprobe = ("function do_unlinkat by kprobe", no("gone"));
    let no_other = ("function filename_unlinkat by kprobe", no("gone too"));
    let unknown = (
        "function do_unlinkat by fentry",
        Answer::Unknown("no tracefs".into()),
    );
    for (answers, alternative, reasons) in [
        (vec![], 0, vec![]),
        (vec![unknown], 0, vec![]),
        (vec![no_fentry.clone()], 1, vec![NodeReason::TargetNotFound]),
        (vec![no_btf.clone()], 1, vec![NodeReason::BtfMissing]),
        (
            vec![no_btf.clone(), no_kprobe.clone()],
            2,
            vec![NodeReason::BtfMissing, NodeReason::TargetNotFound],
        ),
        (
            vec![no_fentry, no_kprobe.clone(), no_other.clone()],
            3,
            vec![NodeReason::TargetNotFound; 3],
        ),
        (
            vec![("attach/fentry", no("EPERM")), no_kprobe, no_other],
            3,
            vec![
                NodeReason::UnsupportedByKernel,
                NodeReason::TargetNotFound,
                NodeReason::TargetNotFound,
            ],
        ),
    ] {
        let choice = chosen(&[unlink(false)], &answers, &Tried::new()).unwrap();
        let [hook] = choice.hooks.as_slice() else {
            panic!("{choice:?}")
        };
        assert_eq!(hook.alternative, alternative, "{answers:?}");
        let passed: Vec<NodeReason> = hook.passed_over.iter().map(|passed| passed.reason).collect();
        assert_eq!(passed, reasons);
    }
}

#[test]
fn what_was_tried_and_failed_gives_way_to_the_next_and_says_so() {
    let attempt = Attempt {
        reason: NodeReason::VerifierRejected,
        message: "R1 invalid".into(),
    };
    let tried = Tried::from([(("unlink".to_owned(), 0), attempt)]);
    let choice = chosen(&[unlink(false)], &[], &tried).unwrap();
    assert_eq!(choice.hooks[0].alternative, 1);
    let passed = &choice.hooks[0].passed_over[0];
    assert_eq!(
        (passed.program.as_str(), passed.reason, passed.message.as_str()),
        ("enter", NodeReason::VerifierRejected, "R1 invalid")
    );
}

#[test]
fn a_hook_that_nothing_can_serve_is_absent_if_optional_and_otherwise_refused() {
    let answers = [
        ("the kernel's own BTF", no("none")),
        ("program/kprobe", no("not compiled in")),
        ("tracepoint syscalls/sys_enter_unlinkat", no("no such tracepoint")),
    ];
    let unservable = chosen(&[unlink(false)], &answers, &Tried::new()).unwrap_err();
    assert_eq!(unservable[0].hook, "unlink");
    assert_eq!(unservable[0].passed_over.len(), 4);

    let other = named("other", "probe", json!({"function": "do_exit"}));
    let only_btf = [("the kernel's own BTF", no("none"))];
    let mut fentry_only = unlink(true);
    fentry_only.any_of.truncate(1);
    let choice = chosen(&[fentry_only.clone(), other], &only_btf, &Tried::new()).unwrap();
    assert_eq!(choice.hooks.len(), 1);
    assert_eq!(choice.absent[0].0, "unlink");
    // With nothing else, nothing at all would run.
    assert!(chosen(&[fentry_only], &only_btf, &Tried::new()).is_err());
}

#[test]
fn alternatives_that_claim_what_an_earlier_hook_has_are_passed_over() {
    let object = programs(&[("first", "xdp"), ("second", "xdp")]);
    let one = named("a", "first", interface("eth0"));
    let mut two = named("b", "second", interface("eth0"));
    two.any_of.push(HookAlternative {
        program: "second".into(),
        target: serde_json::from_value(interface("eth1")).unwrap(),
    });
    let plans = plan_hooks(&object, Some(&[one, two])).unwrap();
    let choice = choose(&object, &plans, &Answers::new(), &Tried::new()).unwrap();
    assert_eq!(choice.hooks[1].alternative, 1);
    assert!(choice.hooks[1].passed_over[0].message.contains("hook a already"));
}

#[test]
fn co_re_needs_btf_only_of_the_programs_that_use_it() {
    let object = compile(
        r#"
        #include <linux/bpf.h>
        #include <bpf/bpf_helpers.h>
        #include <bpf/bpf_core_read.h>
        struct task_struct { int tgid; } __attribute__((preserve_access_index));
        static __attribute__((noinline)) int tgid(struct task_struct *task) { return BPF_CORE_READ(task, tgid); }
        SEC("raw_tp/sys_enter") int direct(void *ctx) { return BPF_CORE_READ((struct task_struct *)ctx, tgid); }
        SEC("raw_tp/sys_enter") int called(void *ctx) { return tgid(ctx); }
        SEC("raw_tp/sys_enter") int plain(void *ctx) { return 0; }
        char _license[] SEC("license") = "GPL";
        "#,
    );
    for (program, expected) in [("direct", true), ("called", true), ("plain", false)] {
        let plans = plan_hooks(&object, Some(&[named("h", program, Value::Null)])).unwrap();
        let asks = hook_questions(&object, &plans)
            .iter()
            .any(|question| question.to_string() == "the kernel's own BTF");
        assert_eq!(asks, expected, "{program}");
    }
}
