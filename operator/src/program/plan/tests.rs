use std::{collections::BTreeMap, sync::Arc};

use bpfleet_crds::{
    BpfProgramStatus, BpfRevision, ProgramReason,
    node::{NodeProgram, ProgramStatus},
};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    node::compose,
    program::{
        fixtures::{copy, input, inspected, node, objects, program, revision, row, with},
        input::NodeInput,
        validate::validate,
    },
    view::ConfigMapView,
};

fn accepted_name(input: &Input) -> String {
    validate(input).unwrap().revision
}

#[test]
fn a_new_program_gets_finalizer_revision_copy_and_sources() {
    let input = input();
    let accepted = validate(&input);
    let plan = plan(&input, &accepted);
    let accepted = accepted.unwrap();
    assert!(plan.add_finalizer && !plan.remove_finalizer);
    assert_eq!(plan.create, Some((accepted.revision.clone(), accepted.spec)));
    let digest = accepted.sources[0].digest;
    assert_eq!(
        plan.copies,
        [CopyObject {
            digest,
            revision: accepted.revision.clone(),
            missing: true
        }]
    );
    assert_eq!(plan.sources, Some((accepted.revision.clone(), accepted.sources)));
    assert!(matches!(plan.desired, Desired::Run { revision, .. } if revision == accepted.revision));
}

#[test]
fn a_fault_holds_what_runs_and_gives_new_nodes_what_was_accepted_last() {
    let mut input = input();
    let good = plan(&input, &validate(&input)).desired;
    input.objects = Err(Fault::permanent(ProgramReason::InvalidObject, "not an ELF"));
    let first = plan(&input, &validate(&input));
    assert_eq!(first.desired, Desired::Hold { joining: None });
    assert_eq!((first.create, first.copies, first.sources), (None, vec![], None));
    input.previous = Some(good.clone());
    let held = plan(&input, &validate(&input)).desired;
    assert_eq!(
        held,
        Desired::Hold {
            joining: good.joining()
        }
    );
    // And again, for as long as the fault lasts.
    input.previous = Some(held.clone());
    assert_eq!(plan(&input, &validate(&input)).desired, held);
}

fn deleting() -> Input {
    let mut input = input();
    input.program.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    let time = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    input.program.metadata.deletion_timestamp = Some(time);
    let updated_revision = Some("p-1".to_owned());
    input.program.status = Some(BpfProgramStatus {
        updated_revision,
        ..BpfProgramStatus::default()
    });
    input
}

#[test]
fn a_node_that_reports_nothing_holds_only_what_it_was_to_run() {
    let silent = || with(node("n", None, None), |view| view.generation = 3);
    let holds = |change: &dyn Fn(&mut Input)| {
        let mut input = deleting();
        input.nodes = vec![silent()];
        change(&mut input);
        input.holders().next().is_some()
    };
    assert!(holds(&|_| ()));
    assert!(!holds(&|input| input.program.status = None), "never rolled out");
    let elsewhere = json!({"matchLabels": {"zone": "elsewhere"}});
    assert!(!holds(&|input| {
        input.program.spec.node_selector = serde_json::from_value(elsewhere.clone()).unwrap();
    }));
}

#[test]
fn a_deleted_program_stays_until_live_nodes_have_let_go() {
    let unreachable = |mut input: NodeInput| {
        Arc::make_mut(&mut input.node).ready = false;
        input
    };
    let agentless = |mut input: NodeInput| {
        input.live_agent = false;
        input
    };
    let holding = || node("n", None, Some(row(Some("p-1"), None)));
    for (what, node, holds) in [
        ("attached", holding(), true),
        (
            "being removed",
            node("n", None, Some(row(None, Some("Removing")))),
            true,
        ),
        ("still wanted", node("n", Some("p-1"), None), true),
        (
            "not seen yet",
            with(node("n", None, None), |view| view.generation = 3),
            true,
        ),
        ("gone", node("n", None, None), false),
        ("unreachable", unreachable(holding()), false),
        ("without agent", agentless(holding()), false),
        (
            "another program's",
            with(node("n", None, None), |view| {
                view.rows = vec![ProgramStatus {
                    name: "q".into(),
                    ..row(Some("q-1"), None)
                }];
            }),
            false,
        ),
    ] {
        let mut input = deleting();
        input.nodes = vec![node];
        let plan = plan(&input, &Err(Fault::permanent(ProgramReason::InvalidSpec, "")));
        assert_eq!(plan.remove_finalizer, !holds, "{what}");
        assert_eq!(plan.desired, Desired::Remove, "{what}");
    }
}

