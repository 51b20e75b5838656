//! What agent and worker say to each other.

use std::path::PathBuf;

use bpfleet_crds::{
    Digest, NodeReason,
    hook::Hook,
    map::MapSettings,
    node::{FailedHook, HookChoice, PassedOverVariant},
};
use serde::{Deserialize, Serialize};

/// Longest report in bytes; a verifier log has at most [`MAX_LOG_BYTES`].
pub const MAX_REPORT_BYTES: usize = 16 << 20;
/// Most of a verifier log that is kept, from its end.
pub const MAX_LOG_BYTES: usize = 4 << 20;

/// What to load, and where it goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The BpfProgram.
    pub program: String,
    /// Its revision.
    pub revision: String,
    /// The chosen variant.
    pub variant: String,
    /// The variants before it, with what this node lacks for them.
    pub passed_over: Vec<PassedOverVariant>,
    /// The hooks; none: every program at its SEC() target.
    pub hooks: Option<Vec<Hook>>,
    /// What maps are to be, other than the object says; maps that the object lacks are another variant's.
    pub maps: Vec<MapSettings>,
    /// The object file.
    pub object: PathBuf,
    /// What it must contain.
    pub digest: Digest,
    /// Where the node keeps things.
    pub node: NodePaths,
    /// Hooks that the revision, which is complete, has lost: they shall be attached again, and nothing else be done.
    pub lost: Option<Vec<String>>,
}

/// Where the node keeps things.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodePaths {
    /// Directory in bpffs below which everything is pinned.
    pub pin_root: PathBuf,
    /// The kernel's own BTF; the file need not exist.
    pub kernel_btf: PathBuf,
    /// Root of the cgroup version 2 hierarchy; none if none is mounted.
    pub cgroup_root: Option<PathBuf>,
    /// Where the host's root directory is mounted.
    pub host_root: PathBuf,
    /// Whether perf-based hooks may use links where the kernel has them (5.15).
    pub perf_links: bool,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Report {
    /// Everything is attached and pinned.
    Loaded(Loaded),
    /// The lost hooks of a complete revision that could be attached again are; there is a failure if some could not.
    Reattached(Loaded, Option<Failure>),
    /// Nothing is; what ran before still runs.
    Failed(Failure),
    /// Nothing was tried: a hook that must be served can be served by none of its alternatives here, so that this
    /// variant is not for this node; or lost hooks can only come back by loading the revision anew.
    Unsuited(Failure),
}

/// A revision that runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Loaded {
    /// The hooks, in the order of the spec.
    pub hooks: Vec<LoadedHook>,
    /// Optional hooks that nothing serves here, and why.
    pub absent: Vec<AbsentHook>,
    /// For every descriptor that came with the report: the hook it holds attached.
    pub held_fds: Vec<String>,
    /// From the worker's start to its report, in microseconds.
    pub total_micros: u64,
}

impl Loaded {
    /// The hooks that are not served by their first alternative.
    pub fn choices(&self) -> Vec<HookChoice> {
        let other = self.hooks.iter().filter_map(|hook| {
            Some(HookChoice {
                name: hook.name.clone(),
                program: Some(hook.program.clone()),
                target: Some(hook.target.clone()),
                message: hook.passed_over.clone()?,
            })
        });
        let absent = self.absent.iter().map(|hook| HookChoice {
            name: hook.name.clone(),
            program: None,
            target: None,
            message: hook.message.clone(),
        });
        other.chain(absent).collect()
    }
}

/// An optional hook that nothing serves on this node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AbsentHook {
    /// Name.
    pub name: String,
    /// Why its last alternative does not serve it, as one word.
    pub reason: NodeReason,
    /// Why none of its alternatives serves it.
    pub message: String,
}

/// A hook that is attached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadedHook {
    /// Name.
    pub name: String,
    /// The program's name.
    pub program: String,
    /// The program's kind, as in SEC().
    pub kind: String,
    /// Where it is attached, for people.
    pub target: String,
    /// Why none of the alternatives before serves the hook; absent if this is the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed_over: Option<String>,
    /// Time in the system calls that attach, in microseconds.
    pub attach_micros: u64,
}

/// Why a revision does not run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Why, as one word.
    pub reason: NodeReason,
    /// What failed, on what, why, and what to do next.
    pub message: String,
    /// The verifier's log.
    pub log: Option<String>,
    /// The hooks that failed, if it was hooks.
    pub failed_hooks: Vec<FailedHook>,
}

impl Failure {
    /// A failure of the revision as a whole.
    pub fn new(reason: NodeReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            log: None,
            failed_hooks: Vec::new(),
        }
    }
}
