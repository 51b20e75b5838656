//! Questions to this node, answered.

use std::{collections::BTreeSet, os::fd::AsFd};

use bpf_object::kconfig::Kconfig;
use bpfleet_crds::{node::NodeFacts, requirement::FunctionAttach};
use bpfleet_fit::{
    feature::{AttachKind, Feature, ProgramType},
    function::KernelFunction,
    question::{Answer, Answers, Question},
};

use super::{
    FactPaths,
    batch::{Batch, lsm_function, tracepoint_type},
    binary,
    btf::{KernelBtf, kernel_btf, module_fd},
    features::{Features, event_source},
    functions::{self, Place},
    kconfig, kernel, near, security,
    tracefs::{self, Tracefs},
    types::Function,
};
use crate::kernel::probe::{
    ENOTSUPP, errno, link,
    load::{Refused, Trial, load, return_zero},
    perf,
};

/// Answers questions about this node by trying and looking, each thing at most once. What stays as it is until the
/// next boot (features, BTF, where the configuration is) is remembered; what comes and goes with modules and files is
/// read anew for every set of questions, and nothing large is kept between them.
#[derive(Debug)]
pub struct Prober {
    paths: FactPaths,
    release: String,
    kernel_btf: KernelBtf,
    features: Option<Features>,
    security_modules: Option<Result<Vec<String>, String>>,
    syscall_prefix: Option<&'static str>,
}

impl Prober {
    /// Looks for the kernel's BTF and nothing more.
    pub fn new(paths: &FactPaths) -> Self {
        Self {
            kernel_btf: kernel_btf(paths),
            paths: paths.clone(),
            release: kernel::read().release,
            features: None,
            security_modules: None,
            syscall_prefix: None,
        }
    }

    /// The kernel's own BTF.
    pub fn kernel_btf(&self) -> &KernelBtf {
        &self.kernel_btf
    }

    /// The kernel's configuration; why it was not found, with the places. It is read anew.
    ///
    /// # Errors
    /// If it is in none of the places, or cannot be read there.
    pub fn kconfig(&self) -> Result<kconfig::Found, String> {
        kconfig::read(&kconfig::places(&self.paths.host_root, &self.release))
    }

    /// The active security modules; why they are not known.
    ///
    /// # Errors
    /// If nothing tells.
    pub fn security_modules(&mut self) -> Result<Vec<String>, String> {
        if let Some(Ok(known)) = &self.security_modules {
            return Ok(known.clone());
        }
        let config = || self.kconfig().map(|found| -> Kconfig { found.config });
        let active = security::active_modules(config);
        self.security_modules = Some(active.clone());
        active
    }

    /// tracefs, where it is mounted.
    ///
    /// # Errors
    /// If it is mounted nowhere.
    pub fn tracefs(&self) -> Result<Tracefs, String> {
        Tracefs::find(&self.paths.host_root)
    }

