//! What libbpf and the agent did, side by side.
//!
//! What neither runs has a reason of the agent's; what libbpf said stands beside it.

use std::collections::BTreeMap;
use std::fmt::Write;

use bpfleet_e2e::vm::{Kernel, libbpf};

use super::agent::Outcome;
use super::objects::{Tool, has_elsewhere};

/// What was found on a kernel.
#[derive(Debug)]
pub struct OnKernel {
    /// Name and release.
    pub kernel: String,
    /// Each program.
    pub rows: Vec<Row>,
    /// Each object.
    pub wholes: Vec<Whole>,
}

/// A program.
#[derive(Debug)]
pub struct Row {
    pub set: String,
    pub object: String,
    pub program: String,
    pub section: String,
    pub libbpf: libbpf::Outcome,
    pub agent: Outcome,
}

/// An object as a BpfProgram without hooks: ready, or reason and message.
#[derive(Debug)]
pub struct Whole {
    pub set: String,
    pub object: String,
    pub ready: Result<(), (String, String)>,
}

impl OnKernel {
    pub fn of(kernel: &Kernel) -> OnKernel {
        OnKernel {
            kernel: format!("{} ({})", kernel.spec.name, kernel.release),
            rows: Vec::new(),
            wholes: Vec::new(),
        }
    }

    /// Adds what was found of these objects.
    pub fn add(
        &mut self,
        tools: &[Tool],
        libbpf: Vec<libbpf::Tried>,
        plain: Vec<Result<(), (String, String)>>,
        each: Vec<Vec<Outcome>>,
    ) {
        let mut libbpf = libbpf.into_iter();
        for ((tool, ready), agent) in tools.iter().zip(plain).zip(each) {
            self.wholes.push(Whole {
                set: tool.set.clone(),
                object: tool.name.clone(),
                ready,
            });
            for (program, agent) in tool.programs.iter().zip(agent) {
                let theirs = libbpf.next().unwrap();
                assert_eq!(theirs.program, program.name);
                self.rows.push(Row {
                    set: tool.set.clone(),
                    object: tool.name.clone(),
                    program: program.name.clone(),
                    section: program.section.clone(),
                    libbpf: theirs.outcome,
                    agent,
                });
            }
        }
        assert!(libbpf.next().is_none());
    }
}

/// Who gets further with a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Both load it, and attach it if its section says where.
    BothRun,
    /// Both load it, and neither can attach it where its section says.
    BothLoad,
    /// libbpf loads it, neither can attach it, and the agent knows so without loading it.
    NeitherAttaches,
    /// The agent gets further.
    OnlyAgent,
    /// libbpf gets further, which must not be.
    OnlyLibbpf,
    /// Neither loads it.
    Neither,
}

impl Verdict {
    /// In words, as in the table's head.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::BothRun => "both run",
            Verdict::BothLoad => "both load",
            Verdict::NeitherAttaches => "neither attaches",
            Verdict::OnlyAgent => "only the agent",
            Verdict::OnlyLibbpf => "only libbpf",
            Verdict::Neither => "neither",
        }
    }
}

impl Row {
    pub fn verdict(&self) -> Verdict {
        let theirs = match &self.libbpf {
            libbpf::Outcome::Attached | libbpf::Outcome::Loaded => 2,
            libbpf::Outcome::NotAttached(_) => 1,
            libbpf::Outcome::NotLoaded(_) => 0,
        };
        let ours = match &self.agent {
            Outcome::Attached | Outcome::Loaded => 2,
            Outcome::NotAttached(_) => 1,
            Outcome::NotLoaded(..) => 0,
        };
        match ours.cmp(&theirs) {
            std::cmp::Ordering::Less if theirs == 1 && !has_elsewhere(&self.section) => {
                Verdict::NeitherAttaches
            }
            std::cmp::Ordering::Less => Verdict::OnlyLibbpf,
            std::cmp::Ordering::Greater => Verdict::OnlyAgent,
            std::cmp::Ordering::Equal => match ours {
                2 => Verdict::BothRun,
                1 => Verdict::BothLoad,
                _ => Verdict::Neither,
            },
        }
    }

