//! What is well, from what the API server says. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::Pod, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::ResourceExt as _;

use super::Check;
use crate::view::{AgentView, BpfNodeView, NodeView};

/// Most nodes that are named for one cause.
const MAX_NAMED: usize = 5;

/// The resources of bpfleet.
pub const CRDS: [&str; 3] = [
    "bpfnodes.bpfleet.io",
    "bpfprograms.bpfleet.io",
    "bpfrevisions.bpfleet.io",
];

/// Whether the resources are served.
pub fn crds(found: Vec<(&str, Result<Option<CustomResourceDefinition>, kube::Error>)>) -> Check {
    let mut wrong = Vec::new();
    for (name, answer) in found {
        let problem = match answer {
            Err(error) => Some(error.to_string()),
            Ok(None) => Some("is not installed; install the chart with crds.enabled=true".to_owned()),
            Ok(Some(crd)) => (!established(&crd)).then(|| "is not served yet".to_owned()),
        };
        if let Some(problem) = problem {
            wrong.push(format!("{name}: {problem}"));
        }
    }
    Check {
        part: "resources",
        ok: wrong.is_empty(),
        message: if wrong.is_empty() {
            "BpfProgram, BpfRevision and BpfNode are served".to_owned()
        } else {
            wrong.join("; ")
        },
    }
}

fn established(crd: &CustomResourceDefinition) -> bool {
    let conditions = crd.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Established" && condition.status == "True")
}

/// Whether an operator runs. One replica is enough to work.
pub fn operator(pods: &[Pod]) -> Check {
    let ready = |pod: &&Pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        let ready = conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        ready && pod.metadata.deletion_timestamp.is_none()
    };
    let count = pods.iter().filter(ready).count();
    let waiting = pods
        .iter()
        .find(|pod| !ready(pod))
        .map(|pod| format!("; {} is not: see `kubectl describe pod`", pod.name_any()));
    Check {
        part: "operator",
        ok: count > 0,
        message: format!(
            "{count} of {} pods are Ready{}",
            pods.len(),
            waiting.unwrap_or_default()
        ),
    }
}

