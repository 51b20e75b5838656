//! Programs: the global functions of program sections.

use std::collections::BTreeSet;

use crate::elf::{Elf, SymbolType};
use crate::error::InspectError;
use crate::kind::ProgramKind;
use crate::sec::{SecTarget, parse_sec};

/// Most programs of one object.
const MAX_PROGRAMS: usize = 2048;
/// Bytes of one instruction.
const INSTRUCTION: u64 = 8;

/// A program: an entry function that the kernel can load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Name of the function.
    pub name: String,
    /// The section it stands in, as `SEC("…")` has it.
    pub section: String,
    /// What it is.
    pub kind: ProgramKind,
    /// What the section says it attaches to.
    pub target: SecTarget,
    /// Whether it may sleep.
    pub sleepable: bool,
    /// False if the section begins with `?`: loaded only when asked for.
    pub autoload: bool,
    /// Instruction slots (8 bytes each; a 64-bit constant takes two) without its subprograms.
    pub instructions: u64,
    /// Index of its section in the file.
    pub section_index: usize,
    /// Where it begins, in bytes from the start of its section.
    pub offset: u64,
}

/// All programs, by section and then by where they begin.
pub(crate) fn read(elf: &Elf<'_>) -> Result<Vec<Program>, InspectError> {
    let mut programs = Vec::new();
    let mut in_text = Vec::new();
    for symbol in elf.symbols.iter().filter(|s| s.kind == SymbolType::Function) {
        let Some((index, section)) = symbol.section.and_then(|i| elf.sections.get(i).map(|s| (i, s))) else {
            continue;
        };
        if !section.executable {
            continue;
        }
        let malformed =
            |detail: String| InspectError::malformed(format!("function {:?}", symbol.name), detail);
        let end = symbol
            .value
            .checked_add(symbol.size)
            .filter(|end| *end <= section.data.len() as u64);
        if end.is_none() {
            return Err(malformed(format!(
                "it reaches beyond the end of section {:?}",
                section.name
            )));
        }
        if symbol.value % INSTRUCTION != 0 || symbol.size % INSTRUCTION != 0 {
            return Err(malformed("it is not a whole number of instructions".into()));
        }
        if section.is_text() {
            in_text.push(symbol.name);
            continue;
        }
        if symbol.name.is_empty() || symbol.size == 0 {
            return Err(malformed(format!(
                "it has no name or no instructions (section {:?})",
                section.name
            )));
        }
        if symbol.local {
            return Err(InspectError::StaticProgram {
                name: symbol.name.into(),
                section: section.name.into(),
            });
        }
        if programs.len() == MAX_PROGRAMS {
            return Err(InspectError::too_many(
                "the list of programs",
                MAX_PROGRAMS + 1,
                MAX_PROGRAMS,
            ));
        }
        let sec = parse_sec(section.name);
        programs.push(Program {
            name: symbol.name.into(),
            section: section.name.into(),
            kind: sec.kind,
            target: sec.target,
            sleepable: sec.sleepable,
            autoload: sec.autoload,
            instructions: symbol.size / INSTRUCTION,
            section_index: index,
            offset: symbol.value,
        });
    }
    if programs.is_empty() {
        let functions_in_text = in_text.iter().take(8).map(|name| (*name).to_owned()).collect();
        return Err(InspectError::NoPrograms { functions_in_text });
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = programs.iter().find(|p| !names.insert(p.name.as_str())) {
        return Err(InspectError::Duplicate {
            what: "program",
            name: twice.name.clone(),
        });
    }
    programs.sort_by_key(|p| (p.section_index, p.offset));
    Ok(programs)
}
