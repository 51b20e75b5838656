//! What a decision asks of a node, and what the node answers.

use std::{collections::BTreeMap, fmt};

use bpfleet_crds::requirement::FunctionAttach;
use serde::{Deserialize, Serialize};

use crate::{feature::Feature, function::KernelFunction};

/// One thing that a decision hangs on. Who decides asks for nothing else, so that nothing else is probed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Question {
    /// Does the kernel carry BTF of its own?
    KernelBtf,
    /// Does its eBPF have this?
    Feature(Feature),
    /// Can this function be attached to in this way?
    Function {
        /// The function. An offset is not asked for: only attaching tells.
        function: KernelFunction,
        /// How it is to be attached to.
        attach: FunctionAttach,
    },
    /// Is there a function that can be attached to with kprobe.multi and whose name is of this pattern?
    FunctionPattern(String),
    /// Is there this system call's function?
    Syscall(String),
    /// Is there this security hook, and is `bpf` among the active security modules?
    LsmHook(String),
    /// Is there this tracepoint, and has its record these fields?
    Tracepoint {
        /// Subsystem, such as `sched`.
        category: String,
        /// Name, such as `sched_switch`.
        name: String,
        /// Fields.
        fields: Vec<String>,
    },
    /// Is there a tracepoint of this name, in whatever category?
    RawTracepoint(String),
    /// Has the kernel's configuration this option with this value? `n`: is it not set? None: is it `y` or `m`?
    KernelConfig {
        /// `CONFIG_…`.
        option: String,
        /// As the configuration has it.
        value: Option<String>,
    },
    /// Is there this file of the host, with a function of this name (or pattern) in it?
    Binary {
        /// Absolute path in the host's file system.
        path: String,
        /// Function.
        symbol: Option<String>,
    },
    /// Is there this file of the host, with this statically defined probe in it?
    Usdt {
        /// Absolute path in the host's file system.
        path: String,
        /// Provider.
        provider: String,
        /// Name of the probe.
        name: String,
    },
}

/// What a node knows. Only Yes and No are certain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It is so.
    Yes,
    /// It is not; a sentence without a period that says why or what there is instead.
    No(String),
    /// It could not be found out; why.
    Unknown(String),
}

/// What a node answered.
pub type Answers = BTreeMap<Question, Answer>;

impl Answer {
    /// Whether it is certainly so.
    pub fn is_yes(&self) -> bool {
        matches!(self, Self::Yes)
    }

    /// Why it is not certainly so; none if it is.
    pub fn why_not(&self) -> Option<String> {
        match self {
            Self::Yes => None,
            Self::No(why) => Some(why.clone()),
            Self::Unknown(why) => Some(format!("not known: {why}")),
        }
    }
}

/// The answer to a question; what nobody asked the node is Unknown.
pub(crate) fn answer(answers: &Answers, question: &Question) -> Answer {
    answers
        .get(question)
        .cloned()
        .unwrap_or_else(|| Answer::Unknown("the node was not asked".to_owned()))
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KernelBtf => f.write_str("the kernel's own BTF"),
            Self::Feature(feature) => write!(f, "{feature}"),
            Self::Function { function, attach } => {
                let how = match attach {
                    FunctionAttach::Kprobe => "kprobe",
                    FunctionAttach::Fentry => "fentry",
                    FunctionAttach::KprobeMulti => "kprobe.multi",
                };
                write!(f, "function {function} by {how}")
            }
            Self::FunctionPattern(pattern) => write!(f, "functions {pattern} by kprobe.multi"),
            Self::Syscall(name) => write!(f, "system call {name}"),
            Self::LsmHook(name) => write!(f, "security hook {name}"),
            Self::Tracepoint {
                category,
                name,
                fields,
            } => {
                write!(f, "tracepoint {category}/{name}")?;
                if !fields.is_empty() {
                    write!(f, " with {}", fields.join(", "))?;
                }
                Ok(())
            }
            Self::RawTracepoint(name) => write!(f, "tracepoint {name}"),
            Self::KernelConfig { option, value: None } => write!(f, "{option}"),
            Self::KernelConfig {
                option,
                value: Some(value),
            } => write!(f, "{option}={value}"),
            Self::Binary {
                path,
                symbol: Some(symbol),
            } => write!(f, "{path}:{symbol}"),
            Self::Binary { path, symbol: None } => f.write_str(path),
            Self::Usdt { path, provider, name } => write!(f, "{path}:{provider}:{name}"),
        }
    }
}
