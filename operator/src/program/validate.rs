//! Whether a BpfProgram can be run at all: its spec against its objects. Pure.

use std::collections::BTreeMap;

use bpfleet_crds::{
    BpfProgram, BpfRevisionSpec, Digest, ProgramReason, canonical,
    conditions::truncate,
    revision::{RevisionSource, RevisionVariant},
};
use bpfleet_fit::{ProblemKind, plan_hooks};
use kube::ResourceExt as _;

use super::input::Input;
use crate::{
    error::Fault,
    objects::resolve::{Inspected, Objects},
    selector::NodeSelector,
};

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
    /// What each object needs of a kernel, as far as it is known.
    pub needs: BTreeMap<Digest, Needs>,
    /// What is odd, but does not hold it up.
    pub warnings: Vec<String>,
}

/// What an object needs of a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// It must be relocated against BTF.
    pub relocation: bool,
    /// A program that is attached by means of the kernel's own BTF, and its kind.
    pub kernel_btf: Option<String>,
}

/// The content of the revision that a BpfProgram and its objects make.
pub fn revision_spec(program: &BpfProgram, objects: &[(String, Objects)]) -> BpfRevisionSpec {
    let variant = |(name, objects): &(String, Objects)| RevisionVariant {
        name: name.clone(),
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

    let objects = input.objects.as_ref().map_err(Clone::clone)?;
    let spec = revision_spec(program, objects);
    let revision = canonical::revision_name(&spec)
        .map_err(|error| invalid(format!("spec cannot be written down: {error}")))?;
    let known = input.revision(&revision).is_some();
    let mut needs = BTreeMap::new();
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
                Some(inspected) => {
                    needs.insert(resolved.object.digest, check(program, variant, inspected)?);
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
    let warnings = objects
        .iter()
        .filter_map(|(_, objects)| objects.warning.clone())
        .collect();
    Ok(Accepted {
        revision,
        spec,
        sources,
        selector,
        needs,
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

/// The hooks against one object.
fn check(program: &BpfProgram, variant: &str, inspected: &Inspected) -> Result<Needs, Fault> {
    let hooks = program.spec.hooks.as_deref();
    let problems = match plan_hooks(&inspected.info, hooks) {
        Ok(planned) => {
            let needing = planned.iter().find(|hook| hook.program.kind.needs_kernel_btf());
            return Ok(Needs {
                relocation: inspected.needs_target_btf,
                kernel_btf: needing.map(|hook| format!("{} ({})", hook.program.name, hook.program.kind)),
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
    let mut message = format!("variant {variant}: ");
    let texts: Vec<String> = problems
        .iter()
        .take(MAX_PROBLEMS)
        .map(ToString::to_string)
        .collect();
    message.push_str(&texts.join("; "));
    if problems.len() > MAX_PROBLEMS {
        message.push_str(&format!("; and {} more", problems.len() - MAX_PROBLEMS));
    }
    Err(Fault::permanent(
        reason,
        truncate(&message, MAX_MESSAGE_BYTES).to_owned(),
    ))
}

#[cfg(test)]
mod tests;
