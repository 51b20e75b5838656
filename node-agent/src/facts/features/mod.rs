//! Features of the kernel's eBPF, found out by trying. What they are cannot change until the next boot, so each is
//! tried once.

mod attach;
mod helper;
mod map;
mod program;
mod targets;

use std::{collections::BTreeMap, os::fd::OwnedFd};

use bpfleet_fit::{
    feature::{Feature, ProgramType},
    question::Answer,
};
use nix::sys::resource::{Resource, setrlimit};

pub use attach::event_source;
pub use program::{attach_type::TRACE_FENTRY, trial as program_trial};

use self::{helper::Callable, targets::Targets};
use super::{btf::KernelBtf, security};
use crate::kernel::probe::{
    self,
    load::{Refused, Trial, load, return_zero},
};

/// The ways in which programs of a type can be loaded, each of which may have helpers of its own.
#[derive(Clone, Debug)]
struct Variants {
    trials: Vec<Trial<'static>>,
    /// Why there may be one more that could not be tried.
    untried: Option<String>,
}

/// Tries, and remembers.
#[derive(Debug)]
pub struct Features {
    kernel_btf: KernelBtf,
    bpf_lsm: Answer,
    may_ask: bool,
    targets: Option<Result<Targets, String>>,
    /// How programs of a type are loaded when helpers are asked for; why they cannot be.
    variants: BTreeMap<ProgramType, Result<Variants, Answer>>,
    answers: BTreeMap<Feature, Answer>,
}