/// Whether every node that shall have an agent has a live one that reports. Which these are is the DaemonSet's business
/// (`desired`, by its node selector and the like); a node that Kubernetes does not hear from is left out.
pub fn agents(desired: usize, nodes: &[NodeView], agents: &[AgentView], bpf_nodes: &[BpfNodeView]) -> Check {
    let mut placed: BTreeMap<&str, bool> = BTreeMap::new();
    for agent in agents {
        *placed.entry(agent.node.as_str()).or_default() |= agent.live;
    }
    let reports: BTreeMap<&str, &BpfNodeView> = bpf_nodes
        .iter()
        .map(|bpf_node| (bpf_node.name.as_str(), bpf_node))
        .collect();
    let mut causes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let (mut well, mut away) = (0, 0);
    for node in nodes {
        let name = node.name.as_str();
        let Some(live) = placed.get(name) else { continue };
        if !node.ready {
            away += 1;
            continue;
        }
        let cause = match reports.get(name) {
            _ if !live => "no Ready agent (kubectl get pods -l app.kubernetes.io/component=agent -o wide)",
            None => "no BpfNode yet: does an operator lead?",
            Some(report) if !report.is_current() || report.kernel.is_none() => {
                "its agent has not reported yet"
            }
            Some(_) => {
                well += 1;
                continue;
            }
        };
        causes.entry(cause).or_default().push(name);
    }
    let wanted = desired.saturating_sub(away);
    let mut message =
        format!("{well} of {wanted} Ready nodes that shall have an agent have one that reports");
    for (cause, names) in &causes {
        let named = names[..names.len().min(MAX_NAMED)].join(", ");
        let more = names.len().saturating_sub(MAX_NAMED);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        message.push_str(&format!("; {named}{more}: {cause}"));
    }
    let known: usize = causes.values().map(Vec::len).sum();
    if well + known < wanted {
        message.push_str("; the others have no pod: kubectl describe daemonset bpfleet-agent says why");
    }
    if wanted == 0 {
        message.push_str("; no Ready node is to have one: see agent.nodeSelector");
    }
    Check {
        part: "agents",
        ok: wanted > 0 && well >= wanted && causes.is_empty(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, ready: bool) -> NodeView {
        NodeView {
            name: name.into(),
            ready,
            ..NodeView::default()
        }
    }

    fn agent(node: &str, live: bool) -> AgentView {
        AgentView {
            node: node.into(),
            live,
        }
    }

    fn report(name: &str, observed_generation: i64) -> BpfNodeView {
        BpfNodeView {
            name: name.into(),
            generation: 1,
            observed_generation,
            kernel: Some("6.1.0".into()),
            ..BpfNodeView::default()
        }
    }

    #[test]
    fn every_node_that_kubernetes_hears_from_needs_an_agent_that_reports() {
        let nodes = [
            node("a", true),
            node("b", true),
            node("c", true),
            node("d", true),
            node("away", false),
        ];
        let live = [
            agent("a", true),
            agent("b", false),
            agent("c", true),
            agent("d", true),
        ];
        let check = agents(
            5,
            &nodes,
            &live,
            &[report("a", 1), report("b", 1), report("d", 0)],
        );
        assert!(!check.ok);
        assert!(
            check.message.starts_with("1 of 5 Ready nodes"),
            "{}",
            check.message
        );
        for part in [
            "b: no Ready agent",
            "c: no BpfNode yet",
            "d: its agent has not reported",
        ] {
            assert!(check.message.contains(part), "{part}: {}", check.message);
        }
        assert!(
            check.message.contains("the others have no pod"),
            "{}",
            check.message
        );
        assert!(agents(1, &nodes[..1], &live, &[report("a", 1)]).ok);
    }

    #[test]
    fn nodes_that_shall_have_no_agent_and_those_that_are_away_are_no_concern() {
        let nodes = [node("a", true), node("other", true), node("away", false)];
        let placed = [agent("a", true), agent("away", false)];
        let check = agents(2, &nodes, &placed, &[report("a", 1)]);
        assert!(check.ok, "{check:?}");
        assert!(!agents(0, &nodes, &[], &[]).ok);
    }

    #[test]
    fn many_nodes_with_one_cause_are_counted() {
        let nodes: Vec<NodeView> = (0..9).map(|n| node(&format!("n{n}"), true)).collect();
        let pods: Vec<AgentView> = nodes.iter().map(|node| agent(&node.name, false)).collect();
        let check = agents(9, &nodes, &pods, &[]);
        assert!(
            check.message.contains("n4 and 4 more: no Ready agent"),
            "{}",
            check.message
        );
    }

    #[test]
    fn one_operator_is_enough_and_the_other_is_named() {
        let pod = |name: &str, ready: &str| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": name},
                "status": {"conditions": [{"type": "Ready", "status": ready}]}}))
            .unwrap()
        };
        let check = operator(&[pod("o-1", "True"), pod("o-2", "False")]);
        assert!(
            check.ok && check.message.starts_with("1 of 2 pods are Ready; o-2 is not"),
            "{check:?}"
        );
        assert!(!operator(&[]).ok);
    }

    #[test]
    fn a_missing_resource_says_how_it_gets_there() {
        let crd = |status: &str| -> CustomResourceDefinition {
            serde_json::from_value(json!({"metadata": {"name": "x"}, "spec": {"group": "g", "names": {"kind": "K", "plural": "p"},
                "scope": "Cluster", "versions": []}, "status": {"conditions": [{"type": "Established", "status": status}]}}))
            .unwrap()
        };
        assert!(crds(vec![("a", Ok(Some(crd("True"))))]).ok);
        let check = crds(vec![("a", Ok(Some(crd("False")))), ("b", Ok(None))]);
        assert_eq!(
            check.message,
            "a: is not served yet; b: is not installed; install the chart with crds.enabled=true"
        );
    }
}
