//! Which variants a node may use, before their objects are looked into.

use bpfleet_crds::{
    BpfRevisionSpec,
    revision::{RevisionObject, RevisionVariant},
};

use crate::{
    question::{Answers, Question},
    requires::{Machine, requirement_questions, unmet},
};

/// One variant on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidate<'s> {
    /// It has an object for the node's architecture, and the node meets what it requires. Whether its hooks can be
    /// attached is left to see.
    Possible {
        /// The variant.
        variant: &'s RevisionVariant,
        /// Its object for the node.
        object: &'s RevisionObject,
    },
    /// It is not for this node.
    PassedOver {
        /// Name of the variant.
        variant: &'s str,
        /// Whether it is for want of an object for the node's architecture.
        no_object: bool,
        /// Whether the node certainly lacks something, and does not only fail to tell.
        certain: bool,
        /// What the node lacks.
        why: String,
    },
}

/// What the variants' requirements ask of a node.
pub fn variant_questions(revision: &BpfRevisionSpec) -> Vec<Question> {
    revision
        .variants
        .iter()
        .flat_map(|variant| requirement_questions(variant.requires.as_deref().unwrap_or_default()))
        .collect()
}

/// Each variant, in the spec's order.
pub fn candidates<'s>(
    revision: &'s BpfRevisionSpec,
    machine: &Machine,
    answers: &Answers,
) -> Vec<Candidate<'s>> {
    let candidate = |variant: &'s RevisionVariant| {
        let Some(object) = variant.object_for(&machine.architecture) else {
            return Candidate::PassedOver {
                variant: &variant.name,
                no_object: true,
                certain: true,
                why: format!(
                    "it has objects for {} and none for {}",
                    architectures(variant),
                    machine.architecture
                ),
            };
        };
        let missing = unmet(variant.requires.as_deref().unwrap_or_default(), machine, answers);
        if missing.is_empty() {
            Candidate::Possible { variant, object }
        } else {
            Candidate::PassedOver {
                variant: &variant.name,
                no_object: false,
                certain: missing.iter().any(|unmet| unmet.certain),
                why: missing
                    .into_iter()
                    .map(|unmet| unmet.message)
                    .collect::<Vec<_>>()
                    .join("; "),
            }
        }
    };
    revision.variants.iter().map(candidate).collect()
}

fn architectures(variant: &RevisionVariant) -> String {
    let known = variant
        .objects
        .iter()
        .filter_map(|object| object.architecture.as_deref());
    known.collect::<Vec<_>>().join(", ")
}
