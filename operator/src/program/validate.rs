//! Whether a BpfProgram can be run at all: its spec against its objects. Pure.

use std::{collections::BTreeMap, sync::Arc};

use bpf_object::ObjectInfo;
use bpfleet_crds::{
    BpfProgram, BpfRevisionSpec, Digest, ProgramReason, canonical,
    conditions::truncate,
    revision::{RevisionSource, RevisionVariant},
};
use bpfleet_fit::{HookPlan, ProblemKind, plan_hooks, requires::requirement_problems, unknown_programs};
use kube::ResourceExt as _;

use super::input::Input;
use crate::{error::Fault, objects::resolve::Objects, selector::NodeSelector};

/// Most problems named in one message.
const MAX_PROBLEMS: usize = 8;
/// Longest message, in bytes.
const MAX_MESSAGE_BYTES: usize = 4096;

/// A BpfProgram that can be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// Name of its revision.
    pub revision: String,
    /// Content of that revision.
    pub spec: BpfRevisionSpec,
    /// Where each object of it can be had.
    pub sources: Vec<RevisionSource>,
    /// Which nodes run it.
    pub selector: NodeSelector,
    /// What each object that has been read by this process holds, and what could serve its hooks.
    pub plans: BTreeMap<Digest, ObjectPlan>,
    /// What is odd, but does not hold it up.
    pub warnings: Vec<String>,
}

/// An object and what could serve the hooks with it.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectPlan {
    /// What it holds.
    pub info: Arc<ObjectInfo>,
    /// What could serve each hook.
    pub hooks: Vec<HookPlan>,
}

/// The content of the revision that a BpfProgram and its objects make.
pub fn revision_spec(program: &BpfProgram, objects: &[(String, Objects)]) -> BpfRevisionSpec {
    let requires = |name: &str| {
        let variant = program.spec.variants.iter().find(|variant| variant.name == name);
        variant.and_then(|variant| variant.requires.clone())
    };
    let variant = |(name, objects): &(String, Objects)| RevisionVariant {
        name: name.clone(),
        requires: requires(name),
        objects: objects
            .objects
            .iter()
            .map(|resolved| resolved.object.clone())
            .collect(),
    };
    BpfRevisionSpec {
        program: program.name_any(),
        variants: objects.iter().map(variant).collect(),
        hooks: program.spec.hooks.clone(),
        maps: program.spec.maps.clone(),
    }
}

/// Checks a BpfProgram against its objects.
///
/// # Errors
/// Everything that is wrong with it, and how to mend it.
pub fn validate(input: &Input) -> Result<Accepted, Fault> {
    let invalid = |message: String| Fault::permanent(ProgramReason::InvalidSpec, message);
    let program = &input.program;
    let selector = NodeSelector::new(program.spec.node_selector.as_ref()).map_err(invalid)?;
    unique(
        "variants",
        program.spec.variants.iter().map(|variant| variant.name.as_str()),
    )
    .map_err(invalid)?;
    let hooks = program.spec.hooks.as_deref();
    unique(
        "hooks",
        hooks.iter().copied().flatten().map(|hook| hook.name.as_str()),
    )
    .map_err(invalid)?;

    let maps = program.spec.maps.as_deref();
    unique(
        "maps",
        maps.iter().copied().flatten().map(|map| map.name.as_str()),
    )
    .map_err(invalid)?;
    let wrong: Vec<String> = program
        .spec
        .variants
        .iter()
        .flat_map(|variant| {
            let requires = variant.requires.as_deref().unwrap_or_default();
            let problems = requirement_problems(requires).into_iter();
            problems.map(|problem| format!("variant {}: {problem}", variant.name))
        })
        .collect();
    if !wrong.is_empty() {
        return Err(invalid(several("", &wrong)));
    }

    let objects = input.objects.as_ref().map_err(Clone::clone)?;
    let spec = revision_spec(program, objects);
    let revision = canonical::revision_name(&spec)
        .map_err(|error| invalid(format!("spec cannot be written down: {error}")))?;
    let known = input.revision(&revision).is_some();
    let mut plans = BTreeMap::new();
    let mut sources: Vec<RevisionSource> = Vec::new();
    for (variant, objects) in objects {
        for resolved in &objects.objects {
            if !sources
                .iter()
                .any(|source| source.digest == resolved.source.digest)
            {
                sources.push(resolved.source.clone());
            }
            match &resolved.info {
                Some(info) => {
                    plans.insert(resolved.object.digest, check(program, variant, info)?);
                }
                // What is a revision was checked when it became one.
                None if known => {}
                None => {
                    let message =
                        format!("the object of variant {variant} has not been read yet; trying again");
                    return Err(Fault::transient(ProgramReason::ApiUnavailable, message));
                }
            }
        }
    }
    let all_read = || {
        objects
            .iter()
            .all(|(_, o)| o.objects.iter().all(|o| o.info.is_some()))
    };
    if all_read() {
        across(program, plans.values().map(|plan| plan.info.as_ref())).map_err(invalid)?;
    }
    let warnings = objects
        .iter()
        .filter_map(|(_, objects)| objects.warning.clone())
        .collect();
    Ok(Accepted {
        revision,
        spec,
        sources,
        selector,
        plans,
        warnings,
    })
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(format!(
                "two {what} are called {name}; give each a name of its own"
            ));
        }
    }
    Ok(())
}

/// What must hold of all objects together: no program or map is named that none of them has.
fn across<'o>(
    program: &BpfProgram,
    objects: impl Iterator<Item = &'o ObjectInfo> + Clone,
) -> Result<(), String> {
    let hooks = program.spec.hooks.as_deref().unwrap_or_default();
    let mut wrong: Vec<String> = unknown_programs(objects.clone(), hooks)
        .iter()
        .map(ToString::to_string)
        .collect();
    for map in program.spec.maps.iter().flatten() {
        let mut known = objects.clone().flat_map(|object| &object.maps);
        if !known.any(|known| known.name == map.name) {
            let names: Vec<&str> = objects
                .clone()
                .flat_map(|object| &object.maps)
                .map(|map| map.name.as_str())
                .take(MAX_PROBLEMS)
                .collect();
            wrong.push(format!(
                "maps: no variant's object has a map {}; there is {}",
                map.name,
                names.join(", ")
            ));
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(several("", &wrong))
    }
}

/// The hooks against one object.
fn check(program: &BpfProgram, variant: &str, info: &Arc<ObjectInfo>) -> Result<ObjectPlan, Fault> {
    let hooks = program.spec.hooks.as_deref();
    let problems = match plan_hooks(info, hooks) {
        Ok(hooks) => {
            return Ok(ObjectPlan {
                info: info.clone(),
                hooks,
            });
        }
        Err(problems) => problems,
    };
    let spec = problems.iter().any(|problem| problem.kind == ProblemKind::Spec);
    let reason = if spec {
        ProgramReason::InvalidSpec
    } else {
        ProgramReason::InvalidObject
    };
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Err(Fault::permanent(
        reason,
        several(&format!("variant {variant}: "), &texts),
    ))
}

/// The first problems in one message of bounded length.
fn several(what: &str, problems: &[String]) -> String {
    let first = problems.iter().take(MAX_PROBLEMS).map(String::as_str);
    let mut message = format!("{what}{}", first.collect::<Vec<_>>().join("; "));
    if problems.len() > MAX_PROBLEMS {
        message.push_str(&format!("; and {} more", problems.len() - MAX_PROBLEMS));
    }
    truncate(&message, MAX_MESSAGE_BYTES).to_owned()
}

#[cfg(test)]
mod tests;
