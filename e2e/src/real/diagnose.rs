//! What a person would ask for after a failure in a real cluster.

use super::RealCluster;
use super::run::output;
use crate::diagnose::{OnFailure, conditions, events, logs, section};
use crate::error::{Error, Result};
use crate::process::tail;

/// Lines of each log.
const LOG_LINES: usize = 40;

/// Watches over the rest of the scope: `let _watch = diagnose::on_failure(&cluster);`. With `about`, only pods, objects
/// and events with one of the words in their name or namespace are reported.
pub fn on_failure(cluster: &RealCluster) -> OnFailure<'_> {
    OnFailure::new(|about| report(cluster, about))
}

/// Pods, nodes, events, bpfleet's objects, logs of pods and programs, and what each node has in its kernel;
/// of the cluster's objects only those about one of the given words, if there are any.
pub fn report(cluster: &RealCluster, about: &[String]) -> String {
    let ours = |text: &str| about.is_empty() || about.iter().any(|word| text.contains(word));
    let kubectl = cluster.kubectl();
    let mut out = String::new();
    let mut add = |title: &str, text: Result<String>| {
        section(&mut out, title, &text.unwrap_or_else(|error| error.to_string()));
    };
    add("nodes", kubectl.run(&["get", "nodes", "-o", "wide"]));
    add("pods", kubectl.run(&["get", "pods", "-A", "-o", "wide"]));
    add("events", events(&kubectl, ours));
    match kubectl.run(&[
        "get",
        "crd",
        "bpfprograms.bpfleet.io",
        "--ignore-not-found",
        "-o",
        "name",
    ]) {
        Ok(found) if found.is_empty() => (),
        Ok(_) => add("objects", conditions(&kubectl, ours)),
        Err(error) => add("objects", Err(error)),
    }
    for (namespace, name) in pods(cluster).unwrap_or_default() {
        if ours(&format!("{namespace}/{name}")) {
            let title = format!("pod {namespace}/{name}");
            add(&title, kubectl.run(&["describe", "pod", "-n", &namespace, &name]));
            for previous in ["--previous=false", "--previous"] {
                let log = kubectl.run(&[
                    "logs",
                    "-n",
                    &namespace,
                    &name,
                    "--all-containers",
                    "--prefix",
                    "--tail=40",
                    previous,
                ]);
                // Most containers have no life before this one.
                if previous == "--previous=false" || log.is_ok() {
                    add(&format!("log of {title} {previous}"), log);
                }
            }
        }
    }
    for log in logs(cluster.logs()) {
        add(&log.display().to_string(), Ok(tail(&log, LOG_LINES)));
    }
    for node in cluster.nodes().iter().filter(|node| node.pid().is_ok()) {
        let name = node.name();
        for args in [["bpftool", "prog", "show"], ["bpftool", "link", "show"]] {
            add(&format!("{} on {name}", args.join(" ")), node.run(&args));
        }
        add(&format!("mounts of {name}"), node.run(&["cat", "/proc/mounts"]));
        let pins = node
            .command("find")
            .and_then(|mut find| output(find.arg("/sys/fs/bpf")));
        add(&format!("pins on {name}"), pins);
    }
    out
}

/// Namespace and name of every pod.
fn pods(cluster: &RealCluster) -> Result<Vec<(String, String)>> {
    let list = cluster.kubectl().get_json(&["pods", "-A"])?;
    let items = list.get("items").and_then(serde_json::Value::as_array);
    let items = items.ok_or_else(|| Error::Other("a list of pods without items".into()))?;
    let text = |item: &serde_json::Value, path: &str| {
        item.pointer(path)
            .and_then(serde_json::Value::as_str)
            .map(str::to_owned)
    };
    Ok(items
        .iter()
        .filter_map(|item| Some((text(item, "/metadata/namespace")?, text(item, "/metadata/name")?)))
        .collect())
}