impl Features {
    /// Nothing is tried yet. `bpf_lsm`: whether `bpf` is among the active security modules.
    pub fn new(kernel_btf: KernelBtf, bpf_lsm: Answer) -> Self {
        // Before 5.11 maps and programs count as locked memory; a limit that cannot be raised is no failure.
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, u64::MAX, u64::MAX);
        Self {
            kernel_btf,
            bpf_lsm,
            may_ask: security::may_ask(),
            targets: None,
            variants: BTreeMap::new(),
            answers: BTreeMap::new(),
        }
    }

    /// Whether the kernel has it. What could not be found out is tried again when it is asked for again.
    pub fn answer(&mut self, feature: Feature) -> Answer {
        if let Some(known) = self.answers.get(&feature) {
            return known.clone();
        }
        let answer = match feature {
            Feature::Program(program) => program::answer(program),
            Feature::Map(map_type) => map::answer(map_type),
            Feature::Attach(kind) => self.attach(kind),
            Feature::Helper {
                id,
                program: Some(program),
            } => self.helper(id, program).answer(program),
            Feature::Helper { id, program: None } => self.helper_of_any(id),
        };
        if !matches!(answer, Answer::Unknown(_)) {
            self.answers.insert(feature, answer.clone());
        }
        answer
    }

    /// Loads a program that returns 0; if it cannot be loaded, what that says of the kernel.
    fn load(&self, what: &str, trial: &Trial<'_>) -> Result<OwnedFd, Answer> {
        load(trial, &return_zero()).map_err(|refused| program::refusal(what, &refused))
    }

    /// What programs attach to in the kernel's BTF.
    fn targets(&mut self) -> Result<&Targets, Answer> {
        match self.kernel_btf.answer() {
            Answer::Yes => {}
            Answer::No(why) => return Err(Answer::No(format!("it needs the kernel's own BTF: {why}"))),
            Answer::Unknown(why) => {
                return Err(Answer::Unknown(format!("it needs the kernel's own BTF: {why}")));
            }
        }
        let kernel_btf = &self.kernel_btf;
        self.targets
            .get_or_insert_with(|| Targets::find(kernel_btf))
            .as_ref()
            .map_err(|why| Answer::Unknown(format!("the kernel's BTF cannot be read: {why}")))
    }

    fn variants(&mut self, program: ProgramType) -> Result<Variants, Answer> {
        if let Some(known) = self.variants.get(&program) {
            return known.clone();
        }
        let found = self.find_variants(program);
        self.variants.insert(program, found.clone());
        found
    }

    fn find_variants(&mut self, program: ProgramType) -> Result<Variants, Answer> {
        let trials = match program {
            ProgramType::Tracing => self.targets()?.tracing(),
            ProgramType::Lsm => self.targets()?.lsm(),
            ProgramType::Ext => {
                return Err(Answer::Unknown(
                    "it has the helpers of the program that it replaces a function of".to_owned(),
                ));
            }
            ProgramType::StructOps => {
                return Err(Answer::Unknown(
                    "it depends on the table that the program is in".to_owned(),
                ));
            }
            _ => {
                return Ok(Variants {
                    trials: vec![program::trial(program)],
                    untried: None,
                });
            }
        };
        let mut refusal =
            Answer::Unknown("the kernel's BTF has nothing that such programs attach to".to_owned());
        let mut untried = None;
        let mut loadable = Vec::new();
        for trial in trials {
            match self.load(&format!("loading {program} programs"), &trial) {
                Ok(_) => loadable.push(trial),
                Err(why) => {
                    if let Answer::Unknown(why) = &why {
                        untried = Some(why.clone());
                    }
                    refusal = why;
                }
            }
        }
        if loadable.is_empty() {
            return Err(refusal);
        }
        Ok(Variants {
            trials: loadable,
            untried,
        })
    }

    fn helper(&mut self, id: u32, program: ProgramType) -> Callable {
        let variants = match self.variants(program) {
            Ok(variants) => variants,
            Err(Answer::No(why)) => return Callable::NoSuchProgram(why),
            Err(Answer::Unknown(why)) => return Callable::Unknown(why),
            Err(Answer::Yes) => return Callable::Yes,
        };
        let mut last = Callable::NotHere;
        for trial in variants.trials {
            last = helper::callable(&helper::try_call(id, &trial));
            if matches!(last, Callable::Yes | Callable::NotInKernel) {
                break;
            }
        }
        if let (Callable::NotHere, Some(why)) = (&last, variants.untried) {
            return Callable::Unknown(why);
        }
        // Without the rights to see all helpers, one that is not shown may be there.
        if matches!(last, Callable::NotHere) && !self.may_ask {
            return Callable::Unknown(
                "the agent has neither CAP_SYS_ADMIN nor CAP_BPF and CAP_PERFMON".to_owned(),
            );
        }
        last
    }

    /// Yes if programs of any type can call it.
    fn helper_of_any(&mut self, id: u32) -> Answer {
        let mut unknown = None;
        for program in helper::MOST_FIRST.iter().chain(
            ProgramType::ALL
                .iter()
                .filter(|program| !helper::MOST_FIRST.contains(program)),
        ) {
            match self.helper(id, *program) {
                Callable::Yes => return Answer::Yes,
                Callable::NotInKernel => return Callable::NotInKernel.answer(*program),
                Callable::Unknown(why) => {
                    // What is never known says nothing: those types have the helpers of others.
                    if !matches!(program, ProgramType::Ext | ProgramType::StructOps) {
                        unknown = unknown.or(Some(format!(
                            "no other programs can call it, and of {program}: {why}"
                        )));
                    }
                }
                Callable::NotHere | Callable::NoSuchProgram(_) => {}
            }
        }
        unknown.map_or_else(
            || Answer::No("no type of program can call it in this kernel".to_owned()),
            Answer::Unknown,
        )
    }
}

/// What a refused load says, shortened to what a person wants of it.
fn last_words(refused: &Refused) -> String {
    let line = refused.log.lines().map(str::trim).rfind(|line| {
        !line.is_empty() && !line.starts_with("processed ") && !line.starts_with("verification time")
    });
    match line {
        Some(line) => line.chars().take(200).collect(),
        None => super::refusal::name(refused.errno),
    }
}

/// What a refused program for one function says of that function.
pub(super) fn refused(what: &str, refused: &Refused) -> Answer {
    match refused.errno {
        _ if !refused.log.is_empty() => {}
        libc::EINVAL | libc::E2BIG | libc::ENOENT | libc::EOPNOTSUPP | probe::ENOTSUPP => {}
        errno => return super::refusal::unknown(what, errno),
    }
    Answer::No(format!("the kernel refuses {what} ({})", last_words(refused)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_with_a_reason_is_shown() {
        let refused = |log: &str| Refused {
            errno: libc::EINVAL,
            log: log.to_owned(),
        };
        assert_eq!(
            last_words(&refused(
                "func 'x' doesn't have 6-th argument\nprocessed 0 insns (limit 1000000)\n"
            )),
            "func 'x' doesn't have 6-th argument"
        );
        assert_eq!(last_words(&refused("")), "EINVAL");
    }
}
