//! Which alternative serves each hook on a node.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use bpf_object::ObjectInfo;
use bpfleet_crds::NodeReason;

use crate::{
    exclusive::conflict,
    hooks::{Alternative, HookPlan, PlannedHook},
    needs::needs,
    question::{Answer, Answers, Question, answer},
};

/// What was tried on this node and failed although every check had passed: hook and place of the alternative, with
/// how it failed.
pub type Tried = BTreeMap<(String, usize), Attempt>;

/// An alternative that passed every check and failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Why, as one word.
    pub reason: NodeReason,
    /// Why, for people.
    pub message: String,
}

/// What runs on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Hooks that are served, in the spec's order.
    pub hooks: Vec<ChosenHook>,
    /// Optional hooks that nothing can serve here, and why none of their alternatives can.
    pub absent: Vec<(String, Vec<PassedOver>)>,
}

/// A hook and what serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenHook {
    /// The program and where it goes.
    pub hook: PlannedHook,
    /// Which alternative it is, from 0.
    pub alternative: usize,
    /// The alternatives before it.
    pub passed_over: Vec<PassedOver>,
}

/// An alternative that does not serve its hook here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Its program.
    pub program: String,
    /// Why not, as one word.
    pub reason: NodeReason,
    /// Why not, for people.
    pub message: String,
}

/// A hook that must be served and that nothing can serve here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unservable {
    /// Name of the hook.
    pub hook: String,
    /// Why none of its alternatives can; never empty.
    pub passed_over: Vec<PassedOver>,
}

impl fmt::Display for Unservable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hook {}: {}", self.hook, explain(&self.passed_over))
    }
}

/// Why alternatives do not serve their hook, in one line.
pub fn explain(passed_over: &[PassedOver]) -> String {
    let one = |passed: &PassedOver| format!("program {}: {}", passed.program, passed.message);
    passed_over.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Everything that the choice could hang on.
pub fn hook_questions(object: &ObjectInfo, plans: &[HookPlan]) -> BTreeSet<Question> {
    plans
        .iter()
        .flat_map(|plan| &plan.alternatives)
        .filter_map(|alternative| match alternative {
            Alternative::Planned(hook) => Some(hook),
            Alternative::NoProgram { .. } => None,
        })
        .flat_map(|hook| needs(object, hook))
        .map(|need| need.question)
        .collect()
}

/// The first alternative of each hook that nothing certain speaks against: what is Unknown is tried, since loading
/// and attaching tell in the end, and then comes back here in `tried`.
///
/// # Errors
/// The hooks that must be served and cannot be, all of them.
pub fn choose(
    object: &ObjectInfo,
    plans: &[HookPlan],
    answers: &Answers,
    tried: &Tried,
) -> Result<Choice, Vec<Unservable>> {
    let mut choice = Choice::default();
    let mut unservable = Vec::new();
    for plan in plans {
        let mut passed_over = Vec::new();
        let mut chosen = None;
        for (index, alternative) in plan.alternatives.iter().enumerate() {
            match fitting(object, plan, index, alternative, answers, tried, &choice) {
                Ok(hook) => {
                    chosen = Some((index, hook));
                    break;
                }
                Err(why) => passed_over.push(why),
            }
        }
        match chosen {
            Some((alternative, hook)) => choice.hooks.push(ChosenHook {
                hook: hook.clone(),
                alternative,
                passed_over,
            }),
            None if plan.optional => choice.absent.push((plan.name.clone(), passed_over)),
            None => unservable.push(Unservable {
                hook: plan.name.clone(),
                passed_over,
            }),
        }
    }
    if unservable.is_empty() && choice.hooks.is_empty() {
        // All hooks are optional; nothing at all would run, and look healthy.
        unservable.extend(
            choice
                .absent
                .into_iter()
                .map(|(hook, passed_over)| Unservable { hook, passed_over }),
        );
        return Err(unservable);
    }
    if unservable.is_empty() {
        Ok(choice)
    } else {
        Err(unservable)
    }
}

fn fitting<'p>(
    object: &ObjectInfo,
    plan: &HookPlan,
    index: usize,
    alternative: &'p Alternative,
    answers: &Answers,
    tried: &Tried,
    choice: &Choice,
) -> Result<&'p PlannedHook, PassedOver> {
    let passed_over = |program: &str, reason, message| PassedOver {
        program: program.to_owned(),
        reason,
        message,
    };
    let hook = match alternative {
        Alternative::Planned(hook) => hook,
        Alternative::NoProgram { program } => {
            let message = "this variant's object does not have it".to_owned();
            return Err(passed_over(program, NodeReason::InvalidHook, message));
        }
    };
    let name = hook.program.name.as_str();
    for need in needs(object, hook) {
        if let Answer::No(why) = answer(answers, &need.question) {
            let why = need
                .purpose
                .map_or_else(|| why.clone(), |purpose| format!("{why}, and {purpose}"));
            return Err(passed_over(name, need.reason, why));
        }
    }
    if let Some(attempt) = tried.get(&(plan.name.clone(), index)) {
        return Err(passed_over(name, attempt.reason, attempt.message.clone()));
    }
    if let Some(why) = conflict(choice.hooks.iter().map(|chosen| &chosen.hook), hook) {
        return Err(passed_over(name, NodeReason::InvalidHook, why));
    }
    Ok(hook)
}
