//! In, up and out: install, run, upgrade without losing an event, uninstall without a trace.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use bpfleet_e2e::{
    real::{RealCluster, RealOptions, diagnose},
    wait,
};
use serde_json::{Value, json};

use crate::support::*;

/// A copy of the chart as an earlier version had it: another version, and CRDs without what came since. To an upgrade
/// it does not matter which field that is.
fn earlier_chart(scratch: &Path, version: &str) -> PathBuf {
    let copy = scratch.join("earlier-chart");
    let status = std::process::Command::new("cp")
        .arg("-r")
        .arg(chart())
        .arg(&copy)
        .status()
        .unwrap();
    assert!(status.success());
    let about = copy.join("Chart.yaml");
    let text = fs::read_to_string(&about).unwrap();
    assert!(text.contains(VERSION));
    fs::write(&about, text.replace(VERSION, version)).unwrap();
    let file = copy.join("templates/crds/bpfprograms.yaml");
    let text = fs::read_to_string(&file).unwrap();
    // Helm's condition around it is no YAML.
    let lines: Vec<&str> = text.lines().collect();
    let (first, last) = (lines[0], lines[lines.len() - 1]);
    assert!(
        first.starts_with("{{") && last.starts_with("{{"),
        "{first} … {last}"
    );
    let mut crd: Value = serde_norway::from_str(&lines[1..lines.len() - 1].join("\n")).unwrap();
    let names = crd.pointer_mut("/spec/names").unwrap().as_object_mut().unwrap();
    names.remove("shortNames").unwrap();
    let fields = crd.pointer_mut(SPEC_FIELDS).unwrap().as_object_mut().unwrap();
    fields.remove("nodeSelector").unwrap();
    fs::write(&file, format!("{first}\n{crd:#}\n{last}\n")).unwrap();
    copy
}

/// Where the fields of a BpfProgram's spec are in its CRD.
const SPEC_FIELDS: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";

fn crd(cluster: &RealCluster) -> Value {
    cluster
        .kubectl()
        .get_json(&["crd", "bpfprograms.bpfleet.io"])
        .unwrap()
}

#[test]
fn installed_upgraded_and_uninstalled_without_a_lost_event_and_without_a_trace() {
    let cluster = &RealCluster::start(&RealOptions::default()).unwrap();
    let _report = diagnose::on_failure(cluster).about(&["bpf"]);
    let kubectl = cluster.kubectl();
    let scratch = cluster.scratch().path();
    let earlier = earlier_chart(scratch, "0.0.9");
    push_images(cluster, &["0.0.9", VERSION]);
    place_target(cluster);

    // ---- in
    let started = Instant::now();
    let notes = install(cluster, &earlier, &[]).unwrap();
    measured("helm install --wait", started);
    assert!(
        notes.trim_end().ends_with("kubectl get bpfprograms,bpfnodes"),
        "{notes}"
    );
    let hits = writes_program(cluster, "hits");
    kubectl.apply(&hits.to_string()).unwrap();
    wait_ready(cluster, "hits");
    measured("from helm install to the first program Ready", started);
    let said = helm(cluster, "test", &["--logs", "--timeout", "120s"]).unwrap();
    assert!(
        said.contains("Phase:          Succeeded") && said.contains("2 of 2 Ready nodes"),
        "{said}"
    );

    // ---- at work
    let nodes = cluster.nodes();
    let mut target = start_target(&nodes[0]);
    let so_far = target.hit(5);
    for node in nodes {
        assert_eq!(counted(node, "hits"), so_far, "{}", node.name());
        println!(
            "measured: agent on {}: {:?} KiB resident, anonymous; operator: {:?}",
            node.name(),
            memory(node, "agent"),
            memory(node, "operator")
        );
    }
    let before: Vec<_> = nodes.iter().map(pinned).collect();
    let agents = pods(cluster, "agent");
    let uid = |object: &Value| object["metadata"]["uid"].clone();
    let program = kubectl.get_json(&["bpfprogram", "hits"]).unwrap();
    let old_crd = crd(cluster);

    // ---- up, with events all the time
    let pump = target.pump();
    pump.wait_for(100);
    let started = Instant::now();
    install(cluster, &chart(), &[]).unwrap();
    kubectl
        .run(&[
            "-n",
            NAMESPACE,
            "rollout",
            "status",
            "daemonset/bpfleet-agent",
            "--timeout=120s",
        ])
        .unwrap();
    measured("helm upgrade of operator and both agents", started);
    wait_ready(cluster, "hits");
    pump.wait_for(100);
    let all = pump.stop();
    for (node, before) in nodes.iter().zip(&before) {
        let seen = counted(node, "hits");
        println!(
            "measured: {} of {all} events seen on {} across helm upgrade",
            seen,
            node.name()
        );
        assert_eq!(seen, all, "events lost on {}", node.name());
        assert_eq!(
            pinned(node),
            *before,
            "something was loaded anew on {}",
            node.name()
        );
    }
    let replaced = pods(cluster, "agent");
    assert!(
        replaced.len() == 2 && replaced.iter().all(|pod| !agents.contains(pod)),
        "{agents:?} → {replaced:?}"
    );
    let (new_crd, upgraded) = (crd(cluster), kubectl.get_json(&["bpfprogram", "hits"]).unwrap());
    let field = format!("{SPEC_FIELDS}/nodeSelector");
    assert!(old_crd.pointer(&field).is_none() && new_crd.pointer(&field).is_some());
    assert_eq!(new_crd["spec"]["names"]["shortNames"], json!(["bpfp"]));
    assert_eq!(uid(&old_crd), uid(&new_crd));
    assert_eq!(
        (uid(&program), &program["spec"], &program["status"]["revision"]),
        (uid(&upgraded), &upgraded["spec"], &upgraded["status"]["revision"]),
        "an upgrade makes no new revision"
    );

    // ---- and out
    let started = Instant::now();
    let said = helm(cluster, "uninstall", &["--wait", "--timeout", "240s"]).unwrap();
    measured("helm uninstall --wait", started);
    println!("{said}");
    wait_gone(&before.into_iter().flatten().collect());
    for node in nodes {
        let nothing = wait::until(format!("{} to be clean", node.name()), SOON, || {
            match leftovers(node) {
                left if left.is_empty() => Ok(()),
                left => Err(format!("{left:?}")),
            }
        });
        nothing.unwrap();
    }
    for kind in [
        "pods",
        "secrets",
        "leases",
        "jobs",
        "serviceaccounts",
        "roles",
        "rolebindings",
    ] {
        let left = kubectl
            .run(&["-n", NAMESPACE, "get", kind, "-o", "name"])
            .unwrap();
        let ours = left
            .lines()
            .filter(|name| name.contains("bpfleet"))
            .collect::<Vec<_>>();
        assert!(ours.is_empty(), "{ours:?}");
    }
    let cluster_wide =
        "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings";
    let left = kubectl.run(&["get", cluster_wide, "-o", "name"]).unwrap();
    assert!(!left.contains("bpfleet"), "{left}");

    // What the user made is the user's, says that it does not run, and can be deleted without anybody's help.
    wait_condition(cluster, "bpfprogram/hits", "Ready", "False/Uninstalled");
    delete_crds(cluster);
}

/// Names of a component's pods that are not ending.
fn pods(cluster: &RealCluster, component: &str) -> Vec<String> {
    let label = format!("app.kubernetes.io/component={component}");
    let list = cluster
        .kubectl()
        .get_json(&["pods", "-n", NAMESPACE, "-l", &label])
        .unwrap();
    let pods = list["items"].as_array().unwrap();
    pods.iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}
