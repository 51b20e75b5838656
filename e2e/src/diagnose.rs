//! What a person would ask for after a failure.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::error::Result;
use crate::kubectl::Kubectl;
use crate::process::tail;

/// Lines of each log.
const LOG_LINES: usize = 40;

/// Makes a report about the given words.
type Report<'c> = dyn Fn(&[String]) -> String + 'c;

/// Prints a report if the test that holds it panics.
#[must_use = "it reports when it is dropped during a panic"]
pub struct OnFailure<'c> {
    report: Box<Report<'c>>,
    about: Vec<String>,
}

/// Watches over the rest of the scope: `let _watch = diagnose::on_failure(&cluster);`.
pub fn on_failure(cluster: &Cluster) -> OnFailure<'_> {
    OnFailure::new(|about| report(cluster, about))
}

impl<'c> OnFailure<'c> {
    /// With what makes the report, about the given words only if there are any.
    pub fn new(report: impl Fn(&[String]) -> String + 'c) -> OnFailure<'c> {
        OnFailure {
            report: Box::new(report),
            about: Vec::new(),
        }
    }

    /// Limits the report to what has one of these words in its name: what other tests have in a shared cluster only
    /// distracts.
    pub fn about(mut self, words: &[&str]) -> Self {
        self.about = words.iter().map(ToString::to_string).collect();
        self
    }
}

impl Drop for OnFailure<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", (self.report)(&self.about));
        }
    }
}

/// Conditions of bpfleet's objects, events, ends of the logs, and the kernel's programs and links; only what
/// is about one of the given words, if there are any.
pub fn report(cluster: &Cluster, about: &[String]) -> String {
    let ours = |name: &str| about.is_empty() || about.iter().any(|word| name.contains(word));
    let kubectl = cluster.kubectl();
    let mut out = String::new();
    section(
        &mut out,
        "objects",
        &conditions(&kubectl, ours).unwrap_or_else(|error| error.to_string()),
    );
    section(
        &mut out,
        "events",
        &events(&kubectl, ours).unwrap_or_else(|error| error.to_string()),
    );
    for log in logs(cluster.plane().logs()) {
        let name = log.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with("agent-") || ours(&name) {
            section(&mut out, &log.display().to_string(), &tail(&log, LOG_LINES));
        }
    }
    for what in ["prog", "link"] {
        section(&mut out, &format!("bpftool {what}"), &bpftool(what));
    }
    out
}

pub(crate) fn events(kubectl: &Kubectl, ours: impl Fn(&str) -> bool) -> Result<String> {
    let table = kubectl.run(&["get", "events", "-A", "--sort-by=.lastTimestamp"])?;
    let mut lines = table.lines();
    let heading = lines.next().into_iter();
    Ok(heading
        .chain(lines.filter(|line| ours(line)))
        .collect::<Vec<_>>()
        .join("\n"))
}

pub(crate) fn section(out: &mut String, title: &str, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "---- {title}\n{}", text.trim_end());
}

pub(crate) fn conditions(kubectl: &Kubectl, ours: impl Fn(&str) -> bool) -> Result<String> {
    let list = kubectl.get_json(&["bpfprograms,bpfnodes,bpfrevisions"])?;
    let is_ours = |object: &Value| {
        object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .is_some_and(&ours)
    };
    let all = list.get("items").and_then(Value::as_array).into_iter().flatten();
    Ok(all.filter(|item| is_ours(item)).map(object).collect())
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

pub(crate) fn logs(dir: &Path) -> Vec<std::path::PathBuf> {
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
