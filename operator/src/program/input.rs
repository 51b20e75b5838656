//! What a reconcile decides on: values only.

use std::sync::Arc;

use bpfleet_crds::{BpfProgram, BpfRevision};
use kube::ResourceExt as _;

use crate::{
    error::Fault,
    node::Desired,
    objects::resolve::Objects,
    selector::NodeSelector,
    view::{BpfNodeView, ConfigMapView, NodeView},
};

/// A Linux node with what is known of it.
#[derive(Clone, Debug, Default)]
pub struct NodeInput {
    /// The Node.
    pub node: Arc<NodeView>,
    /// Whether an agent's pod is Ready on it.
    pub live_agent: bool,
    /// Its BpfNode.
    pub bpf_node: Option<Arc<BpfNodeView>>,
}

/// A BpfProgram and all that bears on it.
#[derive(Clone, Debug)]
pub struct Input {
    /// The BpfProgram.
    pub program: BpfProgram,
    /// Every Linux node.
    pub nodes: Vec<NodeInput>,
    /// Its revisions that are not being deleted and are its own, not those of an earlier BpfProgram of this name.
    pub revisions: Vec<BpfRevision>,
    /// The copies of objects, by name of the ConfigMap.
    pub copies: Vec<(String, Arc<ConfigMapView>)>,
    /// The objects of each variant, by the variant's name; empty while it is being deleted.
    pub objects: Result<Vec<(String, Objects)>, Fault>,
    /// What was last decided about it by this process.
    pub previous: Option<Desired>,
}

impl Input {
    /// The BpfProgram's name.
    pub fn name(&self) -> String {
        self.program.name_any()
    }

    /// Whether it is being deleted.
    pub fn deleting(&self) -> bool {
        self.program.metadata.deletion_timestamp.is_some()
    }

    /// The revision that nodes shall run as of the last report, if it still exists.
    pub fn current(&self) -> Option<&BpfRevision> {
        let name = self.program.status.as_ref()?.updated_revision.as_deref()?;
        self.revision(name)
    }

    /// One of its revisions.
    pub fn revision(&self, name: &str) -> Option<&BpfRevision> {
        self.revisions
            .iter()
            .find(|revision| revision.metadata.name.as_deref() == Some(name))
    }

    /// The nodes that a selector selects.
    pub fn selected(&self, selector: &NodeSelector) -> impl Iterator<Item = &NodeInput> {
        self.nodes
            .iter()
            .filter(|input| selector.matches(&input.node.labels))
    }

    /// Nodes with a live agent that hold this program, or were to run it and do not say yet that they do not.
    pub fn holders(&self) -> impl Iterator<Item = &NodeInput> {
        let name = self.name();
        // What was never rolled out is held by nobody; a node that reports nothing must not hold up what it
        // was never told to run.
        let rolled_out = self
            .program
            .status
            .as_ref()
            .is_some_and(|status| status.updated_revision.is_some());
        let selector = NodeSelector::new(self.program.spec.node_selector.as_ref())
            .ok()
            .filter(|_| rolled_out);
        self.nodes.iter().filter(move |input| {
            let Some(bpf_node) = &input.bpf_node else {
                return false;
            };
            let holds = bpf_node.wanted(&name).is_some() || bpf_node.row(&name).is_some();
            let selected = || {
                selector
                    .as_ref()
                    .is_some_and(|selector| selector.matches(&input.node.labels))
            };
            input.is_live() && (holds || (!bpf_node.is_current() && selected()))
        })
    }
}

impl NodeInput {
    /// Whether it is heard from, and its agent is.
    pub fn is_live(&self) -> bool {
        self.node.ready && self.live_agent
    }
}
