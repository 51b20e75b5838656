//! Subprograms: functions that programs call, or hand to helpers as callbacks.

use std::collections::{BTreeMap, BTreeSet};

use crate::code::{Code, Function, Target};
use crate::elf::Elf;
use crate::info::ObjectInfo;
use crate::program::Program;

/// A function of a section without programs (`.text`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subprogram {
    /// Name of the function.
    pub name: String,
    /// The section it stands in.
    pub section: String,
    /// Where it begins, in bytes from the start of its section.
    pub offset: u64,
    /// Instruction slots (8 bytes each).
    pub instructions: u64,
    /// `static` or hidden: verified with each of its callers, and not on its own.
    pub local: bool,
    /// Which functions refer to it themselves.
    pub callers: Vec<Caller>,
}

/// A function that refers to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Caller {
    /// A program, by its place in [`ObjectInfo::programs`].
    Program(usize),
    /// A subprogram, by its place in [`ObjectInfo::subprograms`].
    Subprogram(usize),
}

/// All subprograms, by section and then by where they begin.
pub(crate) fn read(elf: &Elf<'_>, code: &Code<'_>, programs: &[Program]) -> Vec<Subprogram> {
    let mut places: BTreeMap<usize, usize> = BTreeMap::new();
    let mut out = Vec::new();
    for (index, function) in code.functions.iter().enumerate().filter(|(_, f)| f.text) {
        places.insert(index, out.len());
        out.push(Subprogram {
            name: function.name.into(),
            section: elf.sections.get(function.section).map_or("", |s| s.name).into(),
            offset: function.offset,
            instructions: (function.code.len() / crate::instruction::INSTRUCTION) as u64,
            local: function.local,
            callers: Vec::new(),
        });
    }
    let by_place: BTreeMap<(usize, u64), usize> = programs
        .iter()
        .enumerate()
        .map(|(i, p)| ((p.section_index, p.offset), i))
        .collect();
    for (index, function) in code.functions.iter().enumerate() {
        let caller = match places.get(&index) {
            Some(own) => Caller::Subprogram(*own),
            None => match by_place.get(&(function.section, function.offset)) {
                Some(program) => Caller::Program(*program),
                None => continue,
            },
        };
        for callee in callees(function) {
            if let Some(subprogram) = places.get(&callee).and_then(|i| out.get_mut(*i)) {
                subprogram.callers.push(caller);
            }
        }
    }
    out
}

/// The functions that a function refers to itself, each once.
fn callees(function: &Function<'_>) -> BTreeSet<usize> {
    function
        .references
        .iter()
        .filter_map(|r| match r.to {
            Target::Function(index) => Some(index),
            _ => None,
        })
        .collect()
}

impl ObjectInfo {
    /// The programs from which a subprogram is reached, directly or by way of others, in order.
    pub fn programs_reaching(&self, subprogram: &str) -> Vec<&Program> {
        let mut seen = BTreeSet::new();
        let mut programs = BTreeSet::new();
        let mut open: Vec<usize> = (0..self.subprograms.len())
            .filter(|i| self.subprograms.get(*i).is_some_and(|s| s.name == subprogram))
            .collect();
        while let Some(index) = open.pop() {
            if !seen.insert(index) {
                continue;
            }
            for caller in self
                .subprograms
                .get(index)
                .map_or(&[][..], |s| s.callers.as_slice())
            {
                match caller {
                    Caller::Program(program) => {
                        programs.insert(*program);
                    }
                    Caller::Subprogram(other) => open.push(*other),
                }
            }
        }
        programs
            .into_iter()
            .filter_map(|i| self.programs.get(i))
            .collect()
    }

    /// Whether this program, with the subprograms that it reaches, must be relocated against a kernel's BTF (its
    /// own or supplied) before it is loaded.
    pub fn program_needs_target_btf(&self, program: &str) -> bool {
        let mut subprograms = BTreeSet::new();
        for relocation in self.co_re.iter().filter(|r| r.kind.needs_target_btf()) {
            match relocation.program.as_deref() {
                // In no function that is known, so that it could be anybody's.
                None => return true,
                Some(function) if function == program => return true,
                Some(function) => {
                    subprograms.insert(function);
                }
            }
        }
        subprograms
            .into_iter()
            .filter(|function| self.program(function).is_none())
            .any(|function| self.programs_reaching(function).iter().any(|p| p.name == program))
    }
}
