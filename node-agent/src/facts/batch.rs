//! What a set of questions needs to be read, once and for all of them, and forgotten with them: it can change when
//! modules come and go, and it is large.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::BufReader,
    path::Path,
    sync::Arc,
};

use bpfleet_crds::requirement::FunctionAttach;
use bpfleet_fit::{
    function::KernelFunction,
    question::{Answer, Question},
};
use btf::Btf;

use crate::{kallsyms::PATH as KALLSYMS, kernel::probe::buffer::Buffer};

use super::{
    btf::{KernelBtf, module_bytes},
    functions::{self, Filter, Place, Seen, Symbols},
    near::Near,
    refusal,
    tracefs::Tracefs,
    types::{self, Function, Types, Wanted},
};

/// What was read.
#[derive(Debug, Default)]
pub struct Batch {
    symbols: Option<Result<Symbols, String>>,
    /// Names that come close to functions that are not there.
    near: BTreeMap<String, Vec<String>>,
    filter: Option<Result<Filter, String>>,
    /// What the kernel's BTF has; why it is not known.
    types: Option<Result<Types, Answer>>,
    /// Functions of modules' BTF; why they are not known.
    module_types: BTreeMap<String, Result<Types, Answer>>,
    /// Security hooks that come close to those that are not there.
    near_hooks: BTreeMap<String, Vec<String>>,
}

/// What is to be looked for.
#[derive(Debug, Default)]
struct Needs {
    symbols: BTreeSet<String>,
    reachable: BTreeSet<String>,
    patterns: BTreeSet<String>,
    fentry: BTreeSet<String>,
    hooks: BTreeSet<String>,
    tracepoints: BTreeSet<String>,
}

impl Needs {
    fn of<'a>(questions: impl Iterator<Item = &'a Question>) -> Self {
        let mut needs = Self::default();
        for question in questions {
            match question {
                Question::Function { function, attach } => {
                    let name = &function.name;
                    needs.symbols.insert(name.clone());
                    if *attach != FunctionAttach::Kprobe {
                        needs.reachable.insert(name.clone());
                    }
                    if *attach == FunctionAttach::Fentry {
                        needs.fentry.insert(name.clone());
                    }
                }
                Question::FunctionPattern(pattern) => drop(needs.patterns.insert(pattern.clone())),
                Question::Syscall(name) => needs
                    .symbols
                    .extend(functions::syscall_names(std::env::consts::ARCH, name)),
                Question::LsmHook(name) => drop(needs.hooks.insert(lsm_function(name))),
                Question::RawTracepoint(name) => drop(needs.tracepoints.insert(tracepoint_type(name))),
                Question::KernelBtf
                | Question::Feature(_)
                | Question::Tracepoint { .. }
                | Question::KernelConfig { .. }
                | Question::Binary { .. }
                | Question::Usdt { .. } => {}
            }
        }
        needs
    }
}

/// The function that a security hook calls for eBPF (include/linux/bpf_lsm.h).
pub fn lsm_function(hook: &str) -> String {
    format!("{LSM_PREFIX}{hook}")
}

const LSM_PREFIX: &str = "bpf_lsm_";

/// The typedef that BTF has for a tracepoint (include/trace/bpf_probe.h).
pub fn tracepoint_type(name: &str) -> String {
    format!("btf_trace_{name}")
}

