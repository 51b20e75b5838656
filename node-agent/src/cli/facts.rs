//! `bpfleet-agent facts`.

mod everything;
mod questions;
mod table;

use std::{error::Error, io::Write};

use clap::{Args, ValueEnum};
use serde::Serialize;

use self::{everything::Everything, questions::Answered};
use super::NodeArguments;
use crate::facts::Prober;

const HELP: &str = "\
Nothing stays changed: programs and maps are loaded and let go at once, links are made to what cannot be, and a program
that does nothing is attached to a test function of the kernel for a moment.

Examples:
  bpfleet-agent facts                               what is told in a moment
  bpfleet-agent facts --all                         helpers by type of program and XDP by interface as well
  bpfleet-agent facts --function do_unlinkat        can it be attached to, by kprobe, fentry and kprobe.multi?
  bpfleet-agent facts --function 'tcp_*'            is there one for kprobe.multi?
  bpfleet-agent facts --tracepoint sched/sched_switch --config CONFIG_BPF_LSM
  bpfleet-agent facts --feature helper/bpf_d_path@lsm
  bpfleet-agent facts -o json                       docs/facts.md describes it

Yes and No are certain. Unknown says why it could not be found out: most often a right that is missing, or tracefs
that is not mounted.";

/// What is asked, and how it is shown.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct FactsArguments {
    /// What to print
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// Show also which helpers programs of each type can call, and what drivers of interfaces can do with XDP
    #[arg(long)]
    all: bool,
    /// Only say whether this function of the kernel can be attached to, and how: NAME, MODULE:NAME or a pattern
    #[arg(long, value_name = "NAME", num_args = 1.., conflicts_with = "all")]
    function: Vec<String>,
    /// Only say whether there is this tracepoint: CATEGORY/NAME, or NAME for one of whatever category
    #[arg(long, value_name = "CATEGORY/NAME", num_args = 1.., conflicts_with = "all")]
    tracepoint: Vec<String>,
    /// Only say whether the kernel was built with this: CONFIG_X, CONFIG_X=VALUE, CONFIG_X=n
    #[arg(long, value_name = "CONFIG_X", num_args = 1.., conflicts_with = "all")]
    config: Vec<String>,
    /// Only say whether the kernel has this: program/TYPE, map/TYPE, attach/KIND, helper/NAME, helper/NAME@TYPE
    #[arg(long, value_name = "FEATURE", num_args = 1.., conflicts_with = "all")]
    feature: Vec<String>,
    #[command(flatten)]
    node: NodeArguments,
}

/// In what form.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For machines
    Json,
    /// For machines
    Yaml,
}

/// Prints what is known of this machine.
pub fn print(arguments: FactsArguments) -> Result<(), Box<dyn Error>> {
    let questions = questions::read(
        &arguments.function,
        &arguments.tracepoint,
        &arguments.config,
        &arguments.feature,
    )?;
    let paths = arguments.node.paths("/sys/fs/bpf");
    let mut prober = Prober::new(&paths);
    if questions.is_empty() {
        let everything = Everything::find(&mut prober, &paths, arguments.all);
        write(arguments.output, &everything, table::everything)
    } else {
        let answered = Answered::new(&mut prober, questions);
        write(arguments.output, &answered, table::answered)
    }
}

fn write<T: Serialize>(
    format: Format,
    value: &T,
    table: impl Fn(&T) -> String,
) -> Result<(), Box<dyn Error>> {
    let mut out = anstream::stdout();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(value)?)?,
        Format::Yaml => write!(out, "{}", bpfleet_crds::manifests::to_yaml(value)?)?,
        Format::Table => write!(out, "{}", table(value))?,
    }
    Ok(())
}
