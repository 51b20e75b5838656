//! Whether a node can run a revision, from what it reports of its kernel. Pure: the agent decides with the same
//! code from what it probes; what is not in its report is Unknown here and speaks against nothing.

use std::collections::BTreeSet;

use bpfleet_crds::node::Fact;
use bpfleet_fit::{
    Candidate, Tried, candidates, choose,
    feature::Feature,
    hook_questions,
    question::{Answer, Question},
    requires::Machine,
    variant_questions,
};

use super::validate::Accepted;
use crate::view::BpfNodeView;

/// What an accepted revision can be told beforehand by.
pub struct Prediction<'a> {
    accepted: &'a Accepted,
    questions: BTreeSet<Question>,
}

impl<'a> Prediction<'a> {
    /// For this revision.
    pub fn new(accepted: &'a Accepted) -> Self {
        let hooks = accepted
            .plans
            .values()
            .flat_map(|plan| hook_questions(&plan.info, &plan.hooks));
        let questions = variant_questions(&accepted.spec).into_iter().chain(hooks);
        Self {
            accepted,
            questions: questions.filter(is_reported).collect(),
        }
    }

    /// Why a node certainly cannot run it.
    pub fn incompatible(&self, node: &BpfNodeView) -> Option<String> {
        let machine = Machine {
            architecture: node.architecture.clone()?,
            kernel: node.kernel_version,
        };
        let answers = self
            .questions
            .iter()
            .map(|question| (question.clone(), reported(node, question)))
            .collect();
        let single = self.accepted.spec.variants.len() == 1;
        let mut reasons = Vec::new();
        for candidate in candidates(&self.accepted.spec, &machine, &answers) {
            let (name, why) = match candidate {
                Candidate::PassedOver { certain: false, .. } => return None,
                Candidate::PassedOver { variant, why, .. } => (variant, why),
                Candidate::Possible { variant, object } => {
                    let plan = self.accepted.plans.get(&object.digest)?;
                    let unservable = choose(&plan.info, &plan.hooks, &answers, &Tried::new()).err()?;
                    let why: Vec<String> = unservable.iter().map(ToString::to_string).collect();
                    (variant.name.as_str(), why.join("; "))
                }
            };
            reasons.push(if single {
                why
            } else {
                format!("variant {name}: {why}")
            });
        }
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

/// Whether nodes report the answer.
fn is_reported(question: &Question) -> bool {
    matches!(
        question,
        Question::KernelBtf | Question::Feature(Feature::Program(_) | Feature::Map(_) | Feature::Attach(_))
    )
}

fn reported(node: &BpfNodeView, question: &Question) -> Answer {
    let kernel = node.kernel.as_deref().unwrap_or("unknown");
    let unknown = || Answer::Unknown("the node does not tell".to_owned());
    match question {
        Question::KernelBtf => match node.btf {
            Fact::Yes => Answer::Yes,
            Fact::No => Answer::No(format!("kernel {kernel} carries no BTF of its own")),
            Fact::Unknown => unknown(),
        },
        Question::Feature(feature) if node.missing.contains(feature) => {
            Answer::No(format!("kernel {kernel} has no {feature}"))
        }
        Question::Feature(feature) if node.unknown.contains(feature) => unknown(),
        Question::Feature(_) => Answer::Yes,
        _ => unknown(),
    }
}
