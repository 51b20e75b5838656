//! What each node shall run: composed from what was decided about every program, and written by nobody
//! else, so that two programs never overwrite each other's entries.
//!
//! What this process has not decided yet stays as it is on the node; after a restart nothing is touched
//! before its program has been looked at.

use std::collections::BTreeMap;

use bpfleet_crds::{
    BpfNode, BpfNodeSpec, BpfProgram,
    node::{MAX_PROGRAMS, NodeProgram},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use serde_json::{Value, json};

use crate::{
    selector::NodeSelector,
    view::{BpfNodeView, NodeView},
};

/// What was decided about a program.
#[derive(Clone, Debug, PartialEq)]
pub enum Desired {
    /// Selected nodes run this revision; others do not run the program.
    Run {
        /// The revision.
        revision: String,
        /// Which nodes.
        selector: NodeSelector,
    },
    /// The newest input cannot be used: what runs goes on running.
    Hold {
        /// For nodes that came since: the revision and the selection that were last accepted, if this
        /// process knows them.
        joining: Option<(String, NodeSelector)>,
    },
    /// No node runs it.
    Remove,
}

impl Desired {
    /// What a BpfProgram's own status says was decided. It stands in for a decision that this process has not
    /// made yet, or cannot make: a node that runs the program may have lost its BpfNode meanwhile, and must not
    /// get one without it.
    pub fn last_known(program: &BpfProgram) -> Self {
        if program.metadata.deletion_timestamp.is_some() {
            return Self::Remove;
        }
        let joining = || {
            let revision = program.status.as_ref()?.updated_revision.clone()?;
            let selector = NodeSelector::new(program.spec.node_selector.as_ref()).ok()?;
            Some((revision, selector))
        };
        Self::Hold { joining: joining() }
    }

    /// The revision and selection that new nodes get.
    pub fn joining(&self) -> Option<(String, NodeSelector)> {
        match self {
            Self::Run { revision, selector } => Some((revision.clone(), selector.clone())),
            Self::Hold { joining } => joining.clone(),
            Self::Remove => None,
        }
    }
}

/// What a node shall run, sorted by name. `programs` has every BpfProgram that exists, with what was decided
/// about it, if anything was.
pub fn compose(
    labels: &BTreeMap<String, String>,
    existing: &[NodeProgram],
    programs: &BTreeMap<String, Option<Desired>>,
) -> Vec<NodeProgram> {
    let revision = |name: &str, desired: &Option<Desired>| {
        let stays = || {
            existing
                .iter()
                .find(|entry| entry.name == name)
                .map(|entry| entry.revision.clone())
        };
        match desired {
            None => stays(),
            Some(Desired::Run { revision, selector }) => selector.matches(labels).then(|| revision.clone()),
            Some(Desired::Hold { joining }) => stays().or_else(|| {
                let (revision, selector) = joining.as_ref()?;
                selector.matches(labels).then(|| revision.clone())
            }),
            Some(Desired::Remove) => None,
        }
    };
    let entry = |(name, desired): (&String, &Option<Desired>)| {
        Some(NodeProgram {
            name: name.clone(),
            revision: revision(name, desired)?,
        })
    };
    let mut entries: Vec<NodeProgram> = programs.iter().filter_map(entry).collect();
    if entries.len() > MAX_PROGRAMS {
        // What is there stays; of the others, the first by name find room.
        let is_there = |entry: &NodeProgram| existing.iter().any(|known| known.name == entry.name);
        entries.sort_by_key(|entry| !is_there(entry));
        entries.truncate(MAX_PROGRAMS);
        entries.sort_by(|a, b| a.name.cmp(&b.name));
    }
    entries
}

/// A write that brings a BpfNode to what it shall be.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Make it.
    Create(Box<BpfNode>),
    /// It belongs to a Node that is gone, or to none: delete the one with this identity. Where a Node of
    /// its name exists, a new one is made afterwards.
    Delete {
        /// Its identity.
        uid: String,
    },
    /// Merge this into it, if it is still the version that the decision was made on.
    Patch(Value),
}