impl Batch {
    /// Reads what these questions need, and nothing else.
    pub fn read<'a>(
        questions: impl Iterator<Item = &'a Question>,
        tracefs: &Result<Tracefs, String>,
        kernel_btf: &KernelBtf,
    ) -> Self {
        let needs = Needs::of(questions);
        let mut batch = Self::default();
        if !needs.symbols.is_empty() {
            batch.read_symbols(&needs.symbols);
        }
        if !needs.reachable.is_empty() || !needs.patterns.is_empty() {
            batch.filter = Some(tracefs.clone().and_then(|tracefs| {
                let list = tracefs.filter_functions()?;
                functions::scan_filter(list, &needs.reachable, &needs.patterns)
                    .map_err(|error| refusal::unreadable(tracefs.root(), &error))
            }));
        }
        if let Ok(tracefs) = tracefs {
            batch.read_aliases(tracefs);
        }
        if !needs.fentry.is_empty() || !needs.hooks.is_empty() || !needs.tracepoints.is_empty() {
            batch.read_types(&needs, kernel_btf);
        }
        batch
    }

    fn read_symbols(&mut self, wanted: &BTreeSet<String>) {
        let path = Path::new(KALLSYMS);
        let open = || {
            File::open(path)
                .map(BufReader::new)
                .map_err(|error| refusal::unreadable(path, &error))
        };
        let unreadable = |error| refusal::unreadable(path, &error);
        let symbols = open().and_then(|list| functions::scan_symbols(list, wanted).map_err(unreadable));
        if let Ok(symbols) = &symbols {
            let missing: BTreeSet<String> = wanted
                .iter()
                .filter(|name| !symbols.functions.contains_key(*name) && !symbols.parts.contains_key(*name))
                .cloned()
                .collect();
            if !missing.is_empty()
                && let Ok(list) = open()
            {
                // Hints are worth no failure.
                self.near = functions::near(list, &missing).unwrap_or_default();
            }
        }
        self.symbols = Some(symbols);
    }

    /// A function can have several names, as system calls without arguments do, and ftrace shows one of them. What it
    /// does not show is looked for by its address; without the right to see addresses, that is not known.
    fn read_aliases(&mut self, tracefs: &Tracefs) {
        let (Some(Ok(symbols)), Some(Ok(filter))) = (&self.symbols, &mut self.filter) else {
            return;
        };
        let lost: BTreeMap<u64, &String> = symbols
            .addresses
            .iter()
            .filter(|(name, _)| !filter.functions.contains_key(*name))
            .map(|(name, address)| (*address, name))
            .collect();
        if lost.is_empty() {
            return;
        }
        let Ok(aliases) = File::open(KALLSYMS)
            .map(BufReader::new)
            .and_then(|list| functions::aliases(list, &lost.keys().copied().collect()))
        else {
            return;
        };
        let Ok(list) = tracefs.filter_functions() else {
            return;
        };
        let shown = functions::scan_filter(list, &aliases.keys().cloned().collect(), &BTreeSet::new());
        for (alias, places) in shown.map(|shown| shown.functions).unwrap_or_default() {
            if let Some(name) = aliases.get(&alias).and_then(|address| lost.get(address)) {
                filter.functions.insert((*name).clone(), places);
            }
        }
    }

    fn read_types(&mut self, needs: &Needs, kernel_btf: &KernelBtf) {
        let read = read_btf(kernel_btf).and_then(|bytes| self.find_types(needs, &bytes));
        self.types = Some(read);
    }

    /// Looks for types in the kernel's BTF, and in that of modules which have the functions.
    fn find_types(&mut self, needs: &Needs, bytes: &[u8]) -> Result<Types, Answer> {
        let base = Btf::parse(bytes).map_err(|error| unreadable(&error.to_string()))?;
        let types = types::find(
            &base,
            &Wanted {
                functions: needs.fentry.union(&needs.hooks).map(String::as_str).collect(),
                typedefs: needs.tracepoints.iter().map(String::as_str).collect(),
            },
        );
        for hook in needs
            .hooks
            .iter()
            .filter(|hook| !types.functions.contains_key(*hook))
        {
            let name = hook.strip_prefix(LSM_PREFIX).unwrap_or(hook);
            let mut near = Near::new(name);
            types::functions_with_prefix(&base, LSM_PREFIX).for_each(|known| near.offer(&known));
            self.near_hooks.insert(hook.clone(), near.names());
        }
        let base = Arc::new(base);
        for (module, names) in self.modules_of(&needs.fentry) {
            let types = module_types(&module, &base, &names);
            self.module_types.insert(module, types);
        }
        Ok(types)
    }

    /// The modules that have functions of these names.
    fn modules_of(&self, names: &BTreeSet<String>) -> BTreeMap<String, BTreeSet<String>> {
        let mut modules: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let Some(Ok(symbols)) = &self.symbols else {
            return modules;
        };
        for name in names {
            for place in symbols.functions.get(name).into_iter().flatten() {
                if let Place::Module(module) = place {
                    modules.entry(module.clone()).or_default().insert(name.clone());
                }
            }
        }
        modules
    }

    /// The kernel's symbols.
    pub fn symbols(&self) -> Result<&Symbols, String> {
        match &self.symbols {
            Some(Ok(symbols)) => Ok(symbols),
            Some(Err(why)) => Err(why.clone()),
            None => Err("nobody asked for symbols".to_owned()),
        }
    }

    /// Names that come close to one of a function.
    pub fn near(&self, name: &str) -> &[String] {
        self.near.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// What ftrace can reach.
    pub fn filter(&self) -> Result<&Filter, String> {
        match &self.filter {
            Some(Ok(filter)) => Ok(filter),
            Some(Err(why)) => Err(why.clone()),
            None => Err("nobody asked what ftrace can reach".to_owned()),
        }
    }

    /// What the kernel's BTF has.
    pub fn types(&self) -> Result<&Types, Answer> {
        match &self.types {
            Some(Ok(types)) => Ok(types),
            Some(Err(answer)) => Err(answer.clone()),
            None => Err(Answer::Unknown("nobody asked for BTF".to_owned())),
        }
    }

    /// Security hooks that come close to one that is not there.
    pub fn near_hooks(&self, function: &str) -> &[String] {
        self.near_hooks
            .get(function)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// All that was seen of a function.
    pub fn seen(&self, function: &KernelFunction) -> Seen {
        let name = &function.name;
        let symbols = self.symbols();
        Seen {
            functions: symbols
                .as_ref()
                .map(|symbols| symbols.functions.get(name).cloned().unwrap_or_default())
                .map_err(Clone::clone),
            parts: symbols
                .as_ref()
                .ok()
                .and_then(|symbols| symbols.parts.get(name))
                .into_iter()
                .flatten()
                .cloned()
                .collect(),
            other: symbols
                .as_ref()
                .is_ok_and(|symbols| symbols.others.contains(name)),
            near: self.near(name).to_vec(),
            module: function.module.as_deref().map(functions::module_state),
            reachable: self.reachable(name),
        }
    }

    /// Where ftrace can reach functions of a name.
    fn reachable(&self, name: &str) -> Result<Vec<Place>, String> {
        if let Some(places) = self.filter()?.functions.get(name) {
            return Ok(places.clone());
        }
        // One that stands there under another name can be told by its address only.
        let symbols = self.symbols()?;
        let once = symbols
            .functions
            .get(name)
            .is_some_and(|places| places.len() == 1);
        if once && !symbols.addresses.contains_key(name) {
            return Err(format!(
                "available_filter_functions does not have {name}, and whether it has another name of it cannot be told: \
                 {KALLSYMS} hides addresses (sysctl kernel.kptr_restrict, CAP_SYSLOG)"
            ));
        }
        Ok(Vec::new())
    }

    /// Functions of a name in the BTF of where it is.
    pub fn functions(&self, name: &str, place: &Place) -> Result<Vec<Function>, Answer> {
        let types = match place {
            Place::Kernel => self.types()?,
            Place::Module(module) => {
                // Without the kernel's own BTF those of modules are not looked at.
                self.types()?;
                match self.module_types.get(module) {
                    Some(Ok(types)) => types,
                    Some(Err(answer)) => return Err(answer.clone()),
                    None => return Err(Answer::Unknown(format!("BTF of module {module} was not read"))),
                }
            }
        };
        Ok(types.functions.get(name).cloned().unwrap_or_default())
    }
}

const NEEDS_BTF: &str = "it needs the kernel's own BTF";

fn unreadable(why: &str) -> Answer {
    Answer::Unknown(format!("{NEEDS_BTF}, which cannot be read: {why}"))
}

fn read_btf(kernel_btf: &KernelBtf) -> Result<Buffer, Answer> {
    match kernel_btf.answer() {
        Answer::Yes => {}
        Answer::No(why) => return Err(Answer::No(format!("{NEEDS_BTF}: {why}"))),
        Answer::Unknown(why) => return Err(Answer::Unknown(format!("{NEEDS_BTF}: {why}"))),
    }
    let bytes = kernel_btf
        .bytes()
        .map_err(|error| unreadable(&error.to_string()))?;
    bytes.ok_or_else(|| unreadable("it is gone"))
}

fn module_types(module: &str, base: &Arc<Btf<'_>>, names: &BTreeSet<String>) -> Result<Types, Answer> {
    let unreadable = |why: String| Answer::Unknown(format!("BTF of module {module} cannot be read: {why}"));
    let bytes = module_bytes(module)
        .map_err(|error| unreadable(error.to_string()))?
        .ok_or_else(|| {
            Answer::No(format!(
                "module {module} has no BTF (CONFIG_DEBUG_INFO_BTF_MODULES)"
            ))
        })?;
    let split = Btf::parse_split(&*bytes, Arc::clone(base)).map_err(|error| unreadable(error.to_string()))?;
    Ok(types::find(
        &split,
        &Wanted {
            functions: names.iter().map(String::as_str).collect(),
            ..Wanted::default()
        },
    ))
}