    /// What names of system calls' functions begin with: `__x64_sys_`. None if kallsyms does not tell.
    pub fn syscall_prefix(&mut self) -> Option<&'static str> {
        if self.syscall_prefix.is_none() {
            let architecture = std::env::consts::ARCH;
            // Any question about a system call reads their names.
            let question = Question::Syscall("getpid".to_owned());
            let batch = Batch::read(std::iter::once(&question), &Err(String::new()), &self.kernel_btf);
            self.syscall_prefix = batch
                .symbols()
                .ok()
                .and_then(|symbols| functions::syscall_prefix(architecture, symbols));
        }
        self.syscall_prefix
    }

    /// Answers one question. Several together are cheaper: [`Prober::answers`].
    pub fn answer(&mut self, question: &Question) -> Answer {
        self.answers([question.clone()])
            .remove(question)
            .unwrap_or_else(|| Answer::Unknown("it was not answered".to_owned()))
    }

    /// Answers questions; what several of them need is read once.
    pub fn answers(&mut self, questions: impl IntoIterator<Item = Question>) -> Answers {
        let questions: BTreeSet<Question> = questions.into_iter().collect();
        let tracefs = self.tracefs();
        let batch = Batch::read(questions.iter(), &tracefs, &self.kernel_btf);
        let mut config = None;
        questions
            .into_iter()
            .map(|question| {
                let answer = self.decide(&question, &batch, &tracefs, &mut config);
                (question, answer)
            })
            .collect()
    }

    fn decide(
        &mut self,
        question: &Question,
        batch: &Batch,
        tracefs: &Result<Tracefs, String>,
        config: &mut Option<Result<kconfig::Found, String>>,
    ) -> Answer {
        match question {
            Question::KernelBtf => self.kernel_btf.answer(),
            Question::Feature(feature) => self.feature(*feature),
            Question::Function { function, attach } => self.function(function, *attach, batch),
            Question::FunctionPattern(pattern) => self.pattern(pattern, batch),
            Question::Syscall(name) => match batch.symbols() {
                Ok(symbols) => {
                    let architecture = std::env::consts::ARCH;
                    let near: Vec<String> = functions::syscall_names(architecture, name)
                        .iter()
                        .flat_map(|name| batch.near(name).to_vec())
                        .collect();
                    functions::syscall(architecture, name, symbols, &near)
                }
                Err(why) => Answer::Unknown(why),
            },
            Question::LsmHook(name) => self.lsm_hook(name, batch),
            Question::Tracepoint {
                category,
                name,
                fields,
            } => match tracefs {
                Ok(tracefs) => tracepoint(tracefs, category, name, fields),
                Err(why) => Answer::Unknown(why.clone()),
            },
            Question::RawTracepoint(name) => raw_tracepoint(tracefs, name, batch),
            Question::KernelConfig { option, value } => match config.get_or_insert_with(|| self.kconfig()) {
                Ok(found) => kconfig::option(found, option, value.as_deref()),
                Err(why) => Answer::Unknown(why.clone()),
            },
            Question::Binary { path, symbol } => {
                binary::answer(&self.paths.host_root, path, symbol.as_deref())
            }
            Question::Usdt { path, provider, name } => {
                binary::usdt(&self.paths.host_root, path, provider, name)
            }
        }
    }

    fn feature(&mut self, feature: Feature) -> Answer {
        if self.features.is_none() {
            let bpf_lsm = security::bpf_is_active(&self.security_modules());
            self.features = Some(Features::new(self.kernel_btf.clone(), bpf_lsm));
        }
        self.features.as_mut().map_or_else(
            || Answer::Unknown("it was not tried".to_owned()),
            |features| features.answer(feature),
        )
    }

    fn function(&mut self, function: &KernelFunction, attach: FunctionAttach, batch: &Batch) -> Answer {
        let kind = match attach {
            FunctionAttach::Kprobe => AttachKind::Kprobe,
            FunctionAttach::Fentry => AttachKind::Fentry,
            FunctionAttach::KprobeMulti => AttachKind::KprobeMulti,
        };
        let way = self.feature(Feature::Attach(kind));
        if let Answer::No(_) = way {
            return way;
        }
        let seen = batch.seen(function);
        let answer = match attach {
            FunctionAttach::Kprobe => match event_source("kprobe", "kprobes (CONFIG_KPROBE_EVENTS, 4.17)") {
                Ok(pmu) => functions::kprobe(function, &seen, |name| {
                    perf::kprobe(pmu, name).map_err(|error| errno(&error))
                }),
                Err(answer) => answer,
            },
            FunctionAttach::Fentry => functions::fentry(
                function,
                &seen,
                |place| batch.functions(&function.name, place),
                load_fentry,
            ),
            FunctionAttach::KprobeMulti => functions::multi(function, &seen),
        };
        no_surer_than(way, answer)
    }

    fn pattern(&mut self, pattern: &str, batch: &Batch) -> Answer {
        let way = self.feature(Feature::Attach(AttachKind::KprobeMulti));
        if let Answer::No(_) = way {
            return way;
        }
        let answer = match batch.filter() {
            Ok(filter) if filter.matching.contains_key(pattern) => Answer::Yes,
            Ok(_) => Answer::No(format!(
                "no function that ftrace can reach is of the pattern {pattern}"
            )),
            Err(why) => Answer::Unknown(why),
        };
        no_surer_than(way, answer)
    }

    fn lsm_hook(&mut self, name: &str, batch: &Batch) -> Answer {
        let function = lsm_function(name);
        match batch.types() {
            Err(answer) => answer,
            Ok(types) if types.functions.contains_key(&function) => {
                security::bpf_is_active(&self.security_modules())
            }
            Ok(_) => Answer::No(format!(
                "this kernel has no security hook {name} for eBPF{}",
                near::hint(batch.near_hooks(&function))
            )),
        }
    }

    /// What the fleet decides on, for the status.
    pub fn node_facts(&mut self) -> NodeFacts {
        let mut facts = super::plain_facts(&self.paths);
        facts.btf = self.kernel_btf.facts();
        for feature in Feature::base() {
            match self.feature(feature) {
                Answer::Yes => {}
                Answer::No(_) => facts.missing.push(feature.to_string()),
                Answer::Unknown(_) => facts.unknown.push(feature.to_string()),
            }
        }
        facts.missing.sort_unstable();
        facts.unknown.sort_unstable();
        facts
    }
}

