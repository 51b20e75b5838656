//! Where each selected node stands. Pure.

use std::{collections::BTreeMap, sync::Arc};

use bpfleet_crds::{
    NodeReason,
    conditions::truncate,
    node::{MAX_MESSAGE_BYTES, MAX_PROGRAMS},
    program::{FailureGroup, NodeCounts},
};

use super::input::{Input, NodeInput};
use crate::selector::NodeSelector;
use crate::view::BpfNodeView;

/// Most groups of failures in a status.
const MAX_GROUPS: usize = 8;

/// Where one node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It runs the wanted revision.
    Ready,
    /// It is on its way.
    Pending,
    /// It tried and failed.
    Failed {
        /// Why, as one word.
        reason: String,
        /// What it says.
        message: String,
    },
    /// Kubernetes does not hear from it.
    Unreachable,
    /// No agent runs on it.
    WithoutAgent,
}

/// Where a selected node stands with a revision.
pub fn standing(input: &NodeInput, program: &str, wanted: Option<&str>) -> Standing {
    if !input.node.ready {
        return Standing::Unreachable;
    }
    if !input.live_agent {
        return Standing::WithoutAgent;
    }
    let (Some(bpf_node), Some(wanted)) = (input.bpf_node.as_deref(), wanted) else {
        return Standing::Pending;
    };
    if bpf_node.wanted(program) != Some(wanted) || !bpf_node.is_current() {
        return Standing::Pending;
    }
    let Some(row) = bpf_node.row(program) else {
        return Standing::Pending;
    };
    let attached = row.revision.as_deref() == Some(wanted);
    let speaks_of_wanted = row
        .failing_revision
        .as_deref()
        .or(row.revision.as_deref())
        .is_none_or(|name| name == wanted);
    match row.reason.as_deref() {
        Some(reason) if reason == NodeReason::Pending.as_str() || reason == NodeReason::Removing.as_str() => {
            Standing::Pending
        }
        Some(reason) if speaks_of_wanted => Standing::Failed {
            reason: reason.to_owned(),
            message: row.message.clone().unwrap_or_default(),
        },
        Some(_) => Standing::Pending,
        None if attached && row.hooks_attached == row.hooks_wanted => Standing::Ready,
        None => Standing::Pending,
    }
}

/// Whether a node's failure stays until somebody changes something.
fn is_stuck(reason: &str) -> bool {
    use NodeReason as R;
    match R::parse(reason) {
        Some(
            R::AgentTooOld
            | R::InvalidRevision
            | R::NoObjectForArchitecture
            | R::NoVariantFits
            | R::InvalidObject
            | R::InvalidHook
            | R::UnsupportedProgram
            | R::UnsupportedByKernel
            | R::BtfMissing
            | R::KernelConfigMissing
            | R::KernelSymbolMissing
            | R::VerifierRejected,
        ) => true,
        // The rest may pass, and the agent tries again.
        Some(_) | None => false,
    }
}

/// How many nodes stand where.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// By outcome.
    pub counts: NodeCounts,
    /// Why nodes failed, most frequent first.
    pub failures: Vec<FailureGroup>,
    /// Failed nodes that stay so until somebody changes something.
    pub stuck: u32,
    /// Live nodes that have no room for another program.
    pub full: u32,
    /// Live nodes that are not selected any more and still hold it.
    pub leaving: u32,
    /// The revision that runs on every selected node with a live agent, if it is one.
    pub on_all_nodes: Option<String>,
}

impl Tally {
    /// Counts. Without a selection (it is being deleted, or has never been accepted) nothing is selected.
    pub fn new(input: &Input, wanted: Option<&str>, selector: Option<&NodeSelector>) -> Self {
        let name = input.name();
        let mut tally = Self::default();
        let mut groups: BTreeMap<String, FailureGroup> = BTreeMap::new();
        let mut running: Option<Option<String>> = None;
        for node in &input.nodes {
            if !selector.is_some_and(|selector| selector.matches(&node.node.labels)) {
                let holds = node
                    .bpf_node
                    .as_ref()
                    .is_some_and(|known| known.row(&name).is_some());
                tally.leaving += u32::from(holds && node.is_live());
                continue;
            }
            let counts = &mut tally.counts;
            counts.selected += 1;
            let standing = standing(node, &name, wanted);
            let is_full = |known: &Arc<BpfNodeView>| {
                known.programs.len() >= MAX_PROGRAMS && known.wanted(&name).is_none()
            };
            tally.full += u32::from(node.is_live() && node.bpf_node.as_ref().is_some_and(is_full));
            if node.is_live() {
                let row = node.bpf_node.as_ref().and_then(|known| known.row(&name));
                let here = row
                    .filter(|row| row.hooks_attached == row.hooks_wanted)
                    .and_then(|row| row.revision.clone());
                running = match running {
                    None => Some(here),
                    Some(known) if known == here => Some(here),
                    Some(_) => Some(None),
                };
            }
            match standing {
                Standing::Ready => counts.ready += 1,
                Standing::Pending => counts.pending += 1,
                Standing::Unreachable => counts.unreachable += 1,
                Standing::WithoutAgent => counts.without_agent += 1,
                Standing::Failed { reason, message } => {
                    counts.failed += 1;
                    tally.stuck += u32::from(is_stuck(&reason));
                    let group = groups.entry(reason.clone()).or_insert_with(|| FailureGroup {
                        reason: truncate(&reason, 63).to_owned(),
                        nodes: 0,
                        example_node: node.node.name.clone(),
                        message: message.clone(),
                    });
                    group.nodes += 1;
                    // The same example each time, whatever the order of the nodes.
                    if node.node.name <= group.example_node {
                        group.example_node.clone_from(&node.node.name);
                        group.message = truncate(&message, MAX_MESSAGE_BYTES).to_owned();
                    }
                }
            }
        }
        tally.failures = groups.into_values().collect();
        tally
            .failures
            .sort_by(|a, b| b.nodes.cmp(&a.nodes).then_with(|| a.reason.cmp(&b.reason)));
        tally.failures.truncate(MAX_GROUPS);
        tally.on_all_nodes = running.flatten();
        tally
    }
}
