//! `BpfNode`: what one node shall run, what it can do, and what it runs.

#![allow(clippy::duplicated_attributes, reason = "columns of the CRD repeat keys")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most programs that one node runs: more would not fit a status that a fleet of thousands can watch.
pub const MAX_PROGRAMS: usize = 128;
/// Most rows in a status: programs that are going still have one.
pub const MAX_PROGRAM_ROWS: usize = 256;
/// Longest tail of a verifier log in a status row, in bytes.
pub const MAX_LOG_TAIL_BYTES: usize = 1024;
/// All tails in one BpfNode together, in bytes.
pub const MAX_LOG_TAILS_BYTES: usize = 8192;
/// Longest message in a status row or hook, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 1024;
/// Most hooks listed in one row; more are counted only.
pub const MAX_FAILED_HOOKS: usize = 8;
/// Most hooks listed in one row that are not served by their first alternative; more are counted only.
pub const MAX_CHOICES: usize = 16;
/// Most variants that a row lists as passed over.
pub const MAX_PASSED_OVER: usize = 15;
/// Longest explanation of a choice, in bytes.
pub const MAX_EXPLANATION_BYTES: usize = 256;

/// What this node shall run. Written by the operator only.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "bpfleet.io",
    version = "v1alpha1",
    kind = "BpfNode",
    plural = "bpfnodes",
    shortname = "bpfn",
    category = "bpfleet",
    status = "BpfNodeStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A BpfNode is one node as bpfleet sees it, under the Node's name and owned by it. bpfleet writes both halves: the operator spec, that node's agent status.",
    printcolumn(
        name = "READY",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "KERNEL", type_ = "string", json_path = ".status.facts.kernelRelease"),
    printcolumn(name = "ARCH", type_ = "string", json_path = ".status.facts.architecture"),
    printcolumn(
        name = "BTF",
        type_ = "string",
        json_path = ".status.facts.btf.kernel",
        description = "Whether the kernel carries BTF"
    ),
    printcolumn(name = "WANTED", type_ = "integer", json_path = ".status.counts.wanted"),
    printcolumn(name = "RUNNING", type_ = "integer", json_path = ".status.counts.running"),
    printcolumn(
        name = "OS",
        type_ = "string",
        json_path = ".status.facts.osImage",
        priority = 1
    ),
    printcolumn(
        name = "AGENT",
        type_ = "string",
        json_path = ".status.agentVersion",
        priority = 1
    ),
    printcolumn(
        name = "MESSAGE",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    ),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct BpfNodeSpec {
    /// The programs, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub programs: Vec<NodeProgram>,
}

/// One program that the node shall run.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeProgram {
    /// Name of the BpfProgram.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Name of the BpfRevision.
    #[schemars(length(min = 1, max = 253))]
    pub revision: String,
}

/// What the node can do and what it runs. Written by its agent only.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BpfNodeStatus {
    /// The metadata.generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Version of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub agent_version: Option<String>,
    /// What the node's kernel is and can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub facts: Option<NodeFacts>,
    /// How many programs stand where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub counts: Option<ProgramCounts>,
    /// A row for every program that the node shall run or still holds, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub programs: Vec<ProgramStatus>,
    /// Ready: all that the node shall run, runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// What the fleet decides on. `bpfleet-agent facts` on the node shows more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeFacts {
    /// `uname -r`.
    #[schemars(length(max = 255))]
    pub kernel_release: String,
    /// The kernel's version as programs see it in LINUX_VERSION_CODE, such as `6.1.115`. Distributions put
    /// it elsewhere than in the release.
    #[schemars(length(max = 63))]
    pub kernel_version: String,
    /// In Kubernetes' words: `amd64`, `arm64`.
    #[schemars(length(max = 63))]
    pub architecture: String,
    /// PRETTY_NAME of os-release; absent when it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub os_image: Option<String>,
    /// ID of os-release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub os_id: Option<String>,
    /// VERSION_ID of os-release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub os_version_id: Option<String>,
    /// The kernel's own BTF.
    pub btf: BtfFacts,
    /// Which cgroup version the node's system uses: 1, 2, or hybrid (a version 2 hierarchy beside version 1).
    pub cgroup: CgroupVersion,
    /// Whether a BPF file system is mounted at the agent's pin root.
    pub bpffs: Fact,
    /// Kernel lockdown: `none`, `integrity`, `confidentiality`; absent when the kernel has no lockdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub lockdown: Option<String>,
    /// What this kernel's eBPF has not, of what the agent's version knows to ask for: `program/TYPE`, `map/TYPE`
    /// and `attach/KIND`, sorted. What is in neither list is there; helpers are asked for by need only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub missing: Vec<String>,
    /// What the agent could not find out whether this kernel has it; `bpfleet-agent facts` says why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub unknown: Vec<String>,
}

