//! What was planned, done. Each step can be repeated: after a crash in between, the next reconcile plans
//! what is left. Nodes hear of a revision only after its bytes are safe.

use bpfleet_crds::{
    BpfProgram, BpfProgramStatus, BpfRevision, BpfRevisionSpec,
    names::{FINALIZER, PROGRAM_LABEL},
    revision::RevisionSource,
};
use kube::{
    Resource as _, ResourceExt as _,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::{Value, json};

use super::{
    input::Input,
    plan::{CopyObject, Plan},
    report::{Applied, notes},
};
use crate::{
    context::Context,
    error::{ApiError, chain},
    objects::config_map,
    view::{ProgramView, RevisionView},
};

/// Does what was planned.
pub async fn apply(context: &Context, input: &Input, plan: &Plan) -> Applied {
    let mut applied = Applied::default();
    if let Err(error) = steps(context, input, plan, &mut applied).await {
        let failure = chain(&error);
        tracing::warn!(program = input.name(), error = failure, "cannot apply");
        applied.failure = Some(failure);
    }
    applied
}

async fn steps(context: &Context, input: &Input, plan: &Plan, applied: &mut Applied) -> Result<(), ApiError> {
    // No `..`: a new kind of step that nobody takes does not compile.
    let Plan {
        add_finalizer,
        create,
        copies,
        sources,
        desired,
        prune,
        remove_finalizer,
    } = plan;
    if *add_finalizer {
        let finalizers = input
            .program
            .finalizers()
            .iter()
            .map(String::as_str)
            .chain([FINALIZER]);
        set_finalizers(context, &input.program, finalizers.collect()).await?;
    }
    let mut created = None;
    if let Some((name, spec)) = create {
        created = Some(create_revision(context, &input.program, name, spec).await?);
    }
    let revision = |name: &str| {
        created
            .as_ref()
            .filter(|new| new.name_any() == name)
            .or_else(|| input.revision(name))
    };
    for copy in copies {
        if let Some(owner) = revision(&copy.revision) {
            copy_object(context, copy, owner, applied).await?;
        }
    }
    if let Some((name, sources)) = sources {
        set_sources(context, name, sources).await?;
    }
    context.decide(&input.name(), desired.clone());
    for name in prune {
        delete_revision(
            context,
            name,
            input.revision(name).and_then(kube::ResourceExt::uid),
        )
        .await?;
    }
    if *remove_finalizer {
        let others = input
            .program
            .finalizers()
            .iter()
            .map(String::as_str)
            .filter(|name| *name != FINALIZER);
        set_finalizers(context, &input.program, others.collect()).await?;
    }
    Ok(())
}

async fn set_finalizers(
    context: &Context,
    program: &BpfProgram,
    finalizers: Vec<&str>,
) -> Result<(), ApiError> {
    let name = program.name_any();
    // With the version, so that nobody's finalizer is lost.
    let patch =
        json!({"metadata": {"resourceVersion": program.resource_version(), "finalizers": finalizers}});
    let patched = context
        .program_api
        .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
        .await;
    context.metrics.api_write("BpfProgram");
    let patched =
        patched.map_err(|error| ApiError::new(format!("set the finalizers of BpfProgram {name}"), error))?;
    refresh_program(context, patched);
    Ok(())
}

async fn create_revision(
    context: &Context,
    program: &BpfProgram,
    name: &str,
    spec: &BpfRevisionSpec,
) -> Result<BpfRevision, ApiError> {
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some([(PROGRAM_LABEL.to_owned(), spec.program.clone())].into()),
        owner_references: program.controller_owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    };
    let revision = BpfRevision {
        metadata,
        spec: spec.clone(),
        status: None,
    };
    let attempt = format!("create BpfRevision {name}");
    let created = context
        .revision_api
        .create(&PostParams::default(), &revision)
        .await;
    context.metrics.api_write("BpfRevision");
    match created {
        Ok(created) => {
            tracing::info!(program = spec.program, revision = name, "made a revision");
            Ok(created)
        }
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            let known = context
                .revision_api
                .get(name)
                .await
                .map_err(|error| ApiError::new(&attempt, error))?;
            let uid = program.uid();
            if known
                .owner_references()
                .iter()
                .any(|owner| Some(&owner.uid) == uid.as_ref())
            {
                return Ok(known);
            }
            // It belonged to an earlier BpfProgram of this name, or to none, and would go with that one.
            delete_revision(context, name, known.uid()).await?;
            Err(ApiError::new(attempt, kube::Error::Api(status)))
        }
        Err(error) => Err(ApiError::new(attempt, error)),
    }
}

