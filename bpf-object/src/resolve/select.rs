//! Which programs and subprograms stay, and how aya will lay them out.

use std::collections::{BTreeMap, BTreeSet};

use crate::code::{Code, Target};
use crate::initial::{Maps, Value};
use crate::instruction::INSTRUCTION;
use crate::program::Program;
use crate::resolve::error::ResolveError;
use crate::resolve::struct_ops::Tables;

/// Most functions of one program, itself included: the kernel's `BPF_MAX_SUBPROGS`.
const MAX_FUNCTIONS: usize = 256;

/// Most references of functions to functions that are followed for all programs of an object together.
/// Real objects have some thousands.
const MAX_FOLLOWED: usize = 8 << 20;

/// A program that stays.
pub(crate) struct Chosen<'a> {
    pub(crate) program: &'a Program,
    /// Index of its function.
    pub(crate) function: usize,
    /// It was asked for; else a map that one of those uses holds it, or a table that one of those is in.
    pub(crate) wanted: bool,
    /// Its functions with the slot that each begins at, itself first, in the order in which aya puts
    /// them one behind the other: depth first, by the instructions that refer to them.
    pub(crate) layout: Vec<(usize, u32)>,
}

/// What stays of an object.
pub(crate) struct Selection<'a> {
    /// By place in the object.
    pub(crate) programs: Vec<Chosen<'a>>,
    /// Functions that stay as subprograms.
    pub(crate) subprograms: BTreeSet<usize>,
    /// For each function that stays, a program that it is part of: whom a message is about.
    pub(crate) owners: BTreeMap<usize, &'a str>,
    /// Programs by their functions.
    by_function: BTreeMap<usize, &'a str>,
}

impl<'a> Selection<'a> {
    pub(crate) fn new(
        programs: &'a [Program],
        wanted: Option<&BTreeSet<String>>,
        code: &Code<'_>,
        maps: &Maps<'_>,
        tables: &Tables<'_>,
    ) -> Result<Self, ResolveError> {
        let callees = callees(code);
        let by_function: BTreeMap<usize, usize> = programs
            .iter()
            .enumerate()
            .rev()
            .filter_map(|(i, p)| Some((code.at(p.section_index, p.offset)?, i)))
            .collect();
        let mut open = roots(programs, wanted)?;
        let roots: BTreeSet<usize> = open.iter().copied().collect();
        let mut chosen: BTreeMap<usize, Chosen<'a>> = BTreeMap::new();
        let mut seen_functions = BTreeSet::new();
        let mut seen_maps = BTreeSet::new();
        let mut walk = Walk::new(code);
        while let Some(index) = open.pop() {
            let Some(program) = programs.get(index) else {
                continue;
            };
            if chosen.contains_key(&index) {
                continue;
            }
            let function = code.at(program.section_index, program.offset).ok_or_else(|| {
                crate::InspectError::malformed(
                    format!("program {:?}", program.name),
                    "it has no instructions",
                )
            })?;
            let layout = walk.layout(code, &callees, function, &program.name)?;
            for (part, _) in layout.iter().filter(|(part, _)| seen_functions.insert(*part)) {
                for map in maps_of(code, maps, *part).filter(|m| seen_maps.insert(*m)) {
                    let held = maps.initial.iter().filter(|i| i.map == map);
                    open.extend(held.filter_map(|i| match i.value {
                        Value::Function(function) => by_function.get(&function).copied(),
                        Value::Map(_) => None,
                    }));
                }
            }
            let table = tables.together(function);
            open.extend(table.iter().filter_map(|f| by_function.get(f).copied()));
            let entry = Chosen {
                program,
                function,
                wanted: roots.contains(&index),
                layout,
            };
            chosen.insert(index, entry);
        }
        let programs: Vec<Chosen<'a>> = chosen.into_values().collect();
        let by_function = programs
            .iter()
            .rev()
            .map(|p| (p.function, p.program.name.as_str()))
            .collect();
        let mut subprograms = BTreeSet::new();
        let mut owners = BTreeMap::new();
        for entry in &programs {
            subprograms.extend(entry.layout.iter().skip(1).map(|(f, _)| *f));
            for (function, _) in &entry.layout {
                owners.entry(*function).or_insert(entry.program.name.as_str());
            }
        }
        Ok(Selection {
            programs,
            subprograms,
            owners,
            by_function,
        })
    }

