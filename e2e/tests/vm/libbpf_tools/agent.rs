//! The agent in a guest, in local mode.

use std::collections::BTreeMap;
use std::time::Duration;

use bpfleet_crds::node::ProgramStatus;
use bpfleet_e2e::vm::Machine;
use serde::Deserialize;
use serde_json::Value;

use super::objects::{Tool, says_where};

/// For a batch of objects, in a machine that is emulated.
const LONG: Duration = Duration::from_secs(1800);
/// So many objects in one run: what is attached slows down what comes after it.
const BATCH: usize = 4;

/// What became of a program, of an object, or of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is attached where its section says.
    Attached,
    /// It is loaded; its section does not say where to attach it.
    Loaded,
    /// It is loaded, and could not be attached where its section says.
    NotAttached(String),
    /// It could not be loaded: reason and message.
    NotLoaded(String, String),
}

/// A line of `bpfleet-agent run -o json`.
#[derive(Debug, Deserialize)]
struct Line {
    program: ProgramStatus,
    loaded: Option<Loaded>,
}

#[derive(Debug, Deserialize)]
struct Loaded {
    hooks: Vec<LoadedHook>,
    absent: Vec<AbsentHook>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoadedHook {
    name: String,
    passed_over: Option<String>,
}

#[derive(Debug, Deserialize)]
struct AbsentHook {
    name: String,
    reason: String,
    message: String,
}

/// Whether each object runs as it is; else reason and message.
pub fn plain(machine: &Machine, tools: &[Tool]) -> Vec<Result<(), (String, String)>> {
    let lines = run(machine, tools, Tool::plain);
    let ready = |tool: &Tool| match &lines[&tool.name].program {
        ProgramStatus { reason: None, .. } => Ok(()),
        row => Err(why(row)),
    };
    tools.iter().map(ready).collect()
}

/// What became of each program of each object.
pub fn each(machine: &Machine, tools: &[Tool]) -> Vec<Vec<Outcome>> {
    let lines = run(machine, tools, Tool::each);
    tools
        .iter()
        .map(|tool| {
            let outcome = |number| outcome(tool, &lines[&tool.name], number);
            (0..tool.programs.len()).map(outcome).collect()
        })
        .collect()
}

fn outcome(tool: &Tool, line: &Line, number: usize) -> Outcome {
    let name = format!("p{number}");
    let loaded = line.loaded.iter();
    if let Some(hook) = loaded
        .clone()
        .flat_map(|loaded| &loaded.hooks)
        .find(|hook| hook.name == name)
    {
        return match &hook.passed_over {
            Some(why) => Outcome::NotAttached(why.clone()),
            None if says_where(&tool.programs[number].section) => Outcome::Attached,
            None => Outcome::Loaded,
        };
    }
    if let Some(hook) = loaded
        .flat_map(|loaded| &loaded.absent)
        .find(|hook| hook.name == name)
    {
        return Outcome::NotLoaded(hook.reason.clone(), hook.message.clone());
    }
    // None of them runs.
    let row = &line.program;
    match row.failed_hooks.iter().find(|hook| hook.name == name) {
        Some(hook) => Outcome::NotLoaded(hook.reason.clone(), hook.message.clone()),
        None => {
            let (reason, message) = why(row);
            Outcome::NotLoaded(reason, message)
        }
    }
}

fn why(row: &ProgramStatus) -> (String, String) {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let tail = row.log_tail.iter().flat_map(|log| log.lines()).next_back();
    let message = [Some(&*text(&row.message)), tail]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("; ");
    (text(&row.reason), message)
}

/// The last that the agent said of each object.
fn run(machine: &Machine, tools: &[Tool], document: impl Fn(&Tool) -> Value) -> BTreeMap<String, Line> {
    let mut said = BTreeMap::new();
    for batch in tools.chunks(BATCH) {
        let text: Vec<_> = batch.iter().map(|tool| document(tool).to_string()).collect();
        machine
            .write_file("/programs.yaml", 0o644, text.join("\n---\n"))
            .unwrap();
        let argv = ["bpfleet-agent", "run", "--once", "-o", "json", "/programs.yaml"];
        let output = machine.run_for(&argv, &[], LONG).unwrap();
        for line in output.text().lines() {
            let line: Line = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            said.insert(line.program.name.clone(), line);
        }
        for tool in batch {
            let there = said.contains_key(&tool.name);
            assert!(
                there,
                "{} of {}: {}",
                tool.name,
                machine.name(),
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
    said
}