/// The kernel's own BTF.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BtfFacts {
    /// Whether the kernel carries BTF.
    pub kernel: Fact,
    /// Its size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Why it is Unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub detail: Option<String>,
}

/// A tri-state: a probe can fail to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Fact {
    /// The probe succeeded.
    Yes,
    /// The probe was refused by the kernel in the way that means: not there.
    No,
    /// The probe could not tell.
    #[default]
    Unknown,
}

/// Which cgroup hierarchies are mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CgroupVersion {
    /// Version 1 only: cgroup programs cannot be attached.
    V1,
    /// Version 2 only.
    V2,
    /// Version 1 controllers, and a version 2 hierarchy beside them.
    Hybrid,
    /// None is mounted, or mounts could not be read.
    #[default]
    Unknown,
}

/// How many programs stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProgramCounts {
    /// Programs that the node shall run.
    pub wanted: u32,
    /// Of these, programs that run in the wanted revision with every hook attached.
    pub running: u32,
    /// Of these, programs whose wanted revision failed.
    pub failed: u32,
}

/// One program on this node. A healthy one is a short row; the rest appears only when there is something to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProgramStatus {
    /// Name of the BpfProgram.
    #[schemars(length(max = 63))]
    pub name: String,
    /// The revision that is attached now; absent when none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub revision: Option<String>,
    /// The variant that is attached now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub variant: Option<String>,
    /// The variants before it, each with what this node lacks for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 15))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub passed_over: Vec<PassedOverVariant>,
    /// Hooks that are not served by their first alternative, at most 16: by which one instead, or by none if
    /// they are optional, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub choices: Vec<HookChoice>,
    /// Hooks of the attached revision that are attached.
    pub hooks_attached: u32,
    /// Hooks that it wants attached.
    pub hooks_wanted: u32,
    /// Hooks that end when the agent's process ends, because this kernel (before 5.15) cannot pin them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks_ending_with_agent: Option<u32>,
    /// The revision that `reason` speaks of, when it is not the attached one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub failing_revision: Option<String>,
    /// Why all is not well, as one word; absent on a healthy row. docs/troubleshooting.md has a heading for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub reason: Option<String>,
    /// What failed, on what, why, and what to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// The end of the verifier's log; all of it is in the agent's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub log_tail: Option<String>,
    /// Hooks that are not attached, at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub failed_hooks: Vec<FailedHook>,
}

/// A variant that a node does not use although it comes before the one that it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PassedOverVariant {
    /// Name of the variant.
    #[schemars(length(max = 63))]
    pub name: String,
    /// What the node lacks for it.
    #[schemars(length(max = 256))]
    pub message: String,
}

/// A hook that is not served by its first alternative.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookChoice {
    /// Name of the hook.
    #[schemars(length(max = 255))]
    pub name: String,
    /// The program that serves it; absent if none does, since the hook is optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub program: Option<String>,
    /// Where that program is attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub target: Option<String>,
    /// Why none of the alternatives before serves it here.
    #[schemars(length(max = 256))]
    pub message: String,
}

/// A hook that is not attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedHook {
    /// Name of the hook.
    #[schemars(length(max = 255))]
    pub name: String,
    /// Why, as one word.
    #[schemars(length(max = 63))]
    pub reason: String,
    /// What failed, on what, why, and what to do next.
    #[schemars(length(max = 1024))]
    pub message: String,
}
