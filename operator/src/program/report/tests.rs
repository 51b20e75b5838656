use std::sync::Arc;

use bpf_object::{CoreKind, CoreRelocation};
use bpfleet_crds::{conditions::find, node::Fact, program::NodeCounts};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::program::{
    fixtures::{input, inspected, node, objects, program, row, with},
    input::NodeInput,
    plan::plan,
    validate::validate,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn status(input: &Input) -> BpfProgramStatus {
    let accepted = validate(input);
    let plan = plan(input, &accepted);
    report(input, &accepted, &plan, &Applied::default(), at(1000))
}

/// A condition as `status/reason`.
fn short(status: &BpfProgramStatus, type_: &str) -> String {
    let condition = find(&status.conditions, type_).unwrap();
    format!("{}/{}", condition.status, condition.reason)
}

fn wanted() -> String {
    validate(&input()).unwrap().revision
}

fn with_nodes(nodes: Vec<NodeInput>) -> Input {
    Input { nodes, ..input() }
}

fn unreachable(mut node: NodeInput) -> NodeInput {
    Arc::make_mut(&mut node.node).ready = false;
    node
}

fn agentless(mut node: NodeInput) -> NodeInput {
    node.live_agent = false;
    node
}

fn good(name: &str) -> NodeInput {
    let wanted = wanted();
    node(name, Some(&wanted), Some(row(Some(&wanted), None)))
}

fn failing(name: &str, reason: &str) -> NodeInput {
    let wanted = wanted();
    let mut row = row(Some("p-old"), Some(reason));
    row.failing_revision = Some(wanted.clone());
    node(name, Some(&wanted), Some(row))
}

#[rstest]
#[case::no_nodes(vec![], "False/NoNodesSelected", "False/Progressing")]
#[case::all_ready(vec![good("a"), good("b")], "True/AllNodesReady", "False/Progressing")]
#[case::unreachable_does_not_hold(vec![good("a"), unreachable(good("b"))], "True/AllNodesReady", "False/Progressing")]
#[case::agentless_does_not_hold(vec![good("a"), agentless(good("b"))], "True/AllNodesReady", "False/Progressing")]
#[case::nobody_live(vec![unreachable(good("a")), agentless(good("b"))], "False/NoLiveAgents", "False/Progressing")]
#[case::one_pending(vec![good("a"), node("b", None, None)], "False/RollingOut", "False/Progressing")]
#[case::one_failed_for_good(vec![good("a"), failing("b", "VerifierRejected")], "False/NodesFailed", "True/NodesFailed")]
#[case::one_failed_for_now(vec![good("a"), failing("b", "TargetNotFound")], "False/NodesFailed", "False/Progressing")]
#[case::one_failed_another_pending(vec![failing("a", "VerifierRejected"), node("b", None, None)], "False/NodesFailed", "False/Progressing")]
fn ready_and_stalled_say_where_the_nodes_stand(
    #[case] nodes: Vec<NodeInput>,
    #[case] ready: &str,
    #[case] stalled: &str,
) {
    let status = status(&with_nodes(nodes));
    assert_eq!(
        (short(&status, READY).as_str(), short(&status, STALLED).as_str()),
        (ready, stalled)
    );
}

#[rstest]
#[case::not_told_yet(node("n", None, Some(row(Some("W"), None))))]
#[case::generation_not_seen(with(good("n"), |view| view.generation = 9))]
#[case::no_row(with(good("n"), |view| view.rows.clear()))]
#[case::hook_missing(with(good("n"), |view| view.rows[0].hooks_attached = 0))]
#[case::old_revision(with(good("n"), |view| view.rows[0].revision = Some("p-old".into())))]
#[case::old_failure(with(failing("n", "LoadFailed"), |view| view.rows[0].failing_revision = Some("p-older".into())))]
#[case::loading(with(good("n"), |view| view.rows[0].reason = Some("Pending".into())))]
#[case::without_bpf_node(NodeInput { bpf_node: None, ..good("n") })]
fn a_node_that_is_not_there_yet_is_never_ready(#[case] node: NodeInput) {
    let status = status(&with_nodes(vec![node]));
    assert_eq!(
        status.nodes,
        Some(NodeCounts {
            selected: 1,
            pending: 1,
            ..NodeCounts::default()
        })
    );
}

#[test]
fn counts_add_up_and_failures_are_grouped() {
    let mut nodes = vec![
        good("a"),
        node("b", None, None),
        unreachable(good("c")),
        agentless(good("d")),
    ];
    nodes.extend(["z", "y", "x"].map(|name| failing(name, "VerifierRejected")));
    nodes.push(failing("w", "LoadFailed"));
    let status = status(&with_nodes(nodes));
    let counts = NodeCounts {
        selected: 8,
        ready: 1,
        pending: 1,
        failed: 4,
        unreachable: 1,
        without_agent: 1,
    };
    assert_eq!(status.nodes, Some(counts));
    let groups: Vec<_> = status
        .failures
        .iter()
        .map(|g| (g.reason.as_str(), g.nodes, g.example_node.as_str()))
        .collect();
    assert_eq!(groups, [("VerifierRejected", 3, "x"), ("LoadFailed", 1, "w")]);
    let ready = find(&status.conditions, READY).unwrap();
    assert!(
        ready
            .message
            .contains("4 of 6 live nodes failed, such as x: VerifierRejected"),
        "{}",
        ready.message
    );
}

#[test]
fn there_are_at_most_eight_groups() {
    let nodes = (0..12)
        .map(|index| failing(&format!("n{index}"), &format!("Reason{index}")))
        .collect();
    assert_eq!(status(&with_nodes(nodes)).failures.len(), 8);
}

#[test]
fn a_fault_is_named_while_the_old_revision_goes_on() {
    let mut input = with_nodes(vec![good("a")]);
    input.program.status = Some(BpfProgramStatus {
        updated_revision: Some(wanted()),
        ..BpfProgramStatus::default()
    });
    input.previous = Some(plan(&input, &validate(&input)).desired);
    input.objects = Err(Fault::permanent(
        ProgramReason::InvalidObject,
        "it is a shell script",
    ));
    let status = status(&input);
    assert_eq!(short(&status, ACCEPTED), "False/InvalidObject");
    assert_eq!(short(&status, COMPATIBLE), "Unknown/NotAccepted");
    assert_eq!(short(&status, READY), "False/NotAccepted");
    assert_eq!(short(&status, STALLED), "True/InvalidObject");
    assert_eq!(status.updated_revision, Some(wanted()));
    assert_eq!(status.nodes.unwrap().ready, 1);
    let message = &find(&status.conditions, READY).unwrap().message;
    assert!(
        message.contains("goes on running") && message.contains("shell script"),
        "{message}"
    );
}

#[test]
fn a_fault_that_may_pass_does_not_stall() {
    let mut input = input();
    input.objects = Err(Fault::transient(
        ProgramReason::RegistryUnavailable,
        "connection refused",
    ));
    let status = status(&input);
    assert_eq!(short(&status, ACCEPTED), "False/RegistryUnavailable");
    assert_eq!(short(&status, STALLED), "False/Progressing");
}

#[test]
fn every_condition_speaks_of_the_generation_that_was_seen() {
    let status = status(&input());
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!(status.conditions.len(), 4);
    assert!(
        status
            .conditions
            .iter()
            .all(|condition| condition.observed_generation == Some(3))
    );
}

#[test]
fn the_same_input_gives_the_same_status_at_any_time() {
    let mut input = with_nodes(vec![
        good("a"),
        failing("b", "LoadFailed"),
        failing("c", "LoadFailed"),
    ]);
    let first = status(&input);
    input.program.status = Some(first.clone());
    input.nodes.reverse();
    let accepted = validate(&input);
    let plan = plan(&input, &accepted);
    let second = report(&input, &accepted, &plan, &Applied::default(), at(9999));
    assert_eq!(second, first);
    assert_eq!(notes(&first, &second), []);
}

#[test]
fn revision_follows_when_all_live_nodes_run_it() {
    let mut input = with_nodes(vec![good("a"), node("b", None, None)]);
    input.program.status = Some(BpfProgramStatus {
        revision: Some("p-old".to_owned()),
        ..BpfProgramStatus::default()
    });
    assert_eq!(status(&input).revision.as_deref(), Some("p-old"));
    input.nodes = vec![good("a"), good("b"), unreachable(node("c", None, None))];
    let status = status(&input);
    assert_eq!(
        (status.revision, status.updated_revision),
        (Some(wanted()), Some(wanted()))
    );
}

#[test]
fn a_deletion_counts_who_holds_it() {
    let mut input = with_nodes(vec![good("a"), good("b")]);
    input.program.metadata.deletion_timestamp =
        Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    let status = status(&input);
    assert_eq!(short(&status, READY), "False/Deleting");
    let message = &find(&status.conditions, READY).unwrap().message;
    assert_eq!(message, "waiting for 2 nodes to let go of it, such as a");
}

#[test]
fn a_write_that_failed_is_not_reported_as_done() {
    let input = with_nodes(vec![good("a")]);
    let accepted = validate(&input);
    let plan = plan(&input, &accepted);
    let applied = Applied {
        failure: Some("cannot create BpfRevision p-1: timeout".to_owned()),
        warnings: Vec::new(),
    };
    let status = report(&input, &accepted, &plan, &applied, at(1));
    assert_eq!(short(&status, READY), "False/ApiUnavailable");
    assert_eq!(status.updated_revision, None);
}

/// A relocation of this program.
fn field_of(program: &str) -> CoreRelocation {
    CoreRelocation {
        section: "tp/sched/sched_switch".into(),
        instruction_offset: 0,
        program: Some(program.into()),
        kind: CoreKind::FieldByteOffset,
        type_keyword: "struct",
        type_name: "task_struct".into(),
        access: "0:1".into(),
        field_path: "task_struct.tgid".into(),
        source_line: None,
    }
}

fn compatible(spec: &Value, objects_of: &[(&str, &[(&str, &str)])], node: NodeInput) -> (String, String) {
    let mut input = with_nodes(vec![node]);
    input.program = program(spec);
    input.objects = Ok(objects_of
        .iter()
        .map(|(name, programs)| ((*name).to_owned(), objects(name, Some(inspected(programs)))))
        .collect());
    let status = status(&input);
    let message = find(&status.conditions, COMPATIBLE).unwrap().message.clone();
    (short(&status, COMPATIBLE), message)
}

#[test]
fn a_variant_or_alternative_that_the_node_can_use_makes_it_compatible_and_else_each_says_why_not() {
    let ringbuf: bpfleet_fit::feature::Feature = "map/ringbuf".parse().unwrap();
    let old = || {
        with(node("n", None, None), |view| {
            view.btf = Fact::No;
            view.missing = [ringbuf].into();
            view.kernel_version = "5.4.0".parse().ok();
        })
    };
    let object = json!({"configMap": {"name": "m", "key": "k"}});
    let variant = |name: &str, requires: Value| json!({"name": name, "object": object, "requires": requires});
    let trace: &[(&str, &str)] = &[("t", "tp/sched/sched_switch")];
    let ring = variant("ring", json!([{"feature": "map/ringbuf"}]));
    let (verdict, message) = compatible(&json!({"variants": [ring]}), &[("ring", trace)], old());
    assert_eq!(verdict, "False/IncompatibleNodes");
    assert!(
        message.contains("map/ringbuf: kernel 6.1.0 has no map/ringbuf"),
        "{message}"
    );

    let legacy = variant("legacy", json!([{"kernel": ">=4.18"}]));
    let both = json!({"variants": [ring, legacy]});
    let (verdict, _) = compatible(&both, &[("ring", trace), ("legacy", trace)], old());
    assert_eq!(verdict, "True/AllNodesCompatible");

    let unlink = |alternatives: Value| json!({"hooks": [{"name": "unlink", "anyOf": alternatives}]});
    let programs: &[(&str, &str)] = &[("enter", "fentry/do_unlinkat"), ("probe", "kprobe/do_unlinkat")];
    let spec = unlink(json!([{"program": "enter"}, {"program": "probe"}]));
    assert_eq!(
        compatible(&spec, &[("main", programs)], old()).0,
        "True/AllNodesCompatible"
    );
    let spec = unlink(json!([{"program": "enter"}]));
    let (verdict, message) = compatible(&spec, &[("main", programs)], old());
    assert_eq!(verdict, "False/IncompatibleNodes");
    assert!(
        message.contains("hook unlink: program enter: kernel 6.1.0 carries no BTF"),
        "{message}"
    );
}

#[rstest]
#[case::fits(Fact::Yes, false, &[("t", "tp_btf/sched_switch")], "True/AllNodesCompatible")]
#[case::no_btf_not_needed(Fact::No, false, &[("t", "tp/sched/sched_switch")], "True/AllNodesCompatible")]
#[case::no_btf_to_relocate(Fact::No, true, &[("t", "tp/sched/sched_switch")], "False/IncompatibleNodes")]
#[case::no_btf_to_attach(Fact::No, false, &[("t", "tp_btf/sched_switch")], "False/IncompatibleNodes")]
#[case::not_known(Fact::Unknown, true, &[("t", "tp_btf/sched_switch")], "True/AllNodesCompatible")]
fn compatible_is_told_from_what_nodes_report(
    #[case] btf: Fact,
    #[case] relocation: bool,
    #[case] programs: &[(&str, &str)],
    #[case] expected: &str,
) {
    let mut input = with_nodes(vec![with(node("n", None, None), |view| view.btf = btf)]);
    let mut inspected = (*inspected(programs)).clone();
    inspected
        .co_re
        .extend(relocation.then(|| field_of(&inspected.programs[0].name)));
    input.objects = Ok(vec![(
        "main".to_owned(),
        objects("v1", Some(Arc::new(inspected))),
    )]);
    assert_eq!(short(&status(&input), COMPATIBLE), expected);
}

#[test]
fn a_node_of_an_architecture_without_object_is_incompatible() {
    let mut input = with_nodes(vec![with(node("n", None, None), |view| {
        view.architecture = Some("riscv64".into());
    })]);
    let Ok(all) = &mut input.objects else {
        unreachable!()
    };
    all[0].1.objects[0].object.architecture = Some("amd64".to_owned());
    let status = status(&input);
    assert_eq!(short(&status, COMPATIBLE), "False/IncompatibleNodes");
    assert!(
        find(&status.conditions, COMPATIBLE)
            .unwrap()
            .message
            .contains("none for riscv64")
    );
}

#[test]
fn facts_that_no_node_has_told_leave_it_open() {
    let input = with_nodes(vec![with(node("n", None, None), |view| view.architecture = None)]);
    assert_eq!(short(&status(&input), COMPATIBLE), "Unknown/Pending");
}

#[test]
fn events_tell_what_turned_and_a_lost_source() {
    let before = BpfProgramStatus::default();
    let first = status(&with_nodes(vec![good("a")]));
    let reasons: Vec<_> = notes(&before, &first)
        .into_iter()
        .map(|note| (note.warning, note.reason))
        .collect();
    let expected = [
        (false, "Valid"),
        (false, "AllNodesCompatible"),
        (false, "AllNodesReady"),
        (false, "RevisionCreated"),
    ];
    assert_eq!(
        reasons,
        expected.map(|(warning, reason)| (warning, reason.to_owned()))
    );

    let mut input = with_nodes(vec![good("a")]);
    input.program.status = Some(first.clone());
    let Ok(all) = &mut input.objects else {
        unreachable!()
    };
    all[0].1.warning = Some("there is no ConfigMap m; what it held is kept and goes on running".to_owned());
    let second = status(&input);
    let lost = notes(&first, &second);
    assert_eq!(lost.len(), 1);
    assert!(lost[0].warning && lost[0].reason == "SourceGone" && lost[0].message.contains("no ConfigMap m"));
    assert_eq!(notes(&second, &second), []);
}

#[test]
fn a_selector_that_selects_nothing_says_so() {
    let mut input = with_nodes(vec![good("a")]);
    input.program = program(&json!({"nodeSelector": {"matchLabels": {"zone": "none"}}}));
    let status = status(&input);
    assert_eq!(short(&status, READY), "False/NoNodesSelected");
    assert!(
        find(&status.conditions, READY)
            .unwrap()
            .message
            .contains("1 node no longer selected"),
        "{status:?}"
    );
}
