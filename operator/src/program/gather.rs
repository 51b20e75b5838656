//! Everything that bears on a BpfProgram, from what the operator remembers of the API, and the objects from
//! where they are.

use std::{collections::HashSet, sync::Arc};

use bpfleet_crds::{BpfProgram, ProgramReason, canonical, names::OBJECT_CONFIG_MAP_PREFIX, node::Fact};
use kube::ResourceExt as _;

use super::{
    input::{Input, NodeInput},
    validate,
};
use crate::{
    artifacts::store::StoreError,
    context::Context,
    error::Fault,
    objects::resolve::{self, Objects},
};

/// All that bears on the BpfProgram of this name; none if it is gone or cannot be read.
pub async fn gather(context: &Context, name: &str) -> Option<Input> {
    let Some(view) = context.programs.get(name) else {
        context.forget(name);
        return None;
    };
    let program = match &view.object {
        Ok(program) => program.clone(),
        Err(error) => {
            // The API server's schema lets nothing of this shape in; it is older than the schema.
            tracing::warn!(program = name, error, "BpfProgram cannot be read; apply it again");
            return None;
        }
    };
    let uid = program.uid();
    let mine = |owner: &k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference| {
        Some(&owner.uid) == uid.as_ref()
    };
    let live: HashSet<String> = context
        .agents
        .list()
        .into_iter()
        .filter(|agent| agent.live)
        .map(|agent| agent.node.clone())
        .collect();
    let mut input = Input {
        nodes: context
            .nodes
            .list()
            .into_iter()
            .map(|node| NodeInput {
                live_agent: live.contains(&node.name),
                bpf_node: context.bpf_nodes.get(&node.name),
                node,
            })
            .collect(),
        revisions: context
            .revisions
            .list()
            .iter()
            .filter_map(|view| view.live())
            .filter(|revision| revision.spec.program == name && revision.owner_references().iter().any(mine))
            .cloned()
            .collect(),
        copies: copies(context),
        objects: Ok(Vec::new()),
        previous: context.desired(name),
        program,
    };
    if !input.deleting() {
        input.objects = objects(context, &input).await;
    }
    Some(input)
}

fn copies(context: &Context) -> Vec<(String, Arc<crate::view::ConfigMapView>)> {
    let names = context
        .config_maps
        .names()
        .into_iter()
        .filter(|name| name.starts_with(OBJECT_CONFIG_MAP_PREFIX));
    names
        .filter_map(|name| context.config_maps.get(&name).map(|view| (name, view)))
        .collect()
}

/// The objects of each variant. What they hold is read only where it matters: for a new revision, and where
/// a node's kernel may lack what they need.
async fn objects(context: &Context, input: &Input) -> Result<Vec<(String, Objects)>, Fault> {
    let program: &BpfProgram = &input.program;
    let name = program.name_any();
    let mut all = Vec::new();
    for variant in &program.spec.variants {
        let key = (name.as_str(), variant.name.as_str());
        let found = context
            .resolver
            .resolve(
                key,
                &variant.object,
                input.current(),
                &context.store,
                &context.config_maps,
            )
            .await?;
        all.push((variant.name.clone(), found));
    }
    let spec = validate::revision_spec(program, &all);
    let is_new = canonical::revision_name(&spec).is_ok_and(|revision| input.revision(&revision).is_none());
    let kernels_lack_btf = input
        .nodes
        .iter()
        .any(|node| node.bpf_node.as_ref().is_some_and(|known| known.btf == Fact::No));
    if !is_new && !kernels_lack_btf {
        return Ok(all);
    }
    for (_, objects) in &mut all {
        for resolved in objects
            .objects
            .iter_mut()
            .filter(|resolved| resolved.info.is_none())
        {
            let digest = resolved.object.digest;
            let bytes = match context.store.get(digest).await {
                Ok(bytes) => bytes,
                // Only a prediction depends on it.
                Err(_) if !is_new => continue,
                Err(error @ StoreError::Unknown(_)) => {
                    return Err(Fault::transient(ProgramReason::ApiUnavailable, error.to_string()));
                }
                Err(error @ StoreError::Unavailable { .. }) => {
                    return Err(Fault::transient(
                        ProgramReason::RegistryUnavailable,
                        error.to_string(),
                    ));
                }
            };
            let inspected = resolve::inspect(&bytes, &digest.to_string())?;
            context.resolver.learn(&name, digest, &inspected);
            resolved.info = Some(inspected);
        }
    }
    Ok(all)
}
