//! What an agent has in the kernel, read from its pins with bpftool: not with bpfleet's own code.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use bpfleet_e2e::{Agent, wait};
use serde_json::Value;

use crate::operator_support::SOON;

/// What bpftool prints, as JSON; an error is what it complains of.
fn bpftool(args: &[&str]) -> Result<Value, String> {
    let output = Command::new("bpftool").arg("-j").args(args).output().unwrap();
    let value: Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())?;
    match value.get("error") {
        None if output.status.success() => Ok(value),
        error => Err(format!("{error:?}")),
    }
}

/// Every file below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| {
            if entry.path().is_dir() {
                files(&entry.path())
            } else {
                vec![entry.path()]
            }
        })
        .collect()
}

/// The path under which consumers find a program's map.
pub fn public_map(agent: &Agent, program: &str) -> PathBuf {
    agent.pin_root().join(program).join("maps/counts")
}

/// What a program counted in the first slot of its public map.
pub fn counted(agent: &Agent, program: &str) -> Result<u64, String> {
    counted_at(&public_map(agent, program))
}

/// What stands in the first slot of a pinned map.
pub fn counted_at(map: &Path) -> Result<u64, String> {
    let found = bpftool(&[
        "map",
        "lookup",
        "pinned",
        &map.to_string_lossy(),
        "key",
        "0",
        "0",
        "0",
        "0",
    ])?;
    found
        .pointer("/formatted/value")
        .and_then(Value::as_u64)
        .ok_or_else(|| found.to_string())
}

/// Pins a map at another path of the same bpffs, so that it outlives its program.
pub fn keep_map(agent: &Agent, program: &str, name: &str) -> PathBuf {
    let path = agent.pin_root().with_file_name(name);
    let (from, to) = (public_map(agent, program), path.to_string_lossy().into_owned());
    let status = Command::new("bpftool")
        .args(["map", "pin", "pinned"])
        .arg(from)
        .arg(to)
        .status()
        .unwrap();
    assert!(status.success());
    path
}

/// Ids of the links that keep a program attached.
pub fn links(agent: &Agent, program: &str) -> BTreeSet<u64> {
    let pins = files(&agent.pin_root().join(program).join("revisions"));
    let links = pins
        .iter()
        .filter(|pin| pin.file_name().unwrap().to_string_lossy().starts_with("link-"));
    links.filter_map(|pin| id("link", pin)).collect()
}

/// Links that are there, or why not: for waiting and holding.
pub fn has_links(agent: &Agent, program: &str, expected: &BTreeSet<u64>) -> Result<(), String> {
    match links(agent, program) {
        now if now == *expected => Ok(()),
        now => Err(format!("links {now:?}, expected {expected:?}")),
    }
}

fn id(kind: &str, pin: &Path) -> Option<u64> {
    bpftool(&[kind, "show", "pinned", &pin.to_string_lossy()]).ok()?["id"].as_u64()
}

/// Every program, link and map that an agent's pins hold, and every map that those programs use.
pub fn in_kernel(agent: &Agent) -> BTreeSet<(&'static str, u64)> {
    let mut found = BTreeSet::new();
    for pin in files(&agent.pin_root()) {
        for kind in ["prog", "link", "map"] {
            let Ok(shown) = bpftool(&[kind, "show", "pinned", &pin.to_string_lossy()]) else {
                continue;
            };
            found.extend(shown["id"].as_u64().map(|id| (kind, id)));
            let maps = shown["map_ids"].as_array().into_iter().flatten();
            found.extend(maps.filter_map(|id| Some(("map", id.as_u64()?))));
        }
    }
    found
}

/// Waits until nothing of this is in the kernel, and nothing is pinned any more.
pub fn wait_gone(agent: &Agent, ids: &BTreeSet<(&'static str, u64)>) {
    assert!(!ids.is_empty(), "nothing was there");
    wait::until("the kernel to be clean", SOON, || {
        let there = |(kind, id): &&(&str, u64)| bpftool(&[kind, "show", "id", &id.to_string()]).is_ok();
        let left: Vec<_> = ids.iter().filter(there).collect();
        let pins = files(&agent.pin_root());
        if left.is_empty() && pins.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}, {pins:?}"))
        }
    })
    .unwrap();
}