async fn copy_object(
    context: &Context,
    copy: &CopyObject,
    owner: &BpfRevision,
    applied: &mut Applied,
) -> Result<(), ApiError> {
    let name = config_map::copy_name(copy.digest);
    let api = context.store.config_maps();
    if copy.missing {
        let bytes = match context.store.cache.get(copy.digest).await {
            Some(bytes) => bytes,
            None => match context.store.get(copy.digest).await {
                Ok(bytes) => bytes,
                Err(error) => {
                    // Nodes that have the object go on; new ones cannot get it.
                    applied.warnings.push(format!(
                        "object {} of revision {} is lost: {error}",
                        copy.digest, copy.revision
                    ));
                    return Ok(());
                }
            },
        };
        let made = api
            .create(
                &PostParams::default(),
                &config_map::copy(copy.digest, &bytes, owner),
            )
            .await;
        context.metrics.api_write("ConfigMap");
        match made {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(error) => return Err(ApiError::new(format!("create ConfigMap {name}"), error)),
        }
    }
    let patch = Patch::Strategic(config_map::add_owner(owner));
    let patched = api.patch(&name, &PatchParams::default(), &patch).await;
    context.metrics.api_write("ConfigMap");
    patched
        .map(|_| ())
        .map_err(|error| ApiError::new(format!("add an owner to ConfigMap {name}"), error))
}

async fn set_sources(context: &Context, name: &str, sources: &[RevisionSource]) -> Result<(), ApiError> {
    let patch = Patch::Merge(json!({"status": {"sources": sources}}));
    let patched = context
        .revision_api
        .patch_status(name, &PatchParams::default(), &patch)
        .await;
    context.metrics.api_write("BpfRevision");
    let patched =
        patched.map_err(|error| ApiError::new(format!("set the sources of BpfRevision {name}"), error))?;
    let version = patched.resource_version();
    let view = RevisionView::new(kube::core::DeserializeGuard(Ok(patched)));
    context.revisions.refresh(name, version, view);
    Ok(())
}

async fn delete_revision(context: &Context, name: &str, uid: Option<String>) -> Result<(), ApiError> {
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid,
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let deleted = context.revision_api.delete(name, &params).await;
    context.metrics.api_write("BpfRevision");
    match deleted {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(ApiError::new(format!("delete BpfRevision {name}"), error)),
    }
}

/// Writes the status if it differs from the one that is there, and the events that lie between the two.
/// False: it could not be written.
pub async fn publish(context: &Context, input: &Input, plan: &Plan, status: BpfProgramStatus) -> bool {
    let before = input.program.status.clone().unwrap_or_default();
    if plan.remove_finalizer || status == before {
        return true;
    }
    let name = input.name();
    let patch = Patch::Merge(json!({"status": with_nulls(&status)}));
    let patched = context
        .program_api
        .patch_status(&name, &PatchParams::default(), &patch)
        .await;
    context.metrics.api_write("BpfProgram");
    match patched {
        Ok(patched) => refresh_program(context, patched),
        Err(kube::Error::Api(status)) if status.is_not_found() => return true,
        Err(error) => {
            tracing::warn!(program = name, error = chain(&error), "cannot write the status");
            return false;
        }
    }
    let reference = input.program.object_ref(&());
    for note in notes(&before, &status) {
        context.events.publish(&reference, note).await;
    }
    true
}

/// A status for a merge patch: what is absent has to be said, or it stays.
pub fn with_nulls(status: &BpfProgramStatus) -> Value {
    let BpfProgramStatus {
        observed_generation,
        revision,
        updated_revision,
        nodes,
        kernels,
        failures,
        conditions,
    } = status;
    json!({
        "observedGeneration": observed_generation,
        "revision": revision,
        "updatedRevision": updated_revision,
        "nodes": nodes,
        "kernels": if kernels.is_empty() { Value::Null } else { json!(kernels) },
        "failures": if failures.is_empty() { Value::Null } else { json!(failures) },
        "conditions": conditions,
    })
}

fn refresh_program(context: &Context, program: BpfProgram) {
    let (name, version) = (program.name_any(), program.resource_version());
    let view = ProgramView::new(kube::core::DeserializeGuard(Ok(program)));
    context.programs.refresh(&name, version, view);
}
