//! What uninstalling decides. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use bpfleet_crds::{
    BpfProgramStatus, ProgramReason,
    conditions::{READY, Status, set},
    names::FINALIZER,
    program::NodeCounts,
};
use jiff::Timestamp;

use crate::view::{AgentView, BpfNodeView, NodeView};

/// Why a node is not clean, as far as can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeStanding {
    /// Its agent is at it.
    Busy {
        /// Programs that are still there; none if the agent has not looked yet.
        programs: Vec<String>,
    },
    /// Kubernetes does not hear from it.
    Unreachable,
    /// Nobody there can remove anything.
    WithoutAgent,
}

impl fmt::Display for NodeStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy { programs } if programs.is_empty() => {
                f.write_str("its agent has not said yet that nothing runs")
            }
            Self::Busy { programs } => write!(f, "its agent has not removed {}", programs.join(", ")),
            Self::Unreachable => {
                f.write_str("Kubernetes does not hear from it; what ran there may still run")
            }
            Self::WithoutAgent => f.write_str("no agent is Ready there; what ran there may still run"),
        }
    }
}

/// Every node that may still run something. One that never reported anything, or is gone, has nothing.
pub fn standings(
    nodes: &[NodeView],
    agents: &[AgentView],
    bpf_nodes: &[BpfNodeView],
) -> BTreeMap<String, NodeStanding> {
    let live: BTreeSet<&str> = agents
        .iter()
        .filter(|agent| agent.live)
        .map(|agent| agent.node.as_str())
        .collect();
    let nodes: BTreeMap<&str, &NodeView> = nodes.iter().map(|node| (node.name.as_str(), node)).collect();
    let mut unclean = BTreeMap::new();
    for bpf_node in bpf_nodes {
        let Some(node) = nodes.get(bpf_node.name.as_str()) else {
            continue;
        };
        let clean = bpf_node.is_current() && bpf_node.rows.is_empty();
        // An agent that never said anything never ran anything.
        let never = bpf_node.observed_generation == 0 && bpf_node.rows.is_empty();
        let standing = match (node.ready, live.contains(bpf_node.name.as_str())) {
            _ if clean => continue,
            (true, true) => NodeStanding::Busy {
                programs: bpf_node.rows.iter().map(|row| row.name.clone()).collect(),
            },
            _ if never => continue,
            (false, _) => NodeStanding::Unreachable,
            (true, false) => NodeStanding::WithoutAgent,
        };
        unclean.insert(bpf_node.name.clone(), standing);
    }
    unclean
}

/// The other finalizers, if ours is among them.
pub fn without_ours(finalizers: Option<&[String]>) -> Option<Vec<&str>> {
    let finalizers = finalizers.unwrap_or_default();
    finalizers.iter().any(|name| name == FINALIZER).then(|| {
        finalizers
            .iter()
            .map(String::as_str)
            .filter(|name| *name != FINALIZER)
            .collect()
    })
}

/// A status that nobody keeps up to date any more must not go on saying Ready, nor that anything runs.
pub fn uninstalled(
    mut status: BpfProgramStatus,
    generation: Option<i64>,
    now: Timestamp,
) -> BpfProgramStatus {
    status.revision = None;
    status.failures.clear();
    if let Some(nodes) = &mut status.nodes {
        *nodes = NodeCounts {
            selected: nodes.selected,
            without_agent: nodes.selected,
            ..NodeCounts::default()
        };
    }
    set(
        &mut status.conditions,
        READY,
        Status::False,
        ProgramReason::Uninstalled.as_str(),
        "bpfleet was uninstalled; install it again and this program will run again, or delete it".to_owned(),
        generation,
        now,
    );
    status
}

#[cfg(test)]
mod tests {
    use bpfleet_crds::node::ProgramStatus;
    use rstest::rstest;

    use super::*;

    fn node(ready: bool) -> NodeView {
        NodeView {
            name: "n".into(),
            ready,
            ..NodeView::default()
        }
    }

    fn bpf_node(generation: i64, observed_generation: i64, programs: &[&str]) -> BpfNodeView {
        let row = |name: &&str| ProgramStatus {
            name: (*name).to_owned(),
            ..ProgramStatus::default()
        };
        BpfNodeView {
            name: "n".into(),
            generation,
            observed_generation,
            rows: programs.iter().map(row).collect(),
            ..BpfNodeView::default()
        }
    }

    fn busy(programs: &[&str]) -> Option<NodeStanding> {
        let programs = programs.iter().map(|name| (*name).to_owned()).collect();
        Some(NodeStanding::Busy { programs })
    }

    #[rstest]
    #[case::clean(node(true), true, bpf_node(2, 2, &[]), None)]
    #[case::clean_and_then_away(node(false), false, bpf_node(2, 2, &[]), None)]
    #[case::not_looked_yet(node(true), true, bpf_node(2, 1, &[]), busy(&[]))]
    #[case::removing(node(true), true, bpf_node(2, 2, &["p", "q"]), busy(&["p", "q"]))]
    #[case::away(node(false), true, bpf_node(2, 1, &["p"]), Some(NodeStanding::Unreachable))]
    #[case::no_agent(node(true), false, bpf_node(2, 1, &["p"]), Some(NodeStanding::WithoutAgent))]
    #[case::agent_that_never_ran(node(true), false, bpf_node(1, 0, &[]), None)]
    #[case::agent_that_just_started(node(true), true, bpf_node(1, 0, &[]), busy(&[]))]
    fn a_node_is_clean_when_its_agent_says_so(
        #[case] node: NodeView,
        #[case] live: bool,
        #[case] bpf_node: BpfNodeView,
        #[case] expected: Option<NodeStanding>,
    ) {
        let agents = [AgentView {
            node: "n".into(),
            live,
        }];
        let found = standings(&[node], &agents, &[bpf_node]).remove("n");
        assert_eq!(found, expected);
    }

    #[test]
    fn a_node_that_left_the_cluster_is_nobodys_concern() {
        assert!(standings(&[], &[], &[bpf_node(2, 1, &["p"])]).is_empty());
    }

    #[test]
    fn only_our_finalizer_is_dropped() {
        let of = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<String>>()
        };
        assert_eq!(
            without_ours(Some(&of(&["a", FINALIZER, "b"]))),
            Some(vec!["a", "b"])
        );
        assert_eq!(without_ours(Some(&of(&["a"]))), None);
        assert_eq!(without_ours(None), None);
    }

    #[test]
    fn a_program_is_not_ready_after_the_end() {
        let before = BpfProgramStatus {
            revision: Some("p-1".into()),
            updated_revision: Some("p-1".into()),
            nodes: Some(NodeCounts {
                selected: 2,
                ready: 2,
                ..NodeCounts::default()
            }),
            ..BpfProgramStatus::default()
        };
        let status = uninstalled(before, Some(3), Timestamp::UNIX_EPOCH);
        assert_eq!(
            (status.revision, status.updated_revision.as_deref()),
            (None, Some("p-1"))
        );
        let nodes = status.nodes.unwrap();
        assert_eq!((nodes.selected, nodes.ready, nodes.without_agent), (2, 0, 2));
        let ready = status.conditions.iter().find(|c| c.type_ == READY).unwrap();
        assert_eq!(
            (
                ready.status.as_str(),
                ready.reason.as_str(),
                ready.observed_generation
            ),
            ("False", "Uninstalled", Some(3))
        );
    }
}
