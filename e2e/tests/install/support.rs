//! Installing, and looking at nodes. Shared by the tests that install bpfleet in a real cluster.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bpfleet_e2e::{
    objects,
    real::{REGISTRY, RealCluster, RealNode},
    target::{self, FUNCTION, Target},
    tools, wait,
};
use serde_json::{Value, json};

/// Longer than anything takes on a machine that also compiles.
pub const SOON: Duration = Duration::from_secs(120);
pub const NAMESPACE: &str = "bpfleet-system";
/// The version that the chart names.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The chart.
pub fn chart() -> PathBuf {
    tools::repository().join("charts/bpfleet")
}

/// Pushes the images to the cluster's registry, with these tags. They are built if need be.
pub fn push_images(cluster: &RealCluster, tags: &[&str]) {
    for tag in tags {
        let output = Command::new(tools::repository().join("scripts/images.sh"))
            .args(["--plain-http", "--tag", tag, "--push"])
            .arg(format!("{}/bpfleet", cluster.registry().host()))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "scripts/images.sh: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Runs Helm for the one release, `helm COMMAND bpfleet ARGUMENTS`; what it says.
pub fn helm(cluster: &RealCluster, command: &str, arguments: &[&str]) -> Result<String, String> {
    let words = [&[command, "bpfleet", "-n", NAMESPACE], arguments].concat();
    cluster.helm(&words).map_err(|error| error.to_string())
}

/// What every installation of these tests sets.
pub fn settings() -> Vec<String> {
    vec![
        "--set".to_owned(),
        format!("image.registry={REGISTRY}/bpfleet"),
        "--set".to_owned(),
        format!("operator.insecureRegistries={{{REGISTRY}}}"),
    ]
}

/// Installs or upgrades a chart with further arguments, and waits for its workloads.
pub fn install(cluster: &RealCluster, chart: &Path, arguments: &[&str]) -> Result<String, String> {
    let settings = settings();
    let chart = chart.to_str().unwrap();
    let fixed = [
        chart,
        "--install",
        "--create-namespace",
        "--timeout",
        "180s",
        "--wait",
    ];
    let all: Vec<&str> = fixed
        .into_iter()
        .chain(settings.iter().map(String::as_str))
        .chain(arguments.iter().copied())
        .collect();
    helm(cluster, "upgrade", &all)
}

/// Deletes the CRDs, and with them every object of theirs; nothing is in the way of that.
pub fn delete_crds(cluster: &RealCluster) {
    let names = ["bpfprograms", "bpfrevisions", "bpfnodes"].map(|name| format!("{name}.bpfleet.io"));
    let names = names.each_ref().map(String::as_str);
    let delete = [&["delete", "crd", "--timeout=60s"][..], &names].concat();
    cluster.kubectl().run(&delete).unwrap();
}

/// A ConfigMap of the namespace with an object at key `o`, made or replaced.
pub fn put_object(cluster: &RealCluster, name: &str, bytes: &[u8]) {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE},
        "binaryData": {"o": BASE64_STANDARD.encode(bytes)}});
    cluster.kubectl().apply(&map.to_string()).unwrap();
}

/// A BpfProgram for every node, from the ConfigMap of its name.
pub fn program(name: &str, hooks: Value) -> Value {
    let object = json!({"configMap": {"name": name, "key": "o"}});
    let mut program = json!({"apiVersion": "bpfleet.io/v1alpha1", "kind": "BpfProgram", "metadata": {"name": name},
        "spec": {"variants": [{"name": "main", "object": object}]}});
    if !hooks.is_null() {
        program["spec"]["hooks"] = hooks;
    }
    program
}

/// Where the target lies on every node. Its name is this test process's own: the kernel is all nodes'.
pub fn target_path() -> String {
    format!("/tmp/target-{}", std::process::id())
}

/// Puts the target, whose calls are counted, on every node.
pub fn place_target(cluster: &RealCluster) {
    let binary = target::build(cluster.scratch().path());
    for node in cluster.nodes() {
        let place = node.root().unwrap().join(target_path().trim_start_matches('/'));
        std::fs::copy(&binary, place).unwrap();
    }
}

/// Runs the target on a node.
pub fn start_target(node: &RealNode) -> Target {
    Target::start_by(&mut node.command(&target_path()).unwrap())
}

fn compiled(source: &str, flags: &[String]) -> Vec<u8> {
    let source = tools::repository().join(format!("e2e/programs/{source}.bpf.c"));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    std::fs::read(objects::compile_with(&source, &flags).unwrap()).unwrap()
}

/// An object that counts, in steps, what any target of this test does on any node. It needs no more rights than the chart
/// gives by default.
pub fn writes(step: u32) -> Vec<u8> {
    let name = target_path().rsplit('/').next().unwrap_or_default().to_owned();
    let flags = [
        format!("-DSTEP={step}"),
        format!("-DNAME=\"{name}\""),
        format!("-DNR_WRITE={}", nix::libc::SYS_write),
    ];
    compiled("writes", &flags)
}

/// A BpfProgram of that object for every node.
pub fn writes_program(cluster: &RealCluster, name: &str) -> Value {
    put_object(cluster, name, &writes(1));
    program(name, Value::Null)
}

/// One that counts, by a uprobe, calls of the target's function on the node it runs on.
pub fn hits_program(cluster: &RealCluster, name: &str) -> Value {
    put_object(cluster, name, &compiled("hits", &[]));
    let target = json!({"binary": {"path": target_path(), "symbol": FUNCTION}});
    program(
        name,
        json!([{"name": "hit", "anyOf": [{"program": "on_hit", "target": target}]}]),
    )
}

