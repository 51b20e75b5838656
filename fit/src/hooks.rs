//! Hooks of a spec against the programs of an object: what each could be served by, whatever the node.

use std::collections::BTreeSet;

use bpf_object::{ObjectInfo, Program};
use bpfleet_crds::hook::{Hook, Target};

use crate::{
    exclusive::certain_conflicts,
    problem::{Problem, closest},
    support::{attachable, object_problems},
    target::{Attach, attach},
};

/// One hook with one of its alternatives, complete: this program goes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedHook {
    /// Name of the hook; the program's name if the spec names no hooks.
    pub name: String,
    /// The program.
    pub program: Program,
    /// Where.
    pub attach: Attach,
}

/// One hook and all that could serve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookPlan {
    /// Name of the hook; the program's name if the spec names no hooks.
    pub name: String,
    /// Whether the program can do without it.
    pub optional: bool,
    /// Its alternatives, best first; never empty.
    pub alternatives: Vec<Alternative>,
}

/// One way to serve a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alternative {
    /// This program, there.
    Planned(Box<PlannedHook>),
    /// The object lacks its program; another variant's has it.
    NoProgram {
        /// Name of the program.
        program: String,
    },
}

/// What could serve each hook: the alternatives that the spec names, or every program at its SEC() target.
///
/// # Errors
/// Everything that is wrong, not only the first.
pub fn plan_hooks(object: &ObjectInfo, hooks: Option<&[Hook]>) -> Result<Vec<HookPlan>, Vec<Problem>> {
    let mut problems = object_problems(object);
    let mut plans = Vec::new();
    match hooks {
        Some(hooks) => {
            for hook in hooks {
                match plan_named(object, hook) {
                    Ok(plan) => plans.push(plan),
                    Err(mut wrong) => problems.append(&mut wrong),
                }
            }
        }
        None => {
            for program in object.programs.iter().filter(|program| program.autoload) {
                match plan_one(object, &program.name, program, None) {
                    Ok(hook) => plans.push(HookPlan {
                        name: program.name.clone(),
                        optional: false,
                        alternatives: vec![Alternative::Planned(Box::new(hook))],
                    }),
                    Err(problem) => problems.push(problem),
                }
            }
        }
    }
    let mut names = BTreeSet::new();
    for plan in &plans {
        if !names.insert(plan.name.as_str()) {
            let message = "two hooks have this name; give each a name of its own".to_owned();
            problems.push(Problem::spec(&plan.name, message));
        }
    }
    problems.extend(certain_conflicts(&plans));
    if plans.is_empty() && problems.is_empty() {
        problems.push(Problem::unsupported(
            None,
            "every program's SEC() begins with `?`, so that none is loaded unless a hook names it: give hooks".to_owned(),
        ));
    }
    if problems.is_empty() {
        Ok(plans)
    } else {
        Err(problems)
    }
}

/// Programs that hooks name and none of the objects has: misspelt ones.
pub fn unknown_programs<'o>(
    objects: impl IntoIterator<Item = &'o ObjectInfo> + Clone,
    hooks: &[Hook],
) -> Vec<Problem> {
    let known = || {
        objects
            .clone()
            .into_iter()
            .flat_map(|object| &object.programs)
            .map(|program| program.name.as_str())
    };
    let named = hooks.iter().flat_map(|hook| {
        hook.any_of
            .iter()
            .map(move |alternative| (hook, &alternative.program))
    });
    named
        .filter(|(_, name)| !known().any(|known| known == name.as_str()))
        .map(|(hook, name)| {
            let distinct: BTreeSet<&str> = known().collect();
            Problem::spec(
                &hook.name,
                no_program("no variant's object has a", name, distinct),
            )
        })
        .collect()
}

fn no_program<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let near = closest(name, known.clone());
    let hint = if near.is_empty() {
        let first: Vec<&str> = known.into_iter().take(16).collect();
        format!("there is {}", first.join(", "))
    } else {
        format!("did you mean {}?", near.join(" or "))
    };
    format!("{what} program {name}; {hint}")
}

fn plan_named(object: &ObjectInfo, hook: &Hook) -> Result<HookPlan, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut alternatives = Vec::new();
    for given in &hook.any_of {
        match object.program(&given.program) {
            None => alternatives.push(Alternative::NoProgram {
                program: given.program.clone(),
            }),
            Some(program) => match plan_one(object, &hook.name, program, given.target.as_ref()) {
                Ok(planned) => alternatives.push(Alternative::Planned(Box::new(planned))),
                Err(problem) => problems.push(problem),
            },
        }
    }
    let optional = hook.optional.unwrap_or(false);
    if hook.any_of.is_empty() {
        problems.push(Problem::spec(
            &hook.name,
            "anyOf is empty: name a program".to_owned(),
        ));
    } else if problems.is_empty() && !optional && !alternatives.iter().any(is_planned) {
        for given in &hook.any_of {
            let names = object.programs.iter().map(|program| program.name.as_str());
            problems.push(Problem::spec(
                &hook.name,
                no_program("the object has no", &given.program, names),
            ));
        }
    }
    if problems.is_empty() {
        Ok(HookPlan {
            name: hook.name.clone(),
            optional,
            alternatives,
        })
    } else {
        Err(problems)
    }
}

fn is_planned(alternative: &Alternative) -> bool {
    matches!(alternative, Alternative::Planned(_))
}

fn plan_one(
    object: &ObjectInfo,
    hook: &str,
    program: &Program,
    target: Option<&Target>,
) -> Result<PlannedHook, Problem> {
    attachable(program.kind).map_err(|why| {
        let message = format!(
            "program {} is of kind {} (SEC \"{}\"): {why}",
            program.name, program.kind, program.section
        );
        Problem::unsupported(Some(hook), message)
    })?;
    let attach = attach(object, program, target).map_err(|message| Problem::spec(hook, message))?;
    Ok(PlannedHook {
        name: hook.to_owned(),
        program: program.clone(),
        attach,
    })
}