    /// The program whose function this is.
    pub(crate) fn program(&self, function: usize) -> Option<&'a str> {
        self.by_function.get(&function).copied()
    }

    /// Whom a message about a function is about.
    pub(crate) fn owner(&self, function: usize) -> String {
        self.owners.get(&function).map_or("?", |n| *n).to_owned()
    }
}

/// The programs that are asked for.
fn roots(programs: &[Program], wanted: Option<&BTreeSet<String>>) -> Result<Vec<usize>, ResolveError> {
    let Some(wanted) = wanted else {
        let all: Vec<usize> = (0..programs.len())
            .filter(|i| programs.get(*i).is_some_and(|p| p.autoload))
            .collect();
        return if all.is_empty() {
            Err(ResolveError::NothingWanted)
        } else {
            Ok(all)
        };
    };
    wanted
        .iter()
        .map(|name| {
            programs
                .iter()
                .position(|p| p.name == *name)
                .ok_or_else(|| ResolveError::NoSuchProgram {
                    name: name.clone(),
                    known: programs.iter().map(|p| p.name.clone()).collect(),
                })
        })
        .collect()
}

/// Functions that each function refers to, each once, in the order of its instructions.
fn callees(code: &Code<'_>) -> Vec<Vec<usize>> {
    let of = |references: &[crate::code::Reference]| {
        let mut seen = BTreeSet::new();
        let functions = references.iter().filter_map(|r| match r.to {
            Target::Function(index) => Some(index),
            _ => None,
        });
        functions.filter(|f| seen.insert(*f)).collect()
    };
    code.functions.iter().map(|f| of(&f.references)).collect()
}

fn maps_of<'c>(code: &'c Code<'_>, maps: &'c Maps<'_>, function: usize) -> impl Iterator<Item = usize> + 'c {
    let references = code
        .functions
        .get(function)
        .map_or(&[][..], |f| f.references.as_slice());
    references.iter().filter_map(|r| match r.to {
        Target::Section { index, offset } => maps.at(index, offset),
        _ => None,
    })
}

/// Lays out the functions of one program after the other.
struct Walk {
    /// The last program that each function was met in, by the number of the walk.
    seen: Vec<u32>,
    number: u32,
    /// How many references of functions to functions were followed.
    followed: usize,
}

impl Walk {
    fn new(code: &Code<'_>) -> Self {
        Walk {
            seen: vec![0; code.functions.len()],
            number: 0,
            followed: 0,
        }
    }

    fn layout(
        &mut self,
        code: &Code<'_>,
        callees: &[Vec<usize>],
        entry: usize,
        program: &str,
    ) -> Result<Vec<(usize, u32)>, ResolveError> {
        let size = |function: usize| {
            let bytes = code.functions.get(function).map_or(0, |f| f.code.len());
            u32::try_from(bytes / INSTRUCTION).unwrap_or(u32::MAX)
        };
        let too_many = |what, size, limit| ResolveError::TooMany {
            program: program.into(),
            what,
            size,
            limit,
        };
        self.number = self.number.saturating_add(1);
        let mut out = vec![(entry, 0)];
        let mut next = size(entry);
        // What is being laid out, and how many of its callees are done.
        let mut open = vec![(entry, 0usize)];
        while let Some((function, done)) = open.pop() {
            let Some(callee) = callees.get(function).and_then(|c| c.get(done)) else {
                continue;
            };
            self.followed += 1;
            if self.followed > MAX_FOLLOWED {
                let what = "calls to follow, with those of programs before it";
                return Err(too_many(what, self.followed, MAX_FOLLOWED));
            }
            open.push((function, done + 1));
            match self.seen.get_mut(*callee) {
                Some(seen) if *seen != self.number => *seen = self.number,
                _ => continue,
            }
            out.push((*callee, next));
            if out.len() > MAX_FUNCTIONS {
                return Err(too_many("functions", out.len(), MAX_FUNCTIONS));
            }
            next = next.saturating_add(size(*callee));
            open.push((*callee, 0));
        }
        Ok(out)
    }
}
