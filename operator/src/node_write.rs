//! Brings one BpfNode to what it shall be.

use bpfleet_crds::BpfNode;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::DeserializeGuard,
};

use crate::{
    context::Context,
    error::chain,
    node::{Write, decide},
    queue::Outcome,
    view::BpfNodeView,
};

/// Looks at one node: makes, deletes or corrects its BpfNode.
pub async fn reconcile(context: &Context, name: &str) -> Outcome {
    let node = context.nodes.get(name);
    let known = context.bpf_nodes.get_versioned(name);
    let seen = known
        .as_ref()
        .map(|(view, version)| (&**view, version.as_deref()));
    let programs = if seen.is_some() {
        context.all_desired()
    } else {
        context.all_desired_or_last_known()
    };
    let Some(write) = decide(node.as_deref(), seen, &programs) else {
        return Outcome::Done;
    };
    let written = perform(&context.bpf_node_api, name, &write).await;
    context.metrics.api_write("BpfNode");
    match written {
        Ok(Some(bpf_node)) => {
            let version = bpf_node.resource_version();
            context
                .bpf_nodes
                .refresh(name, version, BpfNodeView::new(DeserializeGuard(Ok(bpf_node))));
            Outcome::Done
        }
        // The watch tells when it is gone, and a Node of its name then gets a new one.
        Ok(None) => Outcome::Done,
        Err(kube::Error::Api(status))
            if status.is_not_found() || status.is_conflict() || status.is_already_exists() =>
        {
            // Decided on an old version; the watch brings the new one, and this look again.
            tracing::debug!(
                node = name,
                reason = status.reason,
                "the BpfNode changed meanwhile"
            );
            Outcome::Failed
        }
        Err(error) => {
            tracing::warn!(node = name, error = chain(&error), "cannot write the BpfNode");
            Outcome::Failed
        }
    }
}

async fn perform(api: &Api<BpfNode>, name: &str, write: &Write) -> Result<Option<BpfNode>, kube::Error> {
    match write {
        Write::Create(bpf_node) => api.create(&PostParams::default(), bpf_node).await.map(Some),
        Write::Patch(patch) => api
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map(Some),
        Write::Delete { uid } => {
            let preconditions = Some(Preconditions {
                uid: Some(uid.clone()),
                resource_version: None,
            });
            api.delete(
                name,
                &DeleteParams {
                    preconditions,
                    ..DeleteParams::default()
                },
            )
            .await
            .map(|_| None)
        }
    }
}
