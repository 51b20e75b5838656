//! `bpfleet-operator uninstall`, where nothing of Kubernetes runs but its API: nodes live, away and without an agent.

use std::process::Command;

use bpfleet_e2e::{Cluster, Operator, OperatorOptions, binaries, diagnose};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::{flow_kernel::*, flow_support::*, operator_support::*};

fn uninstall(cluster: &Cluster, timeout: &str) -> (bool, String) {
    let output = Command::new(binaries::find("bpfleet-operator").unwrap())
        .args(["uninstall", "--timeout", timeout])
        .env("KUBECONFIG", cluster.plane().admin_kubeconfig())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn live_nodes_are_emptied_the_others_named_and_every_object_let_go() {
    let cluster = &Cluster::start().unwrap();
    let kubectl = cluster.kubectl();
    let operator = Operator::start(cluster, &OperatorOptions::default()).unwrap();
    let (live, away, bare) = (
        Rig::start(cluster, "live"),
        Rig::start(cluster, "away"),
        Rig::start(cluster, "bare"),
    );
    let _report = diagnose::on_failure(cluster).about(&["live", "away", "bare"]);
    kubectl.apply(&config_map("everywhere", &exec_object(0))).unwrap();
    let program = json!({"apiVersion": "bpfleet.io/v1alpha1", "kind": "BpfProgram", "metadata": {"name": "everywhere"},
        "spec": {"variants": [{"name": "main", "object": from_config_map("everywhere")}]}});
    kubectl.apply(&program.to_string()).unwrap();
    wait_ready(&kubectl, "everywhere");
    let pinned = in_kernel(&live.agent);
    // Their agents cannot be reached; the kernels of these nodes go on.
    away.agent.kill().unwrap();
    away.node.set_node_ready(false).unwrap();
    bare.agent.kill().unwrap();
    bare.node.set_agent_ready(false).unwrap();
    // Nor can the operator: there is nobody to end its pod. It must not tell the nodes again what to run.
    leads(&operator).unwrap();

    // An agent that hangs is waited for, and then named; nobody is kept from leaving.
    live.agent.process().signal(Signal::SIGSTOP).unwrap();
    let (ok, said) = uninstall(cluster, "2s");
    assert!(
        ok && said.contains("live: its agent has not removed everywhere"),
        "{said}"
    );
    live.agent.process().signal(Signal::SIGCONT).unwrap();

    let (ok, said) = uninstall(cluster, "60s");
    assert!(ok, "{said}");
    for line in [
        "there is no Deployment bpfleet-operator any more",
        "told 3 nodes to run nothing",
        "let go of 1 BpfProgram;",
        "not clean: 2 nodes",
        "away: Kubernetes does not hear from it",
        "bare: no agent is Ready there",
        "bpfleet-agent cleanup",
    ] {
        assert!(said.contains(line), "{line:?} is not in\n{said}");
    }
    assert!(!said.contains("live:"), "{said}");
    wait_gone(&live.agent, &pinned);
    for node in [&live, &away, &bare] {
        assert!(node.bpf_node().unwrap().spec.programs.is_empty());
    }
    let left = bpf_program(cluster, "everywhere").unwrap();
    assert_eq!(left.metadata.finalizers.unwrap_or_default(), Vec::<String>::new());
    assert!(condition(&kubectl, "everywhere", "Ready").starts_with("False/Uninstalled"));
    for object in [
        "configmap/bpfleet-artifacts",
        "secret/bpfleet-artifacts-tls",
        "lease/bpfleet-operator",
    ] {
        let found = kubectl
            .run(&["-n", "bpfleet-system", "get", object, "--ignore-not-found"])
            .unwrap();
        assert_eq!(found, "", "{object} is left");
    }

    assert!(leads(&operator).is_err(), "its Lease was taken away");
    operator.stop().unwrap();

    // The next agent has nothing to run, and leaves nothing when it ends.
    let root = live.agent.pin_root();
    live.agent.stop().unwrap();
    assert!(!root.exists(), "{} is left", root.display());
    let cache = live.agent.cache_dir();
    assert!(!cache.exists(), "{} is left", cache.display());

    // Once more, as when somebody tries again: nothing is in the way, also not the CRDs.
    let (ok, said) = uninstall(cluster, "5s");
    assert!(ok, "{said}");
    let crds = ["bpfprograms", "bpfrevisions", "bpfnodes"].map(|name| format!("{name}.bpfleet.io"));
    let delete = [
        &["delete", "crd", "--timeout=30s"][..],
        &crds.each_ref().map(String::as_str),
    ]
    .concat();
    kubectl.run(&delete).unwrap();
    let (ok, said) = uninstall(cluster, "5s");
    assert!(ok, "without the CRDs there is nothing to let go of: {said}");
}
