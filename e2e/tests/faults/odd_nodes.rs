//! Nodes that lack a file system, a writable root or BTF: each says so, none holds up the others.

use bpfleet_e2e::{
    objects,
    real::{NodeOptions, RealCluster, RealOptions, Tracefs, diagnose},
};
use serde_json::Value;

use crate::support::*;

fn healthy(row: &Value) -> bool {
    row["reason"].is_null() && row["revision"].is_string() && row["hooksAttached"] == row["hooksWanted"]
}

fn failed<'a>(reason: &'a str, words: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |row| row["reason"] == reason && row["message"].as_str().is_some_and(|text| text.contains(words))
}

/// Applies a BpfProgram whose object is one of the tests' own, at its SEC() targets.
fn apply(cluster: &RealCluster, name: &str, source: &str) {
    let bytes = objects::bytes(&format!("e2e/programs/{source}.bpf.c")).unwrap();
    put_object(cluster, name, &bytes);
    cluster
        .kubectl()
        .apply(&program(name, Value::Null).to_string())
        .unwrap();
}

#[test]
fn each_says_what_it_lacks_and_runs_what_it_can() {
    let node = NodeOptions::named;
    let options = RealOptions::with_nodes([
        node("plain"),
        NodeOptions {
            bpffs: false,
            tracefs: Tracefs::Unmounted,
            ..node("bare")
        },
        NodeOptions {
            read_only_root: true,
            tracefs: Tracefs::Absent,
            btf: false,
            ..node("fixed")
        },
    ]);
    let cluster = &RealCluster::start(&options).unwrap();
    let _report = diagnose::on_failure(cluster).about(&["bpf"]);
    let kubectl = cluster.kubectl();
    push_images(cluster, &[VERSION]);
    // Agents are Ready also where nothing can run: they are there to say so.
    install(cluster, &chart(), &[]).unwrap();
    place_target(cluster);
    let hits = writes_program(cluster, "hits");
    kubectl.apply(&hits.to_string()).unwrap();

    // ---- no BPF file system, until the chart mounts one
    let lacks = failed("PinFailed", "agent.bpffs.mount=true");
    wait_row(cluster, "bare", "hits", &lacks);
    let said = wait_condition(cluster, "bpfnode/bare", "Ready", "False/PinFailed");
    assert!(said.contains("not on a BPF file system"), "{said}");
    for name in ["plain", "fixed"] {
        wait_row(cluster, name, "hits", healthy);
    }
    let said = wait_condition(cluster, "bpfprogram/hits", "Ready", "False/NodesFailed");
    assert!(said.contains("PinFailed") || said.contains("1 "), "{said}");
    let mount = ["--set", "agent.bpffs.mount=true"];
    install(cluster, &chart(), &mount).unwrap();
    wait_row(cluster, "bare", "hits", healthy);
    wait_ready(cluster, "hits");
    // A read-only host is one like any other.
    for node in cluster.nodes() {
        let before = counted(node, "hits");
        let more = start_target(node).hit(5);
        assert_eq!(counted(node, "hits"), before + more, "{}", node.name());
    }

    // ---- no tracefs, until somebody mounts it, and not even its directory
    apply(cluster, "exec", "tracepoint_exec");
    wait_row(cluster, "plain", "exec", healthy);
    wait_row(
        cluster,
        "bare",
        "exec",
        failed("TracefsMissing", "mount -t tracefs tracefs /sys/kernel/tracing"),
    );
    wait_row(cluster, "fixed", "exec", failed("TracefsMissing", "tracefs"));
    cluster
        .node("bare")
        .unwrap()
        .run(&["mount", "-t", "tracefs", "tracefs", "/sys/kernel/tracing"])
        .unwrap();
    wait_row(cluster, "bare", "exec", healthy);
    kubectl.delete("bpfprogram/exec", SOON).unwrap();

    // ---- no BTF
    apply(cluster, "core", "core_read");
    wait_row(cluster, "plain", "core", healthy);
    wait_row(
        cluster,
        "fixed",
        "core",
        failed("BtfMissing", "CONFIG_DEBUG_INFO_BTF"),
    );
    let said = wait_condition(
        cluster,
        "bpfprogram/core",
        "Compatible",
        "False/IncompatibleNodes",
    );
    assert!(said.contains("fixed"), "{said}");
    wait_ready(cluster, "hits");

    helm(cluster, "uninstall", &["--wait", "--timeout", "240s"]).unwrap();
    for node in cluster.nodes() {
        let left = leftovers(node);
        assert_eq!(left, Vec::<String>::new(), "{}", node.name());
    }
}
