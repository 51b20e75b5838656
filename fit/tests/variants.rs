//! Which variants a node may use.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use bpfleet_crds::BpfRevisionSpec;
use bpfleet_fit::{
    Candidate, candidates,
    question::{Answer, Answers},
    requires::{Machine, requirement_problems},
    variant_questions,
};
use serde_json::{Value, json};

fn revision(requires: Value) -> BpfRevisionSpec {
    let object = json!({"digest": format!("sha256:{}", "0".repeat(64)), "sizeBytes": 1});
    serde_json::from_value(json!({"program": "p", "variants": [
        {"name": "core", "objects": [object], "requires": requires},
        {"name": "arm", "objects": [{"architecture": "arm64", "digest": object["digest"], "sizeBytes": 1}]},
        {"name": "legacy", "objects": [object]},
    ]}))
    .unwrap()
}

fn machine() -> Machine {
    Machine {
        architecture: "amd64".into(),
        kernel: "5.10.226".parse().ok(),
    }
}

/// Why `core` is passed over; none if it is possible.
fn passed_over(requires: Value, answers: &[(&str, Answer)]) -> Option<String> {
    let revision = revision(requires);
    let answers: Answers = variant_questions(&revision)
        .into_iter()
        .filter_map(|question| {
            let given = answers.iter().find(|(text, _)| *text == question.to_string())?;
            Some((question, given.1.clone()))
        })
        .collect();
    let candidates = candidates(&revision, &machine(), &answers);
    assert!(matches!(
        &candidates[1],
        Candidate::PassedOver { no_object: true, .. }
    ));
    assert!(matches!(&candidates[2], Candidate::Possible { .. }));
    match &candidates[0] {
        Candidate::Possible { .. } => None,
        Candidate::PassedOver { why, .. } => Some(why.clone()),
    }
}

#[test]
fn each_requirement_is_met_or_says_what_is_missing() {
    let no = || Answer::No("why".into());
    for (requirement, question) in [
        (json!({"btf": "Kernel"}), "the kernel's own BTF"),
        (json!({"btf": "Any"}), "the kernel's own BTF"),
        (json!({"feature": "map/ringbuf"}), "map/ringbuf"),
        (
            json!({"feature": "helper/bpf_d_path@lsm"}),
            "helper/bpf_d_path@lsm",
        ),
        (
            json!({"function": {"name": "nf_conntrack:nf_conntrack_in", "attach": "Fentry"}}),
            "function nf_conntrack:nf_conntrack_in by fentry",
        ),
        (
            json!({"function": {"name": "do_exit", "attach": "KprobeMulti"}}),
            "function do_exit by kprobe.multi",
        ),
        (
            json!({"tracepoint": {"name": "block/block_rq_issue", "fields": ["dev", "sector"]}}),
            "tracepoint block/block_rq_issue with dev, sector",
        ),
        (json!({"kernelConfig": "CONFIG_BPF_LSM=y"}), "CONFIG_BPF_LSM=y"),
        (json!({"kernelConfig": "CONFIG_BPF_LSM"}), "CONFIG_BPF_LSM"),
    ] {
        let requires = || json!([requirement]);
        assert_eq!(
            passed_over(requires(), &[(question, Answer::Yes)]),
            None,
            "{requirement}"
        );
        let why = passed_over(requires(), &[(question, no())]);
        assert_eq!(why, Some(format!("{question}: why")));
        let unknown = passed_over(requires(), &[(question, Answer::Unknown("dark".into()))]);
        assert_eq!(unknown, Some(format!("{question}: not known: dark")));
        assert!(passed_over(requires(), &[]).unwrap().contains("was not asked"));
    }
}

#[test]
fn architecture_and_kernel_need_no_probe() {
    for (requirement, expected) in [
        (json!({"architecture": "amd64"}), None),
        (
            json!({"architecture": "arm64"}),
            Some("architecture arm64: this node is amd64"),
        ),
        (json!({"kernel": ">=4.18,<6.4"}), None),
        (
            json!({"kernel": ">=5.11"}),
            Some("kernel >=5.11: this one is 5.10.226"),
        ),
    ] {
        assert_eq!(passed_over(json!([requirement]), &[]).as_deref(), expected);
    }
}

#[test]
fn everything_missing_is_named() {
    let requires = json!([{"btf": "Kernel"}, {"architecture": "amd64"}, {"kernel": ">=6"}]);
    let why = passed_over(requires, &[("the kernel's own BTF", Answer::No("none".into()))]);
    assert_eq!(
        why.as_deref(),
        Some("the kernel's own BTF: none; kernel >=6: this one is 5.10.226")
    );
}

#[test]
fn requirements_that_make_no_sense_are_refused_with_what_to_write() {
    let problems =
        |requires: Value| requirement_problems(&serde_json::from_value::<Vec<_>>(requires).unwrap());
    for (requirement, hint) in [
        (json!({}), "set exactly one of"),
        (
            json!({"btf": "Any", "architecture": "amd64"}),
            "set exactly one of",
        ),
        (json!({"feature": "map/ringbuff"}), "did you mean map/ringbuf?"),
        (
            json!({"function": {"name": "f+8", "attach": "Kprobe"}}),
            "leave out the offset",
        ),
        (
            json!({"function": {"name": "f g", "attach": "Kprobe"}}),
            "is no kernel function",
        ),
        (
            json!({"tracepoint": {"name": "sched_switch"}}),
            "is not category/name",
        ),
        (json!({"kernelConfig": "BPF=y"}), "does not begin with CONFIG_"),
        (json!({"kernel": "5.8"}), "as in \">=4.18,<6.4\""),
    ] {
        let problems = problems(json!([{"architecture": "amd64"}, requirement]));
        assert_eq!(problems.len(), 1, "{requirement}");
        assert!(
            problems[0].starts_with("requires[1]: ") && problems[0].contains(hint),
            "{problems:?}"
        );
    }
}
