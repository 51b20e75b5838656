//! The API server is away: what runs runs on.

use std::time::Duration;

use bpfleet_e2e::{Cluster, diagnose, target, target::Target, wait};

use crate::{flow_kernel::*, flow_support::*, operator_support::*};

/// Longer than clients wait for an answer, so that every watch breaks.
const AWAY: Duration = Duration::from_secs(20);

#[test]
fn without_the_api_server_events_are_counted_and_a_killed_agent_adopts_and_nothing_is_reloaded() {
    let cluster = Cluster::start().unwrap();
    let operator = start_operator(&cluster, "operator", &[]);
    let kubectl = cluster.kubectl();
    let mut rig = Rig::start(&cluster, "flow-away");
    let report = diagnose::on_failure(&cluster);
    let binary = target::build(rig.node.dir());
    let mut target = Target::start(&binary);
    kubectl.apply(&config_map("flow-away", &hits(1))).unwrap();
    let applied = Applied::new(&kubectl, &hits_program("flow-away", "flow-away", &binary));
    wait_ready(&kubectl, "flow-away");
    let first = wait_updated(&cluster, "flow-away", None);
    let link = links(&rig.agent, "flow-away");
    let pump = target.pump();

    let before = writes(&cluster, "flow-away").len();
    cluster.plane().kill_api_server().unwrap();
    wait::holds("the program runs on", AWAY / 2, || {
        has_links(&rig.agent, "flow-away", &link)
    })
    .unwrap();
    rig.agent.kill().unwrap();
    rig.agent.restart().unwrap();
    rig.agent.wait_ready(SOON).unwrap();
    rig.wait_logged("adopted", 1);
    let mut last = counted(&rig.agent, "flow-away").unwrap();
    wait::holds("the program runs on", AWAY / 2, || {
        pump.wait_for(10);
        has_links(&rig.agent, "flow-away", &link)?;
        let now = counted(&rig.agent, "flow-away")?;
        let moved = now >= last + 10;
        let told = format!("{last}, then {now}");
        last = now;
        if moved { Ok(()) } else { Err(told) }
    })
    .unwrap();
    operator
        .process()
        .check("the operator outlives the API server")
        .unwrap();
    assert!(leads(&operator).is_err(), "its Lease has run out");
    cluster.plane().start_api_server().unwrap();

    // The operator leads again, and all is as it was.
    operator.wait_ready(SOON).unwrap();
    wait::until("the operator to lead", SOON, || leads(&operator)).unwrap();
    wait_ready(&kubectl, "flow-away");
    // The agent watches again: it puts right what it finds wrong.
    let patch = [
        "patch",
        "bpfnode",
        "flow-away",
        "--subresource=status",
        "--type=json",
        "-p",
    ];
    kubectl
        .run(&[&patch[..], &[r#"[{"op": "remove", "path": "/status"}]"#]].concat())
        .unwrap();
    rig.wait_row("flow-away", healthy);
    wait::holds("nothing is reloaded", A_WHILE, || {
        has_links(&rig.agent, "flow-away", &link)
    })
    .unwrap();
    let all = pump.stop();
    assert_eq!(counted(&rig.agent, "flow-away").unwrap(), all);
    let more = writes(&cluster, "flow-away").split_off(before);
    println!("{} writes after the API server came back: {more:?}", more.len());
    assert!(more.len() <= 4, "{more:#?}");

    // And everything works.
    kubectl.apply(&config_map("flow-away", &hits(1000))).unwrap();
    wait_updated(&cluster, "flow-away", Some(&first));
    wait_ready(&kubectl, "flow-away");
    let seen = in_kernel(&rig.agent);
    kubectl.delete("bpfprogram/flow-away", SOON).unwrap();
    wait_gone(&rig.agent, &seen);
    drop((applied, report));
}
