//! Nodes that come, go and change, and BpfNodes that somebody edits.

use bpfleet_e2e::{diagnose, target, target::Target, wait};
use serde_json::json;

use crate::{flow_kernel::*, flow_support::*, operator_support::*};

#[test]
fn a_bpf_node_that_somebody_edits_or_deletes_comes_back_and_nothing_is_detached() {
    let world = world();
    let (cluster, kubectl) = (&world.cluster, world.cluster.kubectl());
    let rig = Rig::start(cluster, "flow-hand");
    let _report = diagnose::on_failure(cluster).about(&["flow-hand"]);
    let binary = target::build(rig.node.dir());
    let mut target = Target::start(&binary);
    kubectl.apply(&config_map("flow-hand", &hits(1))).unwrap();
    let _applied = Applied::new(&kubectl, &hits_program("flow-hand", "flow-hand", &binary));
    wait_ready(&kubectl, "flow-hand");
    let row = rig.wait_row("flow-hand", healthy);
    let link = links(&rig.agent, "flow-hand");
    let pump = target.pump();

    let lie = json!({"status": {"programs": [{"name": "lie", "hooksAttached": 7, "hooksWanted": 7}], "agentVersion": "0"}});
    let patch = [
        "patch",
        "bpfnode",
        "flow-hand",
        "--subresource=status",
        "--type=merge",
        "-p",
    ];
    kubectl.run(&[&patch[..], &[&lie.to_string()]].concat()).unwrap();
    assert_eq!(rig.wait_row("flow-hand", healthy), row);
    rig.wait_no_row("lie");
    kubectl
        .run(&[
            "patch",
            "bpfnode",
            "flow-hand",
            "--subresource=status",
            "--type=json",
            "-p",
            r#"[{"op": "remove", "path": "/status"}]"#,
        ])
        .unwrap();
    assert_eq!(rig.wait_row("flow-hand", healthy), row);

    let old = rig.bpf_node().unwrap().metadata.uid;
    kubectl.run(&["delete", "bpfnode", "flow-hand"]).unwrap();
    wait::until("the BpfNode to be back", SOON, || {
        let node = rig.bpf_node()?;
        if node.metadata.uid != old && node.status.is_some() {
            Ok(())
        } else {
            Err(format!("{node:?}"))
        }
    })
    .unwrap();
    assert_eq!(rig.wait_row("flow-hand", healthy), row);
    wait_ready(&kubectl, "flow-hand");
    wait::holds("nothing is detached", A_WHILE, || {
        has_links(&rig.agent, "flow-hand", &link)
    })
    .unwrap();
    let all = pump.stop();
    assert_eq!(counted(&rig.agent, "flow-hand").unwrap(), all);

    // An entry that nobody decided on goes; the others are untouched.
    let programs = json!([{"name": "flow-hand", "revision": row.revision}, {"name": "intruder", "revision": "intruder-1"}]);
    let patch = json!({"spec": {"programs": programs}}).to_string();
    kubectl
        .run(&["patch", "bpfnode", "flow-hand", "--type=merge", "-p", &patch])
        .unwrap();
    wait::until("the intruder to go", SOON, || {
        match wanted(&kubectl, "flow-hand", "intruder") {
            None => Ok(()),
            Some(revision) => Err(revision),
        }
    })
    .unwrap();
    rig.wait_no_row("intruder");
    wait_ready(&kubectl, "flow-hand");
    has_links(&rig.agent, "flow-hand", &link).unwrap();

    // An entry that was taken away comes back, and the program with it.
    kubectl
        .run(&[
            "patch",
            "bpfnode",
            "flow-hand",
            "--type=merge",
            "-p",
            r#"{"spec": {"programs": []}}"#,
        ])
        .unwrap();
    assert_eq!(
        wait_wanted(&kubectl, "flow-hand", "flow-hand", None),
        row.revision.clone().unwrap()
    );
    wait::until("the program to run again", SOON, || {
        let node = rig.bpf_node()?;
        let status = node.status.unwrap_or_default();
        let current = status.observed_generation == node.metadata.generation;
        if current && status.programs == [row.clone()] {
            Ok(())
        } else {
            Err(format!("{:?}", status.programs))
        }
    })
    .unwrap();
    let before = counted(&rig.agent, "flow-hand").unwrap();
    target.hit(5);
    assert_eq!(counted(&rig.agent, "flow-hand").unwrap(), before + 5);
}

