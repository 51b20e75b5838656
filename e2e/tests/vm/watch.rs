//! A module that is unloaded under its hooks: they are lost, say so, and come back with the module; or the kernel keeps
//! the module as long as they are attached.

use std::time::{Duration, Instant};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bpfleet_crds::node::ProgramStatus;
use bpfleet_e2e::vm::{self, Fleet, VmNode};
use bpfleet_e2e::{Cluster, objects, wait};
use serde_json::{Value, json};

/// Long enough for machines that are emulated, several at once.
const SOON: Duration = Duration::from_secs(120);
/// Where this function is, and what calls it.
const FUNCTION: &str = "veth_newlink";
const CALL: &str = "ip link add v0 type veth peer name v1 && ip link del v0";

#[test]
fn a_module_that_is_unloaded_takes_its_hooks_along_until_it_is_back_or_is_held_by_them() {
    let kernels: Vec<_> = ["v5-10", "v6-1", "newest"]
        .map(|name| vm::find(name).unwrap())
        .into();
    let cluster = Cluster::start().unwrap();
    let fleet = Fleet::start(&cluster, &kernels).unwrap();
    let _watch = fleet.on_failure();
    for node in fleet.nodes() {
        node.sh("modprobe veth").unwrap();
    }
    let object = objects::bytes("e2e/programs/module.bpf.c").unwrap();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "module", "namespace": cluster.namespace()},
        "binaryData": {"module.bpf.o": BASE64_STANDARD.encode(object)}});
    cluster.kubectl().apply(&map.to_string()).unwrap();

    let kprobe = hook("on_call", json!({"function": FUNCTION}));
    apply(&cluster, "kprobe", &kprobe, &["v5-10", "v6-1", "newest"]);
    for node in fleet.nodes() {
        attached(node, "kprobe");
        unloaded_and_loaded_again(node, "kprobe");
    }
    cluster.kubectl().delete("bpfprogram/kprobe", SOON).unwrap();

    // From 6.2 on the link of many kprobes holds the module. Debian's 6.1 has no such links.
    let many = hook("on_calls", json!({"functions": ["veth_newlin*"]}));
    apply(&cluster, "many", &many, &["newest"]);
    let node = fleet.node("newest").unwrap();
    attached(node, "many");
    is_held(node);

    // From 5.12 on a trampoline does.
    let fentry = hook("on_entry", json!({"function": FUNCTION}));
    apply(&cluster, "fentry", &fentry, &["v6-1"]);
    let node = fleet.node("v6-1").unwrap();
    attached(node, "fentry");
    is_held(node);
}

fn hook(program: &str, target: Value) -> Value {
    json!([
        {"name": "lost", "anyOf": [{"program": program, "target": target}]},
        {"name": "kept", "anyOf": [{"program": "on_exec"}]},
    ])
}

fn apply(cluster: &Cluster, name: &str, hooks: &Value, nodes: &[&str]) {
    let program = json!({"apiVersion": "bpfleet.io/v1alpha1", "kind": "BpfProgram", "metadata": {"name": name},
    "spec": {
        "nodeSelector": {"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": nodes}]},
        "variants": [{"name": "main", "object": {"configMap": {"name": "module", "key": "module.bpf.o"}}}],
        "hooks": hooks,
    }});
    cluster.kubectl().apply(&program.to_string()).unwrap();
}

fn attached(node: &VmNode<'_>, program: &str) -> ProgramStatus {
    node.wait_row(program, SOON, |row| {
        row.reason.is_none() && (row.hooks_attached, row.hooks_wanted) == (2, 2)
    })
    .unwrap()
}

/// Waits until the function's calls are counted.
fn counted(node: &VmNode<'_>, program: &str) -> u64 {
    let seen = || node.map(program, "counts").unwrap()[0].sum();
    let before = seen();
    wait::until(format!("calls to be counted on {}", node.name()), SOON, || {
        node.sh(CALL).unwrap();
        match seen() {
            now if now > before => Ok(now),
            now => Err(now.to_string()),
        }
    })
    .unwrap()
}

fn unloaded_and_loaded_again(node: &VmNode<'_>, program: &str) {
    let said = |what: &str| {
        let log = std::fs::read_to_string(node.agent_log()).unwrap_or_default();
        log.matches(what).count()
    };
    let before = counted(node, program);
    node.sh("rmmod veth").unwrap();
    let unloaded = Instant::now();
    let row = node
        .wait_row(program, SOON, |row| row.hooks_attached == 1)
        .unwrap();
    eprintln!("{}: {program} lost after {:?}", node.name(), unloaded.elapsed());
    assert_eq!(row.hooks_wanted, 2, "{row:?}");
    assert!(said("the kernel module veth was unloaded") > 0);
    node.wait_row(program, SOON, |row| {
        row.reason.as_deref() == Some("TargetNotFound")
    })
    .unwrap();
    node.sh("modprobe veth").unwrap();
    let loaded = Instant::now();
    attached(node, program);
    eprintln!("{}: {program} back after {:?}", node.name(), loaded.elapsed());
    let now = counted(node, program);
    assert!(now > before, "{now} after {before}: its map is another");

    // Between two looks.
    let again = "the kernel module veth was unloaded and loaded again";
    let known = said(again);
    node.sh("rmmod veth && modprobe veth").unwrap();
    wait::until(format!("the log of {}", node.name()), SOON, || {
        if said(again) > known {
            Ok(())
        } else {
            Err("nothing yet")
        }
    })
    .unwrap();
    attached(node, program);
    assert!(counted(node, program) > now);
}

fn is_held(node: &VmNode<'_>) {
    let output = node.run(&["rmmod", "veth"]).unwrap();
    assert!(!output.success(), "{} let the module go", node.name());
}
