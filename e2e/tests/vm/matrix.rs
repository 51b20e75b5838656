//! Every kernel of the matrix as a node of one cluster, under one operator.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bpfleet_crds::node::Fact;
use bpfleet_e2e::vm::{self, Fleet, VmNode};
use bpfleet_e2e::{Cluster, objects, tools, wait};
use serde_json::json;

/// Long enough for machines that are emulated, several at once.
const SOON: Duration = Duration::from_secs(120);
/// How often the command is executed that is looked for.
const EXECUTIONS: u64 = 5;

#[test]
fn every_kernel_is_a_node_on_which_a_program_counts() {
    let kernels = vm::matrix().unwrap();
    let cluster = Cluster::start().unwrap();
    let fleet = Fleet::start(&cluster, &kernels).unwrap();
    let _watch = fleet.on_failure();

    for node in fleet.nodes() {
        assert_facts(node);
    }

    let kubectl = cluster.kubectl();
    let object = objects::bytes("examples/execcount/execcount.bpf.c").unwrap();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "execcount", "namespace": cluster.namespace()},
        "binaryData": {"execcount.bpf.o": BASE64_STANDARD.encode(object)}});
    kubectl.apply(&map.to_string()).unwrap();
    kubectl
        .apply_file(&tools::repository().join("examples/execcount/bpfprogram.yaml"))
        .unwrap();
    kubectl
        .wait_for("bpfprogram/execcount", "condition=Ready", SOON)
        .unwrap();
    for node in fleet.nodes() {
        let row = node
            .wait_row("execcount", SOON, |row| row.revision.is_some())
            .unwrap();
        assert_eq!((row.hooks_attached, row.hooks_wanted), (1, 1), "{row:?}");
        assert_counts(node, EXECUTIONS);
    }

    // Links of tracepoints can be pinned since 5.15: what runs goes on without its agent, and with the next one.
    if let Ok(node) = fleet.node("v6-1") {
        node.kill_agent().unwrap();
        assert_counts(node, 2 * EXECUTIONS);
        node.restart_agent().unwrap();
        node.wait_ready(SOON).unwrap();
        assert_counts(node, 3 * EXECUTIONS);
    }
}

/// What the agent says of its node is what the kernel is.
fn assert_facts(node: &VmNode<'_>) {
    let facts = wait::until(format!("facts of {}", node.name()), SOON, || {
        let status = node.bpf_node()?.status.unwrap_or_default();
        status
            .facts
            .ok_or_else(|| bpfleet_e2e::Error::Other("none yet".into()))
    })
    .unwrap();
    let kernel = node.kernel();
    assert_eq!(facts.kernel_release, kernel.release);
    assert_eq!(node.sh("uname -r").unwrap().trim(), kernel.release);
    assert_eq!(facts.architecture, "amd64");
    let expected = if kernel.spec.btf { Fact::Yes } else { Fact::No };
    assert_eq!(facts.btf.kernel, expected, "{}: {:?}", node.name(), facts.btf);
    assert_eq!(facts.bpffs, Fact::Yes);
    assert_eq!(facts.os_version_id.as_deref(), kernel.spec.os_version);
}

/// What is executed in a guest is counted there, and nothing else by that name: so many by now.
fn assert_counts(node: &VmNode<'_>, expected: u64) {
    for _ in 0..EXECUTIONS {
        assert!(node.run(&["sha256sum", "/etc/passwd"]).unwrap().success());
    }
    let entries = node.map("execcount", "counts").unwrap();
    let counted: Vec<_> = entries
        .iter()
        .filter(|entry| entry.text() == "sha256sum")
        .collect();
    assert_eq!(counted.len(), 1, "{}: {entries:?}", node.name());
    assert_eq!(counted[0].sum(), expected, "{}: {entries:?}", node.name());
}