#[test]
fn a_deletion_does_not_wait_for_an_agent_that_is_down_which_cleans_up_when_it_is_back() {
    let world = world();
    let (cluster, kubectl) = (&world.cluster, world.cluster.kubectl());
    let mut rig = Rig::start(cluster, "flow-down");
    let _report = diagnose::on_failure(cluster).about(&["flow-down"]);
    let binary = target::build(rig.node.dir());
    kubectl.apply(&config_map("flow-down", &hits(1))).unwrap();
    let _applied = Applied::new(&kubectl, &hits_program("flow-down", "flow-down", &binary));
    wait_ready(&kubectl, "flow-down");
    let (link, seen) = (links(&rig.agent, "flow-down"), in_kernel(&rig.agent));

    rig.agent.kill().unwrap();
    rig.node.set_agent_ready(false).unwrap();
    wait_condition(&kubectl, "flow-down", "Ready", "False/NoLiveAgents");
    kubectl.delete("bpfprogram/flow-down", SOON).unwrap();
    has_links(&rig.agent, "flow-down", &link).unwrap();

    rig.agent.restart().unwrap();
    rig.node.set_agent_ready(true).unwrap();
    wait_gone(&rig.agent, &seen);
    rig.wait_no_row("flow-down");
}

#[test]
fn a_node_that_leaves_the_cluster_holds_up_no_deletion() {
    let world = world();
    let (cluster, kubectl) = (&world.cluster, world.cluster.kubectl());
    let (stays, leaves) = (
        Rig::start(cluster, "flow-stays"),
        Rig::start(cluster, "flow-leaves"),
    );
    let _report = diagnose::on_failure(cluster).about(&["flow-stays", "flow-leaves"]);
    for rig in [&stays, &leaves] {
        rig.node.label(&json!({"flow": "leaving"})).unwrap();
    }
    let binary = target::build(stays.node.dir());
    kubectl.apply(&config_map("flow-leaving", &hits(1))).unwrap();
    let mut program = hits_program("flow-leaving", "", &binary);
    program["spec"]["nodeSelector"] = json!({"matchLabels": {"flow": "leaving"}});
    let _applied = Applied::new(&kubectl, &program);
    wait_ready(&kubectl, "flow-leaving");
    for rig in [&stays, &leaves] {
        rig.wait_row("flow-leaving", healthy);
    }
    let seen = in_kernel(&stays.agent);
    // Its agent is not there to let go.
    leaves.agent.kill().unwrap();
    leaves.node.remove().unwrap();
    kubectl.delete("bpfprogram/flow-leaving", SOON).unwrap();
    wait_gone(&stays.agent, &seen);
}

#[test]
fn a_changed_node_selector_moves_the_program_to_another_node() {
    let world = world();
    let (cluster, kubectl) = (&world.cluster, world.cluster.kubectl());
    let (from, to) = (Rig::start(cluster, "flow-from"), Rig::start(cluster, "flow-to"));
    let _report = diagnose::on_failure(cluster).about(&["flow-from", "flow-to", "flow-moves"]);
    let binary = target::build(from.node.dir());
    let mut target = Target::start(&binary);
    kubectl.apply(&config_map("flow-moves", &hits(1))).unwrap();
    let _applied = Applied::new(&kubectl, &hits_program("flow-moves", "flow-from", &binary));
    wait_ready(&kubectl, "flow-moves");
    let revision = wait_updated(cluster, "flow-moves", None);
    let seen = in_kernel(&from.agent);
    assert!(in_kernel(&to.agent).is_empty());

    kubectl
        .apply(&hits_program("flow-moves", "flow-to", &binary).to_string())
        .unwrap();
    wait_gone(&from.agent, &seen);
    let row = to.wait_row("flow-moves", healthy);
    assert_eq!(
        row.revision,
        Some(revision),
        "where it runs is no part of what runs"
    );
    from.wait_no_row("flow-moves");
    wait_ready(&kubectl, "flow-moves");
    target.hit(5);
    assert_eq!(counted(&to.agent, "flow-moves").unwrap(), 5);

    // A label that goes takes it away as well.
    let seen = in_kernel(&to.agent);
    to.node
        .label(&json!({"kubernetes.io/hostname": "elsewhere"}))
        .unwrap();
    wait_gone(&to.agent, &seen);
    wait_condition(&kubectl, "flow-moves", "Ready", "False/NoNodesSelected");
}
