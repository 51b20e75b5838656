//! Attaching a hook and writing down what it stands on.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
};

use bpfleet_fit::{Attach, ChosenHook};

use super::{
    attach::{self, Attaching},
    error::HookError,
    programs::Attachable,
};
use crate::{
    kallsyms::{self, Line},
    pins::watched::{Place, Watched, places},
};

/// The modules of functions that hooks name without one.
#[derive(Debug, Default)]
pub struct Modules(BTreeMap<String, Option<String>>);

impl Modules {
    /// Of the functions that these hooks attach kprobes to. If they cannot be told, they are not watched.
    pub fn of<'h>(hooks: impl IntoIterator<Item = &'h ChosenHook>) -> Self {
        let mut found: BTreeMap<String, Option<Option<String>>> = BTreeMap::new();
        for chosen in hooks {
            if let Attach::Kprobe { function } = &chosen.hook.attach
                && function.module.is_none()
            {
                found.insert(function.name.clone(), None);
            }
        }
        if !found.is_empty()
            && let Ok(list) = File::open(kallsyms::PATH)
        {
            scan(BufReader::new(list), &mut found);
        }
        Self(
            found
                .into_iter()
                .map(|(name, module)| (name, module.flatten()))
                .collect(),
        )
    }

    fn module(&self, attach: &Attach) -> Option<String> {
        match attach {
            Attach::Kprobe { function } => function
                .module
                .clone()
                .or_else(|| self.0.get(&function.name).cloned().flatten()),
            _ => None,
        }
    }
}

/// Finds each name's module. The kernel's own functions come first in the list, and are what a kprobe by name means
/// (kallsyms_lookup_name of kernel/kallsyms.c), so the first line that has a name tells.
fn scan(list: impl BufRead, wanted: &mut BTreeMap<String, Option<Option<String>>>) {
    let mut missing = wanted.len();
    for line in list.lines() {
        let Ok(line) = line else { return };
        let Some(symbol) = Line::parse(&line) else {
            continue;
        };
        if let Some(place @ None) = wanted.get_mut(symbol.name) {
            *place = Some(symbol.module_name().map(str::to_owned));
            missing -= 1;
            if missing == 0 {
                return;
            }
        }
    }
}

/// Attaches one hook whose program is in the kernel, and writes down what must stay for it to stay attached.
pub fn attach(
    context: &mut Attaching<'_>,
    programs: &mut dyn Attachable,
    chosen: &ChosenHook,
    modules: &Modules,
) -> Result<(), HookError> {
    let hook = &chosen.hook;
    let known = modules.module(&hook.attach).into_iter().collect();
    // Looked at before: what takes its place meanwhile is noticed at the first look, and not missed.
    let look = |place: Place| place.look(context.node);
    let mut targets: Vec<_> = places(&hook.attach, &known).into_iter().map(look).collect();
    attach::attach(context, programs, hook)?;
    if matches!(hook.attach, Attach::Functions { .. }) {
        let of_pattern = places(&hook.attach, &context.modules);
        targets.extend(of_pattern.into_iter().map(|place| place.look(context.node)));
    }
    let watched = Watched {
        alternative: chosen.alternative,
        targets,
        ..Watched::default()
    };
    watched
        .write(&context.hook_dir)
        .map_err(|error| HookError::pin(&context.hook_dir, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_in_the_module_that_the_kernel_finds_first() {
        let list = "\
0000000000000000 T do_exit
0000000000000000 t helper
0000000000000000 t veth_xmit\t[veth]
0000000000000000 t helper\t[veth]
0000000000000000 t veth_xmit\t[other]
garbage
0000000000000000 t after\t[bpf]
";
        let names = ["do_exit", "helper", "veth_xmit", "nowhere"];
        let mut wanted: BTreeMap<_, _> = names.iter().map(|name| ((*name).to_owned(), None)).collect();
        scan(list.as_bytes(), &mut wanted);
        let place = |name: &str| wanted[name].clone();
        assert_eq!(place("do_exit"), Some(None));
        assert_eq!(place("helper"), Some(None));
        assert_eq!(place("veth_xmit"), Some(Some("veth".to_owned())));
        assert_eq!(place("nowhere"), None);
    }
}
