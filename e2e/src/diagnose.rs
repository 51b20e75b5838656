//! What a person would ask for after a failure.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::kubectl::Kubectl;
use crate::process::tail;

/// Lines of each log.
const LOG_LINES: usize = 40;

/// Prints a report of the cluster if the test that holds it panics.
#[must_use = "it reports when it is dropped during a panic"]
pub struct OnFailure<'c> {
    cluster: &'c Cluster,
}

/// Watches over the rest of the scope: `let _watch = diagnose::on_failure(&cluster);`.
pub fn on_failure(cluster: &Cluster) -> OnFailure<'_> {
    OnFailure { cluster }
}

impl Drop for OnFailure<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", report(self.cluster));
        }
    }
}

/// Conditions of bpfleet's objects, events, ends of all logs, and the kernel's programs and links.
pub fn report(cluster: &Cluster) -> String {
    let mut out = String::new();
    section(&mut out, "objects", &conditions(&cluster.kubectl()));
    let events = cluster
        .kubectl()
        .run(&["get", "events", "-A", "--sort-by=.lastTimestamp"]);
    section(
        &mut out,
        "events",
        &events.unwrap_or_else(|error| error.to_string()),
    );
    for log in logs(cluster.plane().logs()) {
        section(&mut out, &log.display().to_string(), &tail(&log, LOG_LINES));
    }
    for what in ["prog", "link"] {
        section(&mut out, &format!("bpftool {what}"), &bpftool(what));
    }
    out
}

fn section(out: &mut String, title: &str, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "---- {title}\n{}", text.trim_end());
}

fn conditions(kubectl: &Kubectl) -> String {
    match kubectl.get_json(&["bpfprograms,bpfnodes,bpfrevisions"]) {
        Ok(list) => list
            .get("items")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(object)
            .collect(),
        Err(error) => error.to_string(),
    }
}

/// One line per object, one per condition; a BpfNode's whole status, which is small.
fn object(object: &Value) -> String {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("-").to_owned();
    let kind = text(object.get("kind"));
    let mut out = format!(
        "{kind}/{} generation {}\n",
        text(object.pointer("/metadata/name")),
        object.pointer("/metadata/generation").unwrap_or(&Value::Null)
    );
    for condition in object
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let of = |name: &str| text(condition.get(name));
        let _ = writeln!(
            out,
            "    {}={} {}: {}",
            of("type"),
            of("status"),
            of("reason"),
            of("message")
        );
    }
    if kind == "BpfNode" {
        let _ = writeln!(out, "    spec {}", object.get("spec").unwrap_or(&Value::Null));
        let _ = writeln!(out, "    status {}", object.get("status").unwrap_or(&Value::Null));
    }
    out
}

fn logs(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

fn bpftool(what: &str) -> String {
    match Command::new("bpftool").args([what, "show"]).output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => format!("(bpftool did not run: {error})"),
    }
}