#[test]
fn old_revisions_go_but_never_one_that_a_node_knows() {
    let mut input = input();
    input.program = program(&json!({"revisionHistoryLimit": 1}));
    let wanted = accepted_name(&input);
    input.revisions = (0..6)
        .map(|index| revision(&format!("p-{index}"), index, "v0"))
        .collect();
    input.revisions.push(revision(&wanted, -5, "v1"));
    let failing = ProgramStatus {
        failing_revision: Some("p-2".to_owned()),
        ..row(Some("p-1"), Some("VerifierRejected"))
    };
    input.nodes = vec![
        node("a", Some("p-0"), None),
        node("b", Some(&wanted), Some(failing)),
    ];
    // 0, 1 and 2 are known to nodes; of 3, 4 and 5 the newest is kept.
    assert_eq!(plan(&input, &validate(&input)).prune, ["p-4", "p-3"]);
}

#[test]
fn a_lost_copy_is_made_again_and_a_missing_owner_added_also_for_old_revisions() {
    let mut input = input();
    let wanted = accepted_name(&input);
    input.revisions = vec![revision(&wanted, 1, "v1"), revision("p-old", 0, "v0")];
    input.copies = vec![copy("v1", &[&wanted])];
    let copies = |input: &Input| plan(input, &validate(input)).copies;
    let old = Digest::of(b"v0");
    assert_eq!(
        copies(&input),
        [CopyObject {
            digest: old,
            revision: "p-old".to_owned(),
            missing: true
        }]
    );
    input.copies.push(copy("v0", &["another"]));
    assert_eq!(
        copies(&input),
        [CopyObject {
            digest: old,
            revision: "p-old".to_owned(),
            missing: false
        }]
    );
    input.copies.pop();
    input.copies.push(copy("v0", &["another", "p-old"]));
    assert_eq!(copies(&input), []);
}

#[test]
fn sources_follow_the_spec_when_the_content_stays() {
    let mut input = input();
    let wanted = accepted_name(&input);
    let mut known = revision(&wanted, 0, "v1");
    known.status.as_mut().unwrap().sources[0]
        .copied_from
        .as_mut()
        .unwrap()
        .name = "elsewhere".to_owned();
    input.revisions = vec![known];
    assert_eq!(plan(&input, &validate(&input)).sources.unwrap().0, wanted);
}

/// The world after a plan was carried out.
fn carry_out(mut input: Input, plan: &Plan) -> Input {
    if plan.add_finalizer {
        input
            .program
            .metadata
            .finalizers
            .get_or_insert_default()
            .push(FINALIZER.to_owned());
    }
    if let Some((name, spec)) = &plan.create {
        let metadata = revision(name, 1000, "").metadata;
        input.revisions.push(BpfRevision {
            metadata,
            spec: spec.clone(),
            status: None,
        });
    }
    for action in &plan.copies {
        let name = config_map::copy_name(action.digest);
        let uid = format!("{}-uid", action.revision);
        match input.copies.iter_mut().find(|(known, _)| *known == name) {
            Some((_, view)) => Arc::make_mut(view).owners.push(uid),
            None => input.copies.push((
                name,
                Arc::new(ConfigMapView {
                    version: "1".into(),
                    owners: vec![uid],
                }),
            )),
        }
    }
    if let Some((name, sources)) = &plan.sources {
        let known = input
            .revisions
            .iter_mut()
            .find(|known| known.metadata.name.as_ref() == Some(name))
            .unwrap();
        known.status.get_or_insert_default().sources.clone_from(sources);
    }
    input.previous = Some(plan.desired.clone());
    let programs = BTreeMap::from([("p".to_owned(), Some(plan.desired.clone()))]);
    for node in &mut input.nodes {
        if let Some(view) = &mut node.bpf_node {
            let view = Arc::make_mut(view);
            view.programs = compose(&node.node.labels, &view.programs, &programs);
        }
    }
    input.revisions.retain(|known| {
        !plan
            .prune
            .iter()
            .any(|name| known.metadata.name.as_ref() == Some(name))
    });
    if plan.remove_finalizer {
        input.program.metadata.finalizers = None;
    }
    input
}

