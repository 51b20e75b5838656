//! The whole way: from `kubectl apply` to a program in the kernel, and back.

use bpfleet_e2e::{diagnose, target, target::Target};
use serde_json::Value;

use crate::{flow_kernel::*, flow_support::*, operator_support::*};

#[test]
fn from_apply_to_removal_every_event_is_counted_once_also_while_the_agent_is_killed() {
    let world = world();
    let (cluster, kubectl) = (&world.cluster, world.cluster.kubectl());
    let mut rig = Rig::start(cluster, "flow-way");
    let _report = diagnose::on_failure(cluster).about(&["flow-way"]);
    let binary = target::build(rig.node.dir());
    let mut target = Target::start(&binary);
    target.hit(3);

    kubectl.apply(&config_map("flow-way", &hits(1))).unwrap();
    let applied = Applied::new(&kubectl, &hits_program("flow-way", "flow-way", &binary));
    wait_ready(&kubectl, "flow-way");
    let first = wait_updated(cluster, "flow-way", None);
    let before = 3;
    assert_eq!(
        counted(&rig.agent, "flow-way").unwrap(),
        0,
        "what was before is not counted"
    );
    let all = target.hit(100);
    assert_eq!(counted(&rig.agent, "flow-way").unwrap(), all - before);
    assert!(healthy(&rig.wait_row("flow-way", healthy)));

    // SIGKILL: the same link goes on, and the next agent takes it over.
    let link = links(&rig.agent, "flow-way");
    assert_eq!(link.len(), 1);
    let pump = target.pump();
    pump.wait_for(50);
    rig.agent.kill().unwrap();
    pump.wait_for(50);
    has_links(&rig.agent, "flow-way", &link).unwrap();
    rig.agent.restart().unwrap();
    rig.agent.wait_ready(SOON).unwrap();
    rig.wait_logged("adopted", 1);
    pump.wait_for(50);
    let all = pump.stop();
    assert_eq!(
        counted(&rig.agent, "flow-way").unwrap(),
        all - before,
        "an event was lost, or counted twice"
    );
    has_links(&rig.agent, "flow-way", &link).unwrap();

    // Another object: a new revision takes the place of the old one, under the same public path.
    let mut seen = in_kernel(&rig.agent);
    let old = keep_map(&rig.agent, "flow-way", "kept");
    let pump = target.pump();
    kubectl.apply(&config_map("flow-way", &hits(1000))).unwrap();
    let second = wait_updated(cluster, "flow-way", Some(&first));
    wait_ready(&kubectl, "flow-way");
    pump.wait_for(50);
    let all = pump.stop();
    let (by_old, by_new) = (
        counted_at(&old).unwrap(),
        counted(&rig.agent, "flow-way").unwrap(),
    );
    println!(
        "{} events: {by_old} in steps of 1, {by_new} in steps of 1000",
        all - before
    );
    assert_eq!(by_new % 1000, 0);
    assert!(
        by_old + by_new / 1000 >= all - before,
        "an event was lost: {by_old}, {by_new}, {all}"
    );
    assert!(by_new > 0);
    let status = bpf_program(cluster, "flow-way").unwrap().status.unwrap();
    assert_eq!(status.revision.as_ref(), Some(&second));
    let at_rest = counted(&rig.agent, "flow-way").unwrap();
    target.hit(10);
    assert_eq!(
        counted(&rig.agent, "flow-way").unwrap(),
        at_rest + 10_000,
        "only the new one is attached"
    );
    std::fs::remove_file(old).unwrap();

    seen.extend(in_kernel(&rig.agent));
    kubectl.delete("bpfprogram/flow-way", SOON).unwrap();
    wait_gone(&rig.agent, &seen);
    assert_eq!(
        kubectl
            .run(&[
                "get",
                "bpfrevision",
                &first,
                &second,
                "--ignore-not-found",
                "-o",
                "name"
            ])
            .unwrap(),
        ""
    );
    drop(applied);
}

#[test]
fn twenty_healthy_programs_make_a_bpf_node_of_at_most_6_kib() {
    let world = world();
    let (cluster, kubectl) = (&world.cluster, world.cluster.kubectl());
    let _rig = Rig::start(cluster, "flow-twenty");
    let _report = diagnose::on_failure(cluster).about(&["flow-twenty", "flow20"]);
    kubectl
        .apply(&config_map("flow-twenty", &exec_object(0)))
        .unwrap();
    // Each name stands there four times; these are as long as names of such programs are (18 characters).
    let names: Vec<String> = (0..20).map(|n| format!("flow20-biotop-v{n:03}")).collect();
    let _applied: Vec<Applied> = names
        .iter()
        .map(|name| {
            Applied::new(
                &kubectl,
                &program(name, "flow-twenty", from_config_map("flow-twenty")),
            )
        })
        .collect();
    for name in &names {
        wait_ready(&kubectl, name);
    }
    let text = kubectl
        .run(&["get", "--raw", "/apis/bpfleet.io/v1alpha1/bpfnodes/flow-twenty"])
        .unwrap();
    let node: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(node["status"]["counts"]["running"], 20);
    assert_eq!(node["status"]["conditions"][0]["reason"], "AllProgramsRunning");
    let size = text.trim_end().len();
    println!("a BpfNode with 20 healthy programs takes {size} bytes");
    assert!(size <= 6 << 10, "{size} bytes: {node}");
    kubectl
        .run(&["-n", "bpfleet-system", "delete", "configmap", "flow-twenty"])
        .unwrap();
}
