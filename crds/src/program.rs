//! `BpfProgram`: what a user asks for.

#![allow(clippy::duplicated_attributes, reason = "columns of the CRD repeat keys")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{hook::Hook, map::MapSettings, object::ObjectSource, requirement::Requirement};

/// How many superseded revisions are kept when the user names no number.
pub const DEFAULT_REVISION_HISTORY_LIMIT: u32 = 5;

/// What to run, on which nodes, and where in the kernel to attach it.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "bpfleet.io",
    version = "v1alpha1",
    kind = "BpfProgram",
    plural = "bpfprograms",
    shortname = "bpfp",
    category = "bpfleet",
    status = "BpfProgramStatus",
    derive = "PartialEq",
    doc = "A BpfProgram runs one eBPF object on every node that its nodeSelector selects. Its status says where it runs, and where not and why.",
    validation = Rule::new("self.metadata.name.size() <= 63").message("metadata.name is longer than 63 characters: it becomes a label and a directory in bpffs; choose a shorter one"),
    printcolumn(name = "READY", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "REASON", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "NODES", type_ = "integer", json_path = ".status.nodes.selected", description = "Nodes that the selector selects"),
    printcolumn(name = "RUNNING", type_ = "integer", json_path = ".status.nodes.ready", description = "Nodes that run the wanted revision"),
    printcolumn(name = "FAILED", type_ = "integer", json_path = ".status.nodes.failed", description = "Nodes that cannot run it; see status.failures"),
    printcolumn(name = "REVISION", type_ = "string", json_path = ".status.updatedRevision", priority = 1),
    printcolumn(name = "UNREACHABLE", type_ = "integer", json_path = ".status.nodes.unreachable", priority = 1),
    printcolumn(name = "AGENTLESS", type_ = "integer", json_path = ".status.nodes.withoutAgent", priority = 1),
    printcolumn(name = "MESSAGE", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct BpfProgramSpec {
    /// Which nodes run the program, by their labels. Absent: every Linux node. Nodes that do not run
    /// Linux are never selected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,

    /// The builds of the program, best first. A node uses the first that fits it: whose `requires` it meets,
    /// that has an object for its architecture, and whose hooks it can attach.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub variants: Vec<Variant>,

    /// Where to attach which program of the object; programs that no hook names are not loaded. Absent:
    /// every program of the object is attached where its SEC() says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub hooks: Option<Vec<Hook>>,

    /// What maps of the object are to be, other than the object says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub maps: Option<Vec<MapSettings>>,

    /// How many superseded revisions to keep, besides those that nodes still run. Default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub revision_history_limit: Option<u32>,
}

/// One build of the program.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Variant {
    /// Name of this build, unique in the program; status says which variant a node runs.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// Where the eBPF object file (ELF, as clang writes it) comes from.
    pub object: ObjectSource,
    /// What a node must have, all of it, for this variant to be used there. Absent: nothing. What a node
    /// cannot tell counts as missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub requires: Option<Vec<Requirement>>,
}

/// Where the program runs, and why not elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BpfProgramStatus {
    /// The metadata.generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The newest revision that runs on every selected node with a live agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub revision: Option<String>,
    /// The revision that the nodes shall run. Equal to `revision` once all of them do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub updated_revision: Option<String>,
    /// Node counts by outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeCounts>,
    /// A row for each kernel of selected nodes with a live agent, those with most nodes first; at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub kernels: Vec<KernelRow>,
    /// What keeps nodes from running the program, grouped by reason, most frequent first; at most 8 rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub failures: Vec<FailureGroup>,
    /// Accepted (spec and objects are valid), Compatible (every selected node can run it as far as can be
    /// told beforehand), Ready (it runs on every selected node with a live agent), Stalled (it cannot go
    /// on without a change).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// How many nodes stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeCounts {
    /// Linux nodes that the selector selects.
    pub selected: u32,
    /// Selected nodes with a live agent that run the wanted revision with every hook attached.
    pub ready: u32,
    /// Selected nodes with a live agent that are on their way to the wanted revision.
    pub pending: u32,
    /// Selected nodes with a live agent that tried and failed; what ran there before still runs.
    pub failed: u32,
    /// Selected nodes that are not Ready in Kubernetes. They hold up neither Ready nor a deletion.
    pub unreachable: u32,
    /// Selected nodes without a running agent pod. They hold up neither Ready nor a deletion.
    pub without_agent: u32,
}

/// Nodes that failed for one reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureGroup {
    /// Why, as one word; docs/troubleshooting.md has a heading for each.
    #[schemars(length(max = 63))]
    pub reason: String,
    /// How many nodes.
    pub nodes: u32,
    /// One of them.
    #[schemars(length(max = 253))]
    pub example_node: String,
    /// What that node says.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// How the program stands on one kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KernelRow {
    /// `uname -r`.
    #[schemars(length(max = 255))]
    pub kernel: String,
    /// In Kubernetes' words: `amd64`, `arm64`.
    #[schemars(length(max = 63))]
    pub architecture: String,
    /// Nodes with this kernel.
    pub nodes: u32,
    /// Of these, nodes that run the wanted revision with every hook attached.
    pub ready: u32,
    /// The variant that those run; of several the one that is first by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub variant: Option<String>,
    /// On one of these nodes: why it fails, or which hooks are not served by their first alternative. The node's
    /// BpfNode has more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub message: Option<String>,
}
