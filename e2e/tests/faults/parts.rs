//! Parts of the installation that are missing, or that somebody deletes.

use bpfleet_e2e::{
    real::{RealCluster, RealOptions, diagnose},
    wait,
};
use serde_json::{Value, json};

use crate::support::*;

fn own(cluster: &RealCluster, object: &str) -> Result<Value, String> {
    cluster
        .kubectl()
        .get_json(&["-n", NAMESPACE, object])
        .map_err(|error| error.to_string())
}

/// Another object for a program: every node has to fetch it, and so to reach the operator.
fn update(cluster: &RealCluster, name: &str, step: u32) {
    let before = cluster.kubectl().get_json(&["bpfprogram", name]).unwrap()["status"]["revision"].clone();
    put_object(cluster, name, &writes(step));
    wait::until(format!("step {step} of {name} on every node"), SOON * 2, || {
        let status = cluster
            .kubectl()
            .get_json(&["bpfprogram", name])
            .map_err(|error| error.to_string())?["status"]
            .take();
        if status["revision"] != before && status["revision"] == status["updatedRevision"] {
            Ok(())
        } else {
            Err(format!("{status}"))
        }
    })
    .unwrap();
}

#[test]
fn what_is_missing_is_named_and_what_is_deleted_comes_back() {
    let cluster = &RealCluster::start(&RealOptions::default()).unwrap();
    let _report = diagnose::on_failure(cluster).about(&["bpf"]);
    let kubectl = cluster.kubectl();
    push_images(cluster, &[VERSION]);
    place_target(cluster);

    // ---- a namespace that Pod Security protects: nothing is installed, and the way out is said
    let restricted = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE,
        "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    kubectl.apply(&restricted.to_string()).unwrap();
    let said = install(cluster, &chart(), &[]).unwrap_err();
    let way_out = format!(
        "kubectl label --overwrite namespace {NAMESPACE} pod-security.kubernetes.io/enforce=privileged"
    );
    assert!(said.contains(&way_out), "{said}");
    let words: Vec<&str> = way_out.split(' ').skip(1).collect();
    kubectl.run(&words).unwrap();

    // ---- the agent's image is missing
    let arguments = ["--set", "agent.image.tag=nonesuch", "--wait=false"];
    install(cluster, &chart(), &arguments).unwrap();
    let hits = writes_program(cluster, "hits");
    kubectl.apply(&hits.to_string()).unwrap();
    let said = wait_condition(cluster, "bpfprogram/hits", "Ready", "False/NoLiveAgents");
    assert!(said.contains('2'), "{said}");
    // Its own time-out ends the test of the chart; the table names both nodes.
    let said = helm(cluster, "test", &["--logs", "--timeout", "120s"]).unwrap_err();
    let logs = kubectl
        .run(&["-n", NAMESPACE, "logs", "bpfleet-verify"])
        .unwrap_or_default();
    assert!(
        logs.contains("node1, node2: no Ready agent"),
        "helm test: {said}\nlogs: {logs}"
    );
    install(cluster, &chart(), &[]).unwrap();
    wait_ready(cluster, "hits");

    // ---- the CA's Secret and the published address are deleted: both are back, and agents fetch on
    let secret = own(cluster, "secret/bpfleet-artifacts-tls").unwrap();
    kubectl
        .run(&[
            "-n",
            NAMESPACE,
            "delete",
            "secret/bpfleet-artifacts-tls",
            "configmap/bpfleet-artifacts",
        ])
        .unwrap();
    let again = wait::until("the Secret to be back", SOON, || {
        own(cluster, "secret/bpfleet-artifacts-tls")
    })
    .unwrap();
    assert_eq!(secret["data"], again["data"], "agents trust this CA already");
    update(cluster, "hits", 10);

    // ---- the Service is made again with another address
    let service = own(cluster, "service/bpfleet-artifacts").unwrap();
    let address = service["spec"]["clusterIP"].clone();
    let mut anew = service.clone();
    anew["metadata"] = json!({"name": "bpfleet-artifacts", "namespace": NAMESPACE,
        "labels": service["metadata"]["labels"], "annotations": service["metadata"]["annotations"]});
    for field in ["clusterIP", "clusterIPs"] {
        anew["spec"].as_object_mut().unwrap().remove(field);
    }
    anew.as_object_mut().unwrap().remove("status");
    kubectl
        .run(&["-n", NAMESPACE, "delete", "service/bpfleet-artifacts"])
        .unwrap();
    // Somebody else has the old address now.
    let squatter = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "squatter", "namespace": NAMESPACE},
        "spec": {"clusterIP": address, "ports": [{"port": 8443}]}});
    kubectl.apply(&squatter.to_string()).unwrap();
    kubectl.apply(&anew.to_string()).unwrap();
    let moved = own(cluster, "service/bpfleet-artifacts").unwrap()["spec"]["clusterIP"].clone();
    assert_ne!(moved, address);
    wait::until("the new address to be published", SOON, || {
        let published = own(cluster, "configmap/bpfleet-artifacts")?["data"]["address"].clone();
        let expected = format!("{}:8443", moved.as_str().unwrap());
        if published == expected.as_str() {
            Ok(())
        } else {
            Err(format!("{published}"))
        }
    })
    .unwrap();
    update(cluster, "hits", 100);

    let said = helm(cluster, "test", &["--logs", "--timeout", "120s"]).unwrap();
    assert!(said.contains("Succeeded"), "{said}");

    // ---- a uprobe wants more than the default gives, and says what
    kubectl
        .apply(&hits_program(cluster, "uprobe").to_string())
        .unwrap();
    let refused = wait_row(cluster, "node1", "uprobe", |row| row["reason"] == "AttachFailed");
    assert!(
        refused.to_string().contains("agent.privileges=SysAdmin"),
        "{refused}"
    );
    // As agent.privileges=SysAdmin does, without SYS_RESOURCE: nobody can give that where these tests may run.
    let more = ["--set", "agent.extraCapabilities={SYS_ADMIN}"];
    install(cluster, &chart(), &more).unwrap();
    wait_ready(cluster, "uprobe");
    for node in cluster.nodes() {
        assert_eq!(
            start_target(node).hit(5),
            counted(node, "uprobe"),
            "{}",
            node.name()
        );
    }
}
