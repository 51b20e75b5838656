//! Hooks that exclude each other: the kernel would put the later one in the earlier one's stead, or cannot tie one
//! program to two places.

use crate::{
    hooks::{Alternative, HookPlan, PlannedHook},
    problem::Problem,
    target::{Attach, InterfaceSelector},
};

/// Conflicts on every node: between hooks that have one alternative only.
pub(crate) fn certain_conflicts(plans: &[HookPlan]) -> Vec<Problem> {
    let single = |plan: &&HookPlan| match plan.alternatives.as_slice() {
        [Alternative::Planned(hook)] if !plan.optional => Some(hook.as_ref().clone()),
        _ => None,
    };
    let hooks: Vec<PlannedHook> = plans.iter().filter_map(|plan| single(&plan)).collect();
    let mut problems = Vec::new();
    for (index, hook) in hooks.iter().enumerate() {
        if let Some(why) = conflict(hooks.iter().take(index), hook) {
            problems.push(Problem::spec(&hook.name, why));
        }
    }
    problems
}

/// Why `hook` cannot be served beside those chosen before it.
pub(crate) fn conflict<'a>(
    chosen: impl Iterator<Item = &'a PlannedHook>,
    hook: &PlannedHook,
) -> Option<String> {
    chosen.into_iter().find_map(|earlier| exclusive(earlier, hook))
}

fn exclusive(earlier: &PlannedHook, later: &PlannedHook) -> Option<String> {
    let place = match (&earlier.attach, &later.attach) {
        (Attach::Xdp { interface, .. }, Attach::Xdp { interface: other, .. }) if interface == other => {
            match interface {
                InterfaceSelector::Name(name) => format!("into the XDP path of interface {name}"),
                InterfaceSelector::DefaultRoute => {
                    "into the XDP path of the default route's interface".to_owned()
                }
            }
        }
        (Attach::SockMap { map }, Attach::SockMap { map: other })
            if map == other && earlier.program.kind == later.program.kind =>
        {
            format!("of kind {} into map {map}", later.program.kind)
        }
        _ if earlier.program.name == later.program.name
            && earlier.attach != later.attach
            && is_bound_by_loading(&later.attach) =>
        {
            return Some(format!(
                "hook {} already has program {}, and a program of kind {} is tied to one place when it is loaded; write \
                 one program for each place",
                earlier.name, later.program.name, later.program.kind
            ));
        }
        _ => return None,
    };
    Some(format!(
        "hook {} already puts a program {place}, and the kernel runs only one there; remove one of them, or give \
         them different targets",
        earlier.name
    ))
}

/// Whether the kernel is told where the program goes when it is loaded, and not when it is attached.
fn is_bound_by_loading(attach: &Attach) -> bool {
    matches!(
        attach,
        Attach::Trampoline { .. }
            | Attach::Lsm { .. }
            | Attach::LsmCgroup { .. }
            | Attach::BtfTracepoint { .. }
            | Attach::Iter { .. }
    )
}