fn any_node(index: usize) -> impl Strategy<Value = NodeInput> {
    let wanted = prop::option::of(prop::sample::select(vec!["p-0", "p-1"]));
    let attached = prop::option::of(prop::sample::select(vec!["p-0", "p-1", "p-2"]));
    (
        wanted,
        attached,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(move |(wanted, attached, failed, ready, agent, zone)| {
            let reason = failed.then_some("AttachFailed");
            let mut node = node(
                &format!("n{index}"),
                wanted,
                attached.map(|name| row(Some(name), reason)),
            );
            let view = Arc::make_mut(&mut node.node);
            view.ready = ready;
            view.labels
                .insert("zone".to_owned(), if zone { "a" } else { "b" }.to_owned());
            node.live_agent = agent;
            node
        })
}

fn any_input() -> impl Strategy<Value = Input> {
    let nodes = prop::collection::vec(any::<u8>(), 0..6).prop_flat_map(|list| {
        list.into_iter()
            .enumerate()
            .map(|(index, _)| any_node(index))
            .collect::<Vec<_>>()
    });
    let revisions = prop::collection::vec((0i64..4, "v[0-2]"), 0..4);
    (
        nodes,
        revisions,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        0u32..3,
        any::<bool>(),
    )
        .prop_map(|(nodes, revisions, broken, gone, selective, limit, finalizer)| {
            let mut input = input();
            let mut spec = json!({"revisionHistoryLimit": limit});
            if selective {
                spec["nodeSelector"] = json!({"matchLabels": {"zone": "a"}});
            }
            input.program = program(&spec);
            if gone {
                input.program.metadata.deletion_timestamp = deleting().program.metadata.deletion_timestamp;
            }
            if finalizer || gone {
                input.program.metadata.finalizers = Some(vec!["other".to_owned(), FINALIZER.to_owned()]);
            }
            if broken {
                input.objects = Err(Fault::permanent(ProgramReason::InvalidObject, "broken"));
            }
            input.nodes = nodes;
            for (index, (second, content)) in revisions.into_iter().enumerate() {
                input
                    .revisions
                    .push(revision(&format!("p-{index}"), second, &content));
            }
            input
        })
}

proptest! {
    #[test]
    fn a_plan_that_was_carried_out_leaves_nothing_to_do(input in any_input()) {
        let first = plan(&input, &validate(&input));
        let after = carry_out(input, &first);
        // What a plan takes from the nodes can free a revision; that settles in one more turn.
        let second = plan(&after, &validate(&after));
        let after = carry_out(after, &second);
        let third = plan(&after, &validate(&after));
        prop_assert!(third.is_empty(after.previous.as_ref()), "{third:?}");
        prop_assert_eq!(second.desired, first.desired);
        prop_assert!(second.create.is_none() && second.sources.is_none() && !second.add_finalizer);
    }

    #[test]
    fn no_revision_that_a_node_knows_is_pruned(input in any_input()) {
        let plan = plan(&input, &validate(&input));
        for view in input.nodes.iter().filter_map(|node| node.bpf_node.as_ref()) {
            for name in view.revisions() {
                prop_assert!(!plan.prune.iter().any(|pruned| pruned == name));
            }
        }
    }

    #[test]
    fn a_fault_changes_no_node(input in any_input()) {
        let mut input = input;
        input.program.metadata.deletion_timestamp = None;
        input.objects = Err(Fault::transient(ProgramReason::RegistryUnavailable, "down"));
        let before: Vec<Vec<NodeProgram>> =
            input.nodes.iter().filter_map(|node| node.bpf_node.as_ref()).map(|view| view.programs.clone()).collect();
        let plan = plan(&input, &validate(&input));
        let after = carry_out(input, &plan);
        let after: Vec<Vec<NodeProgram>> =
            after.nodes.iter().filter_map(|node| node.bpf_node.as_ref()).map(|view| view.programs.clone()).collect();
        prop_assert_eq!(before, after);
    }
}

#[test]
fn changed_content_is_another_revision() {
    let mut input = input();
    let first = accepted_name(&input);
    let info = inspected(&[("on_exec", "tracepoint/sched/sched_process_exec")]);
    input.objects = Ok(vec![("main".to_owned(), objects("v2", Some(info)))]);
    assert_ne!(accepted_name(&input), first);
}
