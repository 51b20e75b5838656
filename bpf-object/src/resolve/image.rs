//! Functions that stay, with their instructions as aya links them, put into sections.

use std::collections::{BTreeMap, BTreeSet};

use btf::Endian;

use crate::code::{Code, Reference, Target};
use crate::elf::{Elf, MAX_OBJECT_SIZE};
use crate::error::{InspectError, SizeLimit};
use crate::initial::Maps;
use crate::instruction::{INSTRUCTION, Instruction, LOAD_64, PSEUDO_CALL};
use crate::map::{Map, MapSource};
use crate::resolve::error::ResolveError;
use crate::resolve::externs::Settled;
use crate::resolve::names::loading;
use crate::resolve::select::Selection;

/// `BPF_PSEUDO_FUNC`: the address of a function of the same object.
const PSEUDO_FUNC: u8 = 4;

/// A place in a function that the loader fills in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    /// In bytes from the start of the function.
    pub(crate) at: usize,
    pub(crate) call: bool,
    pub(crate) to: To,
}

/// What the loader fills in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// A subprogram, by the function's index.
    Function(usize),
    /// A map, by its index.
    Map(usize),
    /// A data section of the object, by its index.
    Data(usize),
    /// The section of configuration values.
    Kconfig,
}

/// A section with instructions.
pub(crate) struct Section<'c> {
    pub(crate) name: &'static str,
    pub(crate) functions: Vec<Placed<'c>>,
    pub(crate) size: u64,
}

/// A function in its place.
pub(crate) struct Placed<'c> {
    pub(crate) name: &'c str,
    pub(crate) function: usize,
    pub(crate) local: bool,
    pub(crate) code: &'c [u8],
    pub(crate) links: &'c [Link],
    /// In bytes from the start of the section.
    pub(crate) offset: u64,
    pub(crate) source_section: usize,
    pub(crate) source_offset: u64,
}

/// What each function's instructions refer to, in terms of the result; their operands are set to what
/// aya expects there.
pub(crate) fn link(
    elf: &Elf<'_>,
    code: &Code<'_>,
    maps: &Maps<'_>,
    infos: &[Map],
    selection: &Selection<'_>,
    settled: &Settled,
    out: &mut BTreeMap<usize, Vec<u8>>,
) -> Result<BTreeMap<usize, Vec<Link>>, ResolveError> {
    let data = data_sections(elf, infos);
    let mut all = BTreeMap::new();
    for (function, bytes) in out {
        let references = code
            .functions
            .get(*function)
            .map_or(&[][..], |f| f.references.as_slice());
        let mut links = Vec::with_capacity(references.len());
        for reference in references {
            let Reference { at, call, to } = *reference;
            let (to, offset) = match to {
                Target::Function(callee) => (To::Function(callee), 0),
                Target::Extern(_) => match settled.kconfig.get(&(*function, at)) {
                    Some(offset) => (To::Kconfig, *offset),
                    None => continue,
                },
                Target::Section { index, offset } => match maps.at(index, offset) {
                    Some(map) => (To::Map(map), 0),
                    None if data.contains(&index) => (To::Data(index), offset),
                    None => return Err(unsupported(elf, selection, *function, index)),
                },
            };
            if set_operands(bytes, at, elf.endian, call, to, offset) {
                links.push(Link { at, call, to });
            }
        }
        all.insert(*function, links);
    }
    Ok(all)
}

/// False if the instruction is another by now: it was poisoned.
fn set_operands(code: &mut [u8], at: usize, endian: Endian, call: bool, to: To, offset: u64) -> bool {
    let Some(mut first) = Instruction::read(code, at, endian) else {
        return false;
    };
    if !(first.is_local_call() && call || first.code == LOAD_64 && !call) {
        return false;
    }
    (first.source, first.immediate) = match to {
        To::Function(_) if call => (PSEUDO_CALL, -1),
        To::Function(_) => (PSEUDO_FUNC, 0),
        // Within the section, whose start is what the relocation names.
        _ => (0, (offset as u32).cast_signed()),
    };
    // Both were read from there.
    let _ = first.write(code, at, endian);
    if !call && let Some(mut second) = Instruction::read(code, at + INSTRUCTION, endian) {
        second.immediate = 0;
        let _ = second.write(code, at + INSTRUCTION, endian);
    }
    true
}

/// Sections of variables, which become maps, by index.
pub(crate) fn data_sections(elf: &Elf<'_>, infos: &[Map]) -> BTreeSet<usize> {
    let names: BTreeSet<&str> = infos
        .iter()
        .filter(|m| matches!(m.source, MapSource::Data { .. }))
        .map(|m| m.name.as_str())
        .collect();
    let sections = elf.sections.iter().enumerate();
    sections
        .filter(|(_, s)| s.size > 0 && names.contains(s.name))
        .map(|(index, _)| index)
        .collect()
}

fn unsupported(elf: &Elf<'_>, selection: &Selection<'_>, function: usize, index: usize) -> ResolveError {
    let name = elf.sections.get(index).map_or("?", |s| s.name);
    ResolveError::Unsupported {
        program: selection.owner(function),
        what: format!("section {name:?}, which is neither a map nor one of .data, .rodata and .bss,"),
        advice: "put the variable into one of these, or declare the map in .maps",
    }
}

/// Puts subprograms into one `.text`, where no two of them share an offset: aya remembers what it has
/// linked by offset alone. Programs go to the sections that aya knows their kinds by.
pub(crate) fn place<'c>(
    code: &'c Code<'_>,
    selection: &'c Selection<'_>,
    bytes: &'c BTreeMap<usize, Vec<u8>>,
    links: &'c BTreeMap<usize, Vec<Link>>,
) -> Result<Vec<Section<'c>>, ResolveError> {
    let mut sections: Vec<Section<'c>> = Vec::new();
    let mut total = 0u64;
    let mut put = |name: &'static str, function: usize, program: Option<&'c str>| {
        let Some(source) = code.functions.get(function) else {
            return Ok(());
        };
        let index = sections.iter().position(|s| s.name == name).unwrap_or_else(|| {
            sections.push(Section {
                name,
                functions: Vec::new(),
                size: 0,
            });
            sections.len() - 1
        });
        let instructions = bytes.get(&function).map_or(&[][..], Vec::as_slice);
        total = total.saturating_add(instructions.len() as u64);
        if total > MAX_OBJECT_SIZE as u64 {
            return Err(InspectError::TooLarge {
                what: "the code of all programs together".into(),
                size: total,
                limit: SizeLimit::Bytes(MAX_OBJECT_SIZE as u64),
            });
        }
        if let Some(section) = sections.get_mut(index) {
            section.functions.push(Placed {
                name: program.unwrap_or(source.name),
                function,
                local: program.is_none() && source.local,
                code: instructions,
                links: links.get(&function).map_or(&[][..], Vec::as_slice),
                offset: section.size,
                source_section: source.section,
                source_offset: source.offset,
            });
            section.size += instructions.len() as u64;
        }
        Ok(())
    };
    for function in &selection.subprograms {
        put(".text", *function, None)?;
    }
    for chosen in &selection.programs {
        let program = chosen.program;
        let loading = loading(program.kind, program.sleepable).ok_or_else(|| ResolveError::UnknownKind {
            program: program.name.clone(),
            section: program.section.clone(),
        })?;
        put(loading.section, chosen.function, Some(program.name.as_str()))?;
    }
    Ok(sections)
}
