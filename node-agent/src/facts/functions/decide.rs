//! Whether a function can be attached to: a decision from what was seen of it.

use bpfleet_fit::{function::KernelFunction, question::Answer};

use super::{ModuleState, Place};
use crate::{
    facts::{features, near, refusal, types::Function},
    kernel::probe::load::Refused,
};

/// Where ftrace can reach functions of this name; why it is not known.
pub type Reachable = Result<Vec<Place>, String>;

/// All that was seen of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Functions of this name; why they are not known.
    pub functions: Result<Vec<Place>, String>,
    /// What the compiler made of it.
    pub parts: Vec<String>,
    /// It is the name of something else.
    pub other: bool,
    /// Names that come close, if there is no function of this one.
    pub near: Vec<String>,
    /// The module that was named.
    pub module: Option<ModuleState>,
    /// What ftrace can reach.
    pub reachable: Reachable,
}

/// The one place where the function is. An error is the answer: none, several, or not known.
fn place(function: &KernelFunction, seen: &Seen) -> Result<Place, Answer> {
    let name = &function.name;
    let all = match &seen.functions {
        Ok(all) => all,
        Err(why) => return Err(Answer::Unknown(why.clone())),
    };
    if let Some(module) = &function.module {
        match seen.module {
            Some(ModuleState::Missing) => {
                return Err(Answer::No(format!(
                    "module {module} is not loaded; load it (modprobe {module}) before the program"
                )));
            }
            Some(ModuleState::BuiltIn) => {
                return Err(Answer::No(format!(
                    "{module} is built into this kernel; write {name} without it"
                )));
            }
            Some(ModuleState::Loaded) | None => {}
        }
    }
    let here: Vec<&Place> = all
        .iter()
        .filter(|place| function.module.as_ref().is_none_or(|module| place.is(module)))
        .collect();
    match here.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(Answer::No(absent(function, seen, all))),
        several => {
            let count = several.len();
            let modules: Vec<&str> = all
                .iter()
                .filter_map(|place| match place {
                    Place::Module(name) => Some(name.as_str()),
                    Place::Kernel => None,
                })
                .collect();
            // Only a module that has it once makes it unique.
            let one = modules
                .iter()
                .find(|module| modules.iter().filter(|other| other == module).count() == 1);
            let hint = one.map_or_else(String::new, |module| {
                format!("; the one of a module is written {module}:{name}")
            });
            Err(Answer::No(format!(
                "{count} functions have this name ({}), and which one is meant cannot be said{hint}",
                listed(several)
            )))
        }
    }
}

/// `2 in the kernel itself, 1 in module x`.
fn listed(places: &[&Place]) -> String {
    let mut sorted: Vec<&Place> = places.to_vec();
    sorted.sort_unstable();
    let mut distinct = sorted.clone();
    distinct.dedup();
    let counts: Vec<String> = distinct
        .into_iter()
        .map(|place| {
            let count = sorted.iter().filter(|other| **other == place).count();
            format!("{count} in {place}")
        })
        .collect();
    counts.join(", ")
}

fn absent(function: &KernelFunction, seen: &Seen, all: &[Place]) -> String {
    let name = &function.name;
    if let (Some(module), Some(elsewhere)) = (&function.module, all.first()) {
        return format!("module {module} has no function {name}; {elsewhere} has one");
    }
    if !seen.parts.is_empty() {
        return format!(
            "the compiler left only {} of it; what it made of a function cannot be counted on",
            seen.parts.join(", ")
        );
    }
    if seen.other {
        return format!("{name} is no function but a variable of the kernel");
    }
    let whose = match &function.module {
        Some(module) => format!("module {module}"),
        None => "this kernel".to_owned(),
    };
    format!("{whose} has no function {name}{}", near::hint(&seen.near))
}

/// Where ftrace can reach it: once, or the answer is no.
fn reached(name: &str, place: &Place, seen: &Seen) -> Result<(), Answer> {
    let all = seen
        .reachable
        .as_ref()
        .map_err(|why| Answer::Unknown(why.clone()))?;
    let here: Vec<&Place> = all.iter().filter(|other| *other == place).collect();
    match here.len() {
        1 => Ok(()),
        0 => Err(Answer::No(format!(
            "ftrace cannot reach {name} (it is not in available_filter_functions): the kernel keeps tracing out of it"
        ))),
        count => Err(Answer::No(format!(
            "available_filter_functions has {name} {count} times, and which one is meant cannot be said"
        ))),
    }
}

/// By kprobe. `attempt` opens a disabled one at `name` or `module:name` and closes it: no list tells as exactly what
/// the kernel takes.
pub fn kprobe(
    function: &KernelFunction,
    seen: &Seen,
    attempt: impl FnOnce(&str) -> Result<(), i32>,
) -> Answer {
    match place(function, seen) {
        Ok(_) => {}
        // Names that are not known can still be tried.
        Err(Answer::Unknown(_)) => {}
        Err(no) => return no,
    }
    let symbol = match &function.module {
        Some(module) => format!("{module}:{}", function.name),
        None => function.name.clone(),
    };
    match attempt(&symbol) {
        Ok(()) => Answer::Yes,
        Err(libc::ENOENT) => Answer::No("the kernel finds no such function for a kprobe (ENOENT)".to_owned()),
        // Since 6.6, and 6.1.60 and others (kernel/trace/trace_kprobe.c, create_local_trace_kprobe).
        Err(libc::EADDRNOTAVAIL) => {
            Answer::No("several functions have this name, and which one is meant cannot be said".to_owned())
        }
        Err(errno @ (libc::EINVAL | libc::EILSEQ | libc::EOPNOTSUPP)) => Answer::No(format!(
            "the kernel keeps kprobes out of it ({}): it is on the list in /sys/kernel/debug/kprobes/blacklist, or \
             is not to be traced",
            refusal::name(errno)
        )),
        Err(errno) => refusal::unknown("opening a kprobe there", errno),
    }
}

/// By fentry and fexit: exactly one function in BTF, a program that loads for it, and a place that ftrace can reach,
/// since loading takes functions that attaching refuses. `types` looks in the BTF of the kernel or the module,
/// `load` tries.
pub fn fentry(
    function: &KernelFunction,
    seen: &Seen,
    types: impl FnOnce(&Place) -> Result<Vec<Function>, Answer>,
    load: impl FnOnce(&Place, Function) -> Result<(), Refused>,
) -> Answer {
    let decide = || -> Result<Answer, Answer> {
        let place = place(function, seen)?;
        let name = &function.name;
        let types = types(&place)?;
        let found = match types.as_slice() {
            [one] => *one,
            [] => {
                return Err(Answer::No(format!(
                    "BTF of {place} does not describe {name}; a kprobe does not need that"
                )));
            }
            several => {
                return Err(Answer::No(format!(
                    "BTF of {place} has {} functions {name}, and which one is meant cannot be said",
                    several.len()
                )));
            }
        };
        let reached = reached(name, &place, seen);
        if let Err(no @ Answer::No(_)) = reached {
            return Err(no);
        }
        if let Err(refused) = load(&place, found) {
            return Err(features::refused("a program for it", &refused));
        }
        reached.map(|()| Answer::Yes)
    };
    decide().unwrap_or_else(|answer| answer)
}

/// By kprobe.multi, which goes by ftrace alone.
pub fn multi(function: &KernelFunction, seen: &Seen) -> Answer {
    place(function, seen)
        .and_then(|place| reached(&function.name, &place, seen))
        .map_or_else(|answer| answer, |()| Answer::Yes)
}

#[cfg(test)]
mod tests;
