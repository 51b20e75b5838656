//! Leaving with one node dead and the operator gone: nobody is kept, the node is named and cleaned later.

use std::time::Duration;

use bpfleet_e2e::{
    real::{NodeOptions, RealCluster, RealOptions, diagnose},
    wait,
};

use crate::support::*;

#[test]
fn a_dead_node_and_an_operator_that_is_gone_hold_up_nobody() {
    let options = RealOptions {
        node_grace: Some(Duration::from_secs(10)),
        ..RealOptions::with_nodes(["node1", "node2", "doomed"].map(NodeOptions::named))
    };
    let cluster = &RealCluster::start(&options).unwrap();
    let _report = diagnose::on_failure(cluster).about(&["bpf"]);
    let kubectl = cluster.kubectl();
    push_images(cluster, &[VERSION]);
    // The operator runs where it cannot be ended later.
    kubectl.run(&["cordon", "node1", "node2"]).unwrap();
    install(cluster, &chart(), &[]).unwrap();
    kubectl.run(&["uncordon", "node1", "node2"]).unwrap();
    place_target(cluster);
    let hits = writes_program(cluster, "hits");
    kubectl.apply(&hits.to_string()).unwrap();
    wait_ready(cluster, "hits");
    let alive: Vec<_> = ["node1", "node2"].map(|name| cluster.node(name).unwrap()).into();
    let pins: Vec<_> = alive.iter().map(|node| pinned(node)).collect();

    // Its kubelet falls silent; the operator there, its agent and its kernel go on.
    let doomed = cluster.node("doomed").unwrap();
    let there = pinned(doomed);
    doomed.stop_kubelet().unwrap();
    wait_condition(cluster, "node/doomed", "Ready", "Unknown");
    // It is no reason not to be Ready.
    wait_ready(cluster, "hits");
    kubectl
        .run(&["-n", NAMESPACE, "delete", "deployment/bpfleet-operator", "--wait"])
        .unwrap();
    // An agent of a silent node may still reach the API, and would do as it is told. This one cannot.
    doomed
        .run(&["pkill", "-KILL", "-f", "^/bpfleet-agent serve"])
        .unwrap();
    assert!(
        doomed.run(&["pgrep", "-f", "^/bpfleet-operator serve"]).is_ok(),
        "the operator is to be alive where nobody can end it"
    );

    let said = helm(cluster, "uninstall", &["--wait", "--timeout", "240s", "--debug"]).unwrap();
    println!("{said}");
    for (node, pins) in alive.iter().zip(&pins) {
        wait_gone(pins);
        wait::until(format!("{} to be clean", node.name()), SOON, || {
            match leftovers(node) {
                left if left.is_empty() => Ok(()),
                left => Err(format!("{left:?}")),
            }
        })
        .unwrap();
    }
    delete_crds(cluster);

    // What is left of it is cleaned on the node itself, with nobody to ask.
    assert_eq!(pinned(doomed), there, "nobody was there to remove it");
    let agent = bpfleet_e2e::binaries::find("bpfleet-agent").unwrap();
    let said = doomed.run(&[agent.to_str().unwrap(), "cleanup"]).unwrap();
    assert!(said.contains("removed program hits"), "{said}");
    wait_gone(&there);
}
