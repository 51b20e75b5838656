//! Hooks of a spec against the programs of an object.

use bpf_object::{ObjectInfo, Program};
use bpfleet_crds::hook::{Hook, HookAlternative};

use crate::{
    problem::{Problem, closest},
    support::{attachable, object_problems},
    target::{Attach, InterfaceSelector, attach},
};

/// One hook, complete: this program goes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedHook {
    /// Name of the hook; the program's name if the spec names no hooks.
    pub name: String,
    /// The program.
    pub program: Program,
    /// Where.
    pub attach: Attach,
}

/// Which program goes where: the hooks that the spec names, or every program at its SEC() target.
///
/// # Errors
/// Everything that is wrong, not only the first.
pub fn plan_hooks(object: &ObjectInfo, hooks: Option<&[Hook]>) -> Result<Vec<PlannedHook>, Vec<Problem>> {
    let mut problems = object_problems(object);
    let mut planned = Vec::new();
    let outcomes: Vec<Result<PlannedHook, Problem>> = match hooks {
        Some(hooks) => hooks.iter().map(|hook| plan_named(object, hook)).collect(),
        None => object
            .programs
            .iter()
            .filter(|program| program.autoload)
            .map(|program| plan_one(object, &program.name, program, None))
            .collect(),
    };
    for outcome in outcomes {
        match outcome {
            Ok(hook) => planned.push(hook),
            Err(problem) => problems.push(problem),
        }
    }
    problems.extend(conflicts(&planned));
    if planned.is_empty() && problems.is_empty() {
        problems.push(Problem::unsupported(
            None,
            "every program's SEC() begins with `?`, so that none is loaded unless a hook names it: give hooks".to_owned(),
        ));
    }
    if problems.is_empty() {
        Ok(planned)
    } else {
        Err(problems)
    }
}

fn plan_named(object: &ObjectInfo, hook: &Hook) -> Result<PlannedHook, Problem> {
    let Some(HookAlternative {
        program: name,
        target,
    }) = hook.any_of.first()
    else {
        return Err(Problem::spec(
            &hook.name,
            "anyOf is empty: name a program".to_owned(),
        ));
    };
    let Some(program) = object.program(name) else {
        let names = || object.programs.iter().map(|program| program.name.as_str());
        let near = closest(name, names());
        let hint = if near.is_empty() {
            format!("it has {}", names().take(16).collect::<Vec<_>>().join(", "))
        } else {
            format!("did you mean {}?", near.join(" or "))
        };
        return Err(Problem::spec(
            &hook.name,
            format!("the object has no program {name}; {hint}"),
        ));
    };
    plan_one(object, &hook.name, program, target.as_ref())
}

fn plan_one(
    object: &ObjectInfo,
    hook: &str,
    program: &Program,
    target: Option<&bpfleet_crds::hook::Target>,
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

/// Hooks that exclude each other: of the same name, or for a place where the kernel runs only one program and
/// would put the later one in the earlier one's stead.
fn conflicts(planned: &[PlannedHook]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, hook) in planned.iter().enumerate() {
        let mut earlier = planned.iter().take(index);
        if earlier.clone().any(|other| other.name == hook.name) {
            let message = "two hooks have this name; give each a name of its own".to_owned();
            problems.push(Problem::spec(&hook.name, message));
        }
        if let Some((other, place)) = earlier.find_map(|other| Some((other, exclusive(other, hook)?))) {
            let message = format!(
                "hook {} already puts a program {place}, and the kernel runs only one there; remove one of them, \
                 or give them different targets",
                other.name
            );
            problems.push(Problem::spec(&hook.name, message));
        }
    }
    problems
}

/// The place that both hooks claim, where only one can have it.
fn exclusive(earlier: &PlannedHook, later: &PlannedHook) -> Option<String> {
    match (&earlier.attach, &later.attach) {
        (Attach::Xdp { interface, .. }, Attach::Xdp { interface: other, .. }) if interface == other => {
            Some(match interface {
                InterfaceSelector::Name(name) => format!("into the XDP path of interface {name}"),
                InterfaceSelector::DefaultRoute => {
                    "into the XDP path of the default route's interface".to_owned()
                }
            })
        }
        (Attach::SockMap { map }, Attach::SockMap { map: other })
            if map == other && earlier.program.kind == later.program.kind =>
        {
            Some(format!("of kind {} into map {map}", later.program.kind))
        }
        _ => None,
    }
}