/// The write that a BpfNode needs, if any. `version` is the resourceVersion it was seen at.
pub fn decide(
    node: Option<&NodeView>,
    bpf_node: Option<(&BpfNodeView, Option<&str>)>,
    programs: &BTreeMap<String, Option<Desired>>,
) -> Option<Write> {
    let Some(node) = node else {
        // The garbage collector removes those that a Node owned.
        return bpf_node
            .filter(|(known, _)| known.owner.is_none() && !known.deleting)
            .map(|(known, _)| Write::Delete {
                uid: known.uid.clone(),
            });
    };
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node.name.clone(),
        uid: node.uid.clone(),
        ..OwnerReference::default()
    };
    let Some((known, version)) = bpf_node else {
        let metadata = ObjectMeta {
            name: Some(node.name.clone()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        };
        let spec = BpfNodeSpec {
            programs: compose(&node.labels, &[], programs),
        };
        return Some(Write::Create(Box::new(BpfNode {
            metadata,
            spec,
            status: None,
        })));
    };
    if known.deleting {
        return None;
    }
    if known.owner.as_ref().is_some_and(|uid| *uid != node.uid) {
        return Some(Write::Delete {
            uid: known.uid.clone(),
        });
    }
    let wanted = compose(&node.labels, &known.programs, programs);
    let mut metadata = json!({"resourceVersion": version});
    if known.owner.is_none() {
        metadata["ownerReferences"] = json!([owner]);
    } else if wanted == known.programs {
        return None;
    }
    Some(Write::Patch(
        json!({"metadata": metadata, "spec": {"programs": wanted}}),
    ))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn selector(zone: &str) -> NodeSelector {
        NodeSelector::new(Some(
            &serde_json::from_value(json!({"matchLabels": {"zone": zone}})).unwrap(),
        ))
        .unwrap()
    }

    fn run(revision: &str, zone: &str) -> Option<Desired> {
        Some(Desired::Run {
            revision: revision.to_owned(),
            selector: selector(zone),
        })
    }

    fn hold(joining: Option<(&str, &str)>) -> Option<Desired> {
        let joining = joining.map(|(revision, zone)| (revision.to_owned(), selector(zone)));
        Some(Desired::Hold { joining })
    }

    fn entries(list: &[(&str, &str)]) -> Vec<NodeProgram> {
        list.iter()
            .map(|(name, revision)| NodeProgram {
                name: (*name).into(),
                revision: (*revision).into(),
            })
            .collect()
    }

    const OLD: &[(&str, &str)] = &[("p", "p-old")];

    #[rstest]
    #[case::selected(&[], run("p-1", "a"), &[("p", "p-1")])]
    #[case::replaced(OLD, run("p-1", "a"), &[("p", "p-1")])]
    #[case::not_selected(OLD, run("p-1", "b"), &[])]
    #[case::removed(OLD, Some(Desired::Remove), &[])]
    #[case::undecided_stays(OLD, None, OLD)]
    #[case::undecided_is_not_invented(&[], None, &[])]
    #[case::held_stays(OLD, hold(None), OLD)]
    #[case::held_stays_though_another_was_accepted(OLD, hold(Some(("p-1", "b"))), OLD)]
    #[case::held_and_joining(&[], hold(Some(("p-1", "a"))), &[("p", "p-1")])]
    #[case::held_and_not_selected(&[], hold(Some(("p-1", "b"))), &[])]
    fn a_node_in_zone_a_gets(
        #[case] existing: &[(&str, &str)],
        #[case] desired: Option<Desired>,
        #[case] expected: &[(&str, &str)],
    ) {
        let labels = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
        let programs = BTreeMap::from([("p".to_owned(), desired)]);
        assert_eq!(compose(&labels, &entries(existing), &programs), entries(expected));
    }

    #[test]
    fn a_program_that_was_not_decided_yet_is_as_its_status_says() {
        let mut program: BpfProgram = serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {"nodeSelector": {"matchLabels": {"zone": "a"}}, "variants": []},
            "status": {"updatedRevision": "p-old"},
        }))
        .unwrap();
        assert_eq!(Some(Desired::last_known(&program)), hold(Some(("p-old", "a"))));
        program.status = None;
        assert_eq!(
            Some(Desired::last_known(&program)),
            hold(None),
            "never rolled out"
        );
        program.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        assert_eq!(Desired::last_known(&program), Desired::Remove);
    }

    #[test]
    fn entries_of_programs_that_do_not_exist_go() {
        assert_eq!(compose(&BTreeMap::new(), &entries(OLD), &BTreeMap::new()), []);
    }

    #[test]
    fn a_full_node_keeps_what_it_has() {
        let all = |count: usize| (0..count).map(|index| format!("p{index:04}")).collect::<Vec<_>>();
        let run = |name: &String| {
            let revision = format!("{name}-1");
            let selector = NodeSelector::new(None).unwrap();
            (name.clone(), Some(Desired::Run { revision, selector }))
        };
        let programs: BTreeMap<_, _> = all(MAX_PROGRAMS + 5).iter().map(run).collect();
        let last = format!("p{:04}", MAX_PROGRAMS + 4);
        let there = entries(&[(&last, "old")]);
        let composed = compose(&BTreeMap::new(), &there, &programs);
        assert_eq!(composed.len(), MAX_PROGRAMS);
        assert!(composed.is_sorted_by_key(|entry| &entry.name));
        assert_eq!(composed.last().unwrap().revision, format!("{last}-1"));
        assert_eq!(compose(&BTreeMap::new(), &composed, &programs), composed);
    }

    fn node() -> NodeView {
        NodeView {
            name: "n".into(),
            uid: "node-1".into(),
            ready: true,
            ..NodeView::default()
        }
    }

    fn bpf_node(owner: Option<&str>, programs: &[(&str, &str)]) -> BpfNodeView {
        BpfNodeView {
            name: "n".into(),
            uid: "b".into(),
            owner: owner.map(str::to_owned),
            programs: entries(programs),
            ..BpfNodeView::default()
        }
    }

    #[test]
    fn a_bpf_node_is_made_owned_put_right_or_left_alone() {
        let none = BTreeMap::new();
        let Some(Write::Create(made)) = decide(Some(&node()), None, &none) else {
            panic!("not made")
        };
        assert_eq!(made.metadata.owner_references.unwrap()[0].uid, "node-1");

        let right = bpf_node(Some("node-1"), &[]);
        assert_eq!(decide(Some(&node()), Some((&right, Some("7"))), &none), None);

        let edited = bpf_node(Some("node-1"), &[("x", "x-1")]);
        let Some(Write::Patch(patch)) = decide(Some(&node()), Some((&edited, Some("7"))), &none) else {
            panic!("not put right")
        };
        assert_eq!(
            patch,
            json!({"metadata": {"resourceVersion": "7"}, "spec": {"programs": []}})
        );

        let orphan = bpf_node(None, &[]);
        let Some(Write::Patch(patch)) = decide(Some(&node()), Some((&orphan, Some("7"))), &none) else {
            panic!("not owned")
        };
        assert_eq!(patch["metadata"]["ownerReferences"][0]["uid"], "node-1");
    }

    #[test]
    fn one_of_an_earlier_node_of_the_name_or_of_none_is_deleted() {
        let none = BTreeMap::new();
        let earlier = bpf_node(Some("node-0"), &[]);
        assert_eq!(
            decide(Some(&node()), Some((&earlier, None)), &none),
            Some(Write::Delete { uid: "b".into() })
        );
        assert_eq!(decide(None, Some((&earlier, None)), &none), None);
        assert_eq!(
            decide(None, Some((&bpf_node(None, &[]), None)), &none),
            Some(Write::Delete { uid: "b".into() })
        );
        let deleting = BpfNodeView {
            deleting: true,
            ..earlier
        };
        assert_eq!(decide(Some(&node()), Some((&deleting, None)), &none), None);
    }
}
