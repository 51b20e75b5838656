//! [`inspect`]: an object's contents in one value.

use btf::Endian;

use crate::code::Code;
use crate::core_relo::CoreRelocation;
use crate::elf::{Elf, license, with_aligned};
use crate::error::InspectError;
use crate::externs::{self, Extern};
use crate::initial::{self, InitialEntry};
use crate::map::{self, Map};
use crate::program::{self, Program};
use crate::relocations;
use crate::subprogram::{self, Subprogram};

/// What an object holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Programs, by section and then by where they begin. Never empty; names are distinct.
    pub programs: Vec<Program>,
    /// Functions in sections without programs (`.text`), by section and then by where they begin.
    pub subprograms: Vec<Subprogram>,
    /// Maps; names are distinct.
    pub maps: Vec<Map>,
    /// What maps of maps and of programs hold from the start, by map and index.
    pub initial: Vec<InitialEntry>,
    /// Contents of the `license` section; `None` if there is none or it is empty.
    pub license: Option<String>,
    /// CO-RE relocations in the order of the file.
    pub co_re: Vec<CoreRelocation>,
    /// What the object uses and does not define, by name.
    pub externs: Vec<Extern>,
    /// Whether it carries BTF.
    pub has_btf: bool,
    /// Its byte order.
    pub endian: Endian,
}

/// Reads an object for a machine of this machine's byte order.
///
/// # Errors
/// What is wrong with the object and what to do about it.
pub fn inspect(bytes: &[u8]) -> Result<ObjectInfo, InspectError> {
    inspect_for(bytes, Endian::HOST)
}

/// Reads an object for a machine of byte order `endian`.
///
/// # Errors
/// What is wrong with the object and what to do about it.
pub fn inspect_for(bytes: &[u8], endian: Endian) -> Result<ObjectInfo, InspectError> {
    with_aligned(bytes, |bytes| {
        let elf = Elf::parse(bytes, endian)?;
        let programs = program::read(&elf)?;
        let code = Code::read(&elf)?;
        let subprograms = subprogram::read(&elf, &code, &programs);
        let btf = elf.btf()?;
        let maps = map::read(&elf, btf.as_ref())?;
        let initial = initial::entries(&elf, &code, btf.as_ref(), &maps, &programs)?;
        let externs = externs::read(&elf, btf.as_ref())?;
        let co_re = match &btf {
            Some(btf) => relocations::read(&elf, btf)?,
            None => Vec::new(),
        };
        Ok(ObjectInfo {
            programs,
            subprograms,
            maps,
            initial,
            license: license(&elf),
            co_re,
            externs,
            has_btf: btf.is_some(),
            endian,
        })
    })
}

impl ObjectInfo {
    /// The program of this name.
    pub fn program(&self, name: &str) -> Option<&Program> {
        self.programs.iter().find(|p| p.name == name)
    }

    /// The map of this name.
    pub fn map(&self, name: &str) -> Option<&Map> {
        self.maps.iter().find(|m| m.name == name)
    }

    /// Whether the object must be relocated against a kernel's BTF (its own or supplied) before it
    /// is loaded; loaded without, it reads wrong memory.
    pub fn needs_target_btf(&self) -> bool {
        self.co_re.iter().any(|r| r.kind.needs_target_btf())
    }

    /// The CO-RE relocation of an instruction of a program, counted from the program's start in
    /// slots of 8 bytes as the verifier's log counts them. Subprograms come after the program's own
    /// instructions in the kernel and are not covered: see
    /// [`relocations_at_line`](Self::relocations_at_line).
    pub fn relocation_at(&self, program: &str, instruction: u64) -> Option<&CoreRelocation> {
        let program = self.program(program).filter(|p| instruction < p.instructions)?;
        let offset = program.offset.checked_add(instruction.checked_mul(8)?)?;
        self.co_re
            .iter()
            .find(|r| r.section == program.section && r.instruction_offset == offset)
    }

    /// CO-RE relocations of a source line, given its text as the verifier's log quotes it. Only
    /// those whose absence poisons an instruction.
    pub fn relocations_at_line<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a CoreRelocation> + 'a {
        let text = text.trim();
        self.co_re.iter().filter(move |r| {
            !r.kind.is_question()
                && !text.is_empty()
                && r.source_line.as_ref().is_some_and(|l| l.text == text)
        })
    }
}
