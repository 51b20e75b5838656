//! What has to be done about a BpfProgram. Pure: the same input gives the same plan, and an input that is as
//! planned gives a plan that does nothing.

use std::collections::BTreeSet;

use bpfleet_crds::{
    BpfRevisionSpec, Digest, names::FINALIZER, program::DEFAULT_REVISION_HISTORY_LIMIT,
    revision::RevisionSource,
};
use kube::ResourceExt as _;

use super::{input::Input, validate::Accepted};
use crate::{error::Fault, node::Desired, objects::config_map, view::BpfNodeView};

/// What has to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Keep the BpfProgram until its nodes have let go of it.
    pub add_finalizer: bool,
    /// Make this revision.
    pub create: Option<(String, BpfRevisionSpec)>,
    /// Copy these objects, or make a revision one more owner of a copy.
    pub copies: Vec<CopyObject>,
    /// Say where the objects of this revision can be had.
    pub sources: Option<(String, Vec<RevisionSource>)>,
    /// What the nodes shall do about it.
    pub desired: Desired,
    /// Delete these revisions.
    pub prune: Vec<String>,
    /// Let the BpfProgram go.
    pub remove_finalizer: bool,
}

/// An object that needs a copy, or a copy that needs an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyObject {
    /// The object.
    pub digest: Digest,
    /// The revision that owns the copy.
    pub revision: String,
    /// Whether there is no copy yet.
    pub missing: bool,
}

impl Plan {
    /// Whether it does nothing, given what was decided before.
    pub fn is_empty(&self, previous: Option<&Desired>) -> bool {
        let Self {
            add_finalizer,
            create,
            copies,
            sources,
            desired,
            prune,
            remove_finalizer,
        } = self;
        !add_finalizer
            && create.is_none()
            && copies.is_empty()
            && sources.is_none()
            && previous == Some(desired)
            && prune.is_empty()
            && !remove_finalizer
    }
}

/// Decides what has to be done.
pub fn plan(input: &Input, accepted: &Result<Accepted, Fault>) -> Plan {
    let has_finalizer = input.program.finalizers().iter().any(|name| name == FINALIZER);
    let mut plan = Plan {
        add_finalizer: false,
        create: None,
        copies: Vec::new(),
        sources: None,
        desired: Desired::Remove,
        prune: Vec::new(),
        remove_finalizer: false,
    };
    if input.deleting() {
        plan.remove_finalizer = has_finalizer && input.holders().next().is_none();
        return plan;
    }
    plan.add_finalizer = !has_finalizer;
    let wanted = match accepted {
        Ok(accepted) => {
            let known = input.revision(&accepted.revision);
            if known.is_none() {
                plan.create = Some((accepted.revision.clone(), accepted.spec.clone()));
            }
            let listed = known
                .and_then(|known| known.status.as_ref())
                .map(|status| status.sources.as_slice());
            if listed != Some(accepted.sources.as_slice()) {
                plan.sources = Some((accepted.revision.clone(), accepted.sources.clone()));
            }
            plan.desired = Desired::Run {
                revision: accepted.revision.clone(),
                selector: accepted.selector.clone(),
            };
            Some(accepted.revision.as_str())
        }
        Err(_) => {
            let decided = input.previous.as_ref().and_then(Desired::joining);
            // Another process may have decided: then the status tells.
            let reported = || Desired::last_known(&input.program).joining();
            plan.desired = Desired::Hold {
                joining: decided.or_else(|| input.current().and_then(|_| reported())),
            };
            input
                .program
                .status
                .as_ref()
                .and_then(|status| status.updated_revision.as_deref())
        }
    };
    plan.prune = prune(input, wanted);
    plan.copies = copies(input, accepted.as_ref().ok(), &plan.prune);
    plan
}

/// Revisions beyond the limit that no node knows, oldest last.
fn prune(input: &Input, wanted: Option<&str>) -> Vec<String> {
    let limit = input
        .program
        .spec
        .revision_history_limit
        .unwrap_or(DEFAULT_REVISION_HISTORY_LIMIT);
    let known = input.nodes.iter().filter_map(|input| input.bpf_node.as_deref());
    let used: BTreeSet<&str> = known.flat_map(BpfNodeView::revisions).collect();
    let mut unused: Vec<_> = input
        .revisions
        .iter()
        .filter(|revision| {
            revision
                .metadata
                .name
                .as_deref()
                .is_some_and(|name| Some(name) != wanted && !used.contains(name))
        })
        .map(|revision| (revision.creation_timestamp(), revision.name_any()))
        .collect();
    unused.sort();
    unused
        .into_iter()
        .rev()
        .skip(limit as usize)
        .map(|(_, name)| name)
        .collect()
}

/// Copies that are missing, or lack a revision as owner.
fn copies(input: &Input, accepted: Option<&Accepted>, pruned: &[String]) -> Vec<CopyObject> {
    let mut copies = Vec::new();
    let mut need = |digest: Digest, revision: &str, uid: Option<&str>| {
        let name = config_map::copy_name(digest);
        let copy = input
            .copies
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, view)| view);
        let owned =
            copy.is_some_and(|copy| uid.is_some_and(|uid| copy.owners.iter().any(|owner| owner == uid)));
        if !owned {
            copies.push(CopyObject {
                digest,
                revision: revision.to_owned(),
                missing: copy.is_none(),
            });
        }
    };
    let copied = |source: &&RevisionSource| source.config_map.is_some();
    let new = accepted.map(|accepted| accepted.revision.as_str());
    if let Some(accepted) = accepted {
        let uid = input
            .revision(&accepted.revision)
            .and_then(|known| known.metadata.uid.as_deref());
        accepted
            .sources
            .iter()
            .filter(copied)
            .for_each(|source| need(source.digest, &accepted.revision, uid));
    }
    for revision in &input.revisions {
        let name = revision.name_any();
        if Some(name.as_str()) == new || pruned.contains(&name) {
            continue;
        }
        let sources = revision.status.iter().flat_map(|status| &status.sources);
        sources
            .filter(copied)
            .for_each(|source| need(source.digest, &name, revision.metadata.uid.as_deref()));
    }
    copies
}

#[cfg(test)]
mod tests;