/// `kubectl wait --for=condition=Ready`.
pub fn wait_ready(cluster: &RealCluster, name: &str) {
    cluster
        .kubectl()
        .wait_for(&format!("bpfprogram/{name}"), "condition=Ready", SOON)
        .unwrap();
}

/// Waits for a row of a BpfNode's status that `wanted` holds for.
pub fn wait_row(cluster: &RealCluster, node: &str, program: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    wait::until(format!("the row of {program} on {node}"), SOON, || {
        let found = cluster
            .kubectl()
            .get_json(&["bpfnode", node])
            .map_err(|error| error.to_string())?;
        let rows = found.pointer("/status/programs").and_then(Value::as_array);
        let row = rows.into_iter().flatten().find(|row| row["name"] == program);
        match row {
            Some(row) if wanted(row) => Ok(row.clone()),
            _ => Err(format!("{}", found["status"])),
        }
    })
    .unwrap()
}

/// Waits for a condition of an object, as `Status/Reason: message`.
pub fn wait_condition(cluster: &RealCluster, object: &str, type_: &str, expected: &str) -> String {
    wait::until(format!("{type_} of {object} to be {expected}"), SOON, || {
        let found = cluster
            .kubectl()
            .get_json(&[object])
            .map_err(|error| error.to_string())?;
        let conditions = found.pointer("/status/conditions").and_then(Value::as_array);
        let text = conditions
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == type_)
            .map(|condition| {
                let of = |name: &str| condition[name].as_str().unwrap_or_default().to_owned();
                format!("{}/{}: {}", of("status"), of("reason"), of("message"))
            })
            .unwrap_or_default();
        if text.starts_with(expected) {
            Ok(text)
        } else {
            Err(text)
        }
    })
    .unwrap()
}

/// Where agents pin, on each node.
pub const PIN_ROOT: &str = "/sys/fs/bpf/bpfleet";

/// What a program counted on a node, in the first slot of its public map.
pub fn counted(node: &RealNode, program: &str) -> u64 {
    let map = format!("{PIN_ROOT}/{program}/maps/counts");
    let text = node
        .run(&[
            "bpftool", "-j", "map", "lookup", "pinned", &map, "key", "0", "0", "0", "0",
        ])
        .unwrap();
    let found: Value = serde_json::from_str(&text).unwrap();
    found.pointer("/formatted/value").and_then(Value::as_u64).unwrap()
}

/// Every program, link and map that is pinned on a node.
pub fn pinned(node: &RealNode) -> BTreeSet<(&'static str, u64)> {
    let files = node.run(&["find", PIN_ROOT, "-type", "f"]).unwrap_or_default();
    let mut found = BTreeSet::new();
    for file in files.lines() {
        for kind in ["prog", "link", "map"] {
            let Ok(text) = node.run(&["bpftool", "-j", kind, "show", "pinned", file]) else {
                continue;
            };
            let shown: Value = serde_json::from_str(&text).unwrap_or_default();
            found.extend(shown["id"].as_u64().map(|id| (kind, id)));
        }
    }
    found
}

/// Waits until the kernel has none of these any more.
pub fn wait_gone(ids: &BTreeSet<(&'static str, u64)>) {
    assert!(!ids.is_empty(), "nothing was there");
    wait::until("programs, links and maps to leave the kernel", SOON, || {
        let there = |(kind, id): &&(&str, u64)| {
            let shown = Command::new("bpftool")
                .args([kind, "show", "id", &id.to_string()])
                .output()
                .unwrap();
            shown.status.success()
        };
        let left: Vec<_> = ids.iter().filter(there).collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .unwrap();
}

/// What bpfleet has left on a node: pins, directories, mounts, processes.
pub fn leftovers(node: &RealNode) -> Vec<String> {
    let mut left = Vec::new();
    for path in [PIN_ROOT, "/var/lib/bpfleet", "/etc/bpfleet", "/run/bpfleet"] {
        // With what is in it; a path that is not there has nothing.
        let found = node.run(&["find", path]).unwrap_or_default();
        left.extend(found.lines().map(str::to_owned));
    }
    let processes = node.run(&["ps", "-e", "-o", "args"]).unwrap_or_default();
    left.extend(
        processes
            .lines()
            .filter(|line| line.starts_with("/bpfleet-"))
            .map(str::to_owned),
    );
    let mounts = node.run(&["cat", "/proc/mounts"]).unwrap();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    left.extend(
        places
            .filter(|place| {
                place.contains("bpfleet") && (place.starts_with("/sys/") || place.starts_with("/var/lib/"))
            })
            .map(str::to_owned),
    );
    left
}

/// Resident memory of a component's processes on a node, in KiB: all of it, and what is not from a file.
pub fn memory(node: &RealNode, component: &str) -> Option<(u64, u64)> {
    let pids = node
        .run(&["pgrep", "-f", &format!("^/bpfleet-{component}")])
        .ok()?;
    let pid = pids.lines().next()?.trim().to_owned();
    let status = node.run(&["cat", &format!("/proc/{pid}/status")]).ok()?;
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()
    };
    Some((of("VmRSS:")?, of("RssAnon:")?))
}

/// Says how long something took.
pub fn measured(what: &str, since: Instant) {
    println!("measured: {what}: {:.1} s", since.elapsed().as_secs_f32());
}