    /// What the agent says against it: reason and message.
    pub fn why(&self) -> Option<(&str, &str)> {
        match &self.agent {
            Outcome::Attached | Outcome::Loaded => None,
            Outcome::NotAttached(message) => Some(("NotAttached", message)),
            Outcome::NotLoaded(reason, message) => Some((reason, message)),
        }
    }

    /// What libbpf says against it.
    pub fn they_say(&self) -> String {
        match &self.libbpf {
            libbpf::Outcome::Attached | libbpf::Outcome::Loaded => String::new(),
            libbpf::Outcome::NotAttached(refusal) => {
                format!("not attached ({}): {}", refusal.errno, refusal.said)
            }
            libbpf::Outcome::NotLoaded(refusal) => {
                format!("not loaded ({}): {}", refusal.errno, refusal.said)
            }
        }
    }
}

/// Everything as text in Markdown: a table with a row for each kernel, and the reasons in groups with an example.
pub fn markdown(found: &[OnKernel]) -> String {
    let mut out = String::from(
        "| kernel | objects | Ready as they are | programs | both run | both load, no such place | neither attaches, libbpf loads | only the agent | \
         only libbpf | neither |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for OnKernel { kernel, rows, wholes } in found {
        let count = |verdict| rows.iter().filter(|row| row.verdict() == verdict).count();
        let _ = writeln!(
            out,
            "| {kernel} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            wholes.len(),
            wholes.iter().filter(|whole| whole.ready.is_ok()).count(),
            rows.len(),
            count(Verdict::BothRun),
            count(Verdict::BothLoad),
            count(Verdict::NeitherAttaches),
            count(Verdict::OnlyAgent),
            count(Verdict::OnlyLibbpf),
            count(Verdict::Neither),
        );
    }
    for OnKernel { kernel, rows, wholes } in found {
        let objects = wholes.iter().filter_map(|whole| {
            let (reason, message) = whole.ready.as_ref().err()?;
            Some((
                reason.clone(),
                format!("{}/{}: {message}", whole.set, whole.object),
            ))
        });
        grouped(
            &mut out,
            &format!("{kernel}: objects that are not Ready as they are"),
            objects,
        );
        let programs = rows.iter().filter_map(|row| {
            let (reason, message) = row.why()?;
            let group = format!("{}: {reason}", row.verdict().words());
            let (set, object, program) = (&row.set, &row.object, &row.program);
            let said = row.they_say();
            Some((
                group,
                format!("{set}/{object} {program}: {message} (libbpf: {said})"),
            ))
        });
        grouped(&mut out, &format!("{kernel}: programs that do not run"), programs);
    }
    out
}

fn grouped(out: &mut String, title: &str, items: impl Iterator<Item = (String, String)>) {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (group, example) in items {
        groups.entry(group).or_default().push(example);
    }
    if groups.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{title}\n\n| reason | how many | such as |\n|---|--:|---|");
    for (group, examples) in groups {
        let example = examples[0].replace('|', "\\|").replace('\n', " ");
        let _ = writeln!(out, "| {group} | {} | {example} |", examples.len());
    }
}

/// A line for each program.
pub fn csv(found: &[OnKernel]) -> String {
    let mut out = String::from("kernel,suite,object,program,section,verdict,reason,message,libbpf\n");
    let rows = found
        .iter()
        .flat_map(|on| on.rows.iter().map(|row| (&*on.kernel, row)));
    for (kernel, row) in rows {
        let (reason, message) = row.why().unwrap_or_default();
        let fields = [
            kernel,
            &row.set,
            &row.object,
            &row.program,
            &row.section,
            row.verdict().words(),
            reason,
            message,
            &row.they_say(),
        ];
        let quoted = fields.map(|field| format!("\"{}\"", field.replace('"', "\"\"")));
        let _ = writeln!(out, "{}", quoted.join(","));
    }
    out
}