/// What there is to attach to is of no use where it is not known whether one can attach.
fn no_surer_than(way: Answer, place: Answer) -> Answer {
    match (way, place) {
        (unknown @ Answer::Unknown(_), Answer::Yes) => unknown,
        (_, place) => place,
    }
}

/// More registers than this, and trampolines before Linux 6.6 do not take the function (arch/x86/net/bpf_jit_comp.c).
const FEW_REGISTERS: u32 = 6;

/// Loads a program for the entry of a function. Of functions with many arguments loading does not tell, so the program
/// is attached for a moment, which does nothing but return.
fn load_fentry(place: &Place, function: Function) -> Result<(), Refused> {
    let plain = |error: &std::io::Error| Refused {
        errno: errno(error),
        log: String::new(),
    };
    let module = match place {
        Place::Kernel => None,
        Place::Module(name) => Some(module_fd(name).map_err(|error| plain(&error))?),
    };
    let trial = Trial {
        program_type: ProgramType::Tracing.number(),
        attach_type: super::features::TRACE_FENTRY,
        attach_btf_id: function.id,
        attach_btf: module.as_ref().and_then(Option::as_ref).map(AsFd::as_fd),
        sleepable: false,
    };
    let program = load(&trial, &return_zero())?;
    if function.registers <= FEW_REGISTERS {
        return Ok(());
    }
    match link::raw_tracepoint(program.as_fd(), None) {
        Ok(_) => Ok(()),
        Err(error) if errno(&error) == ENOTSUPP => Err(Refused {
            errno: ENOTSUPP,
            log: format!(
                "its arguments take {} registers, more than trampolines of this kernel can",
                function.registers
            ),
        }),
        Err(error) => Err(plain(&error)),
    }
}

fn tracepoint(tracefs: &Tracefs, category: &str, name: &str, fields: &[String]) -> Answer {
    match tracefs.format(category, name) {
        Ok(Some(format)) => tracefs::missing_fields(&format, fields).map_or(Answer::Yes, Answer::No),
        Ok(None) => Answer::No(format!(
            "this kernel has no tracepoint {category}/{name}{}",
            near::hint(&tracefs.near(category, name))
        )),
        Err(why) => Answer::Unknown(why),
    }
}

/// tracefs has every tracepoint with an event, BTF those without one too.
fn raw_tracepoint(tracefs: &Result<Tracefs, String>, name: &str, batch: &Batch) -> Answer {
    let categories = tracefs
        .as_ref()
        .map_err(Clone::clone)
        .and_then(|tracefs| tracefs.categories_with(name));
    if categories.as_ref().is_ok_and(|categories| !categories.is_empty()) {
        return Answer::Yes;
    }
    let types = batch.types();
    if types
        .as_ref()
        .is_ok_and(|types| types.typedefs.contains_key(&tracepoint_type(name)))
    {
        return Answer::Yes;
    }
    match (tracefs, &categories, types) {
        (Ok(tracefs), Ok(_), _) => Answer::No(format!(
            "this kernel has no tracepoint {name}{}",
            near::hint(&tracefs.near_name(name))
        )),
        // BTF of the kernel does not speak of modules.
        (_, Err(why), Ok(_)) => Answer::Unknown(format!(
            "the kernel's BTF has no such tracepoint, and whether a module has: {why}"
        )),
        (_, Err(why), Err(_)) => Answer::Unknown(why.clone()),
        (Err(why), ..) => Answer::Unknown(why.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_no_surer_than_the_way_to_it() {
        let (no, unknown) = (Answer::No("no".into()), Answer::Unknown("unknown".into()));
        for (way, place, expected) in [
            (&Answer::Yes, &Answer::Yes, &Answer::Yes),
            (&Answer::Yes, &no, &no),
            (&unknown, &Answer::Yes, &unknown),
            (&unknown, &no, &no),
        ] {
            assert_eq!(&no_surer_than(way.clone(), place.clone()), expected);
        }
    }
}
