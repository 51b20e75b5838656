//! Functions of an object, and what their instructions refer to.

use std::collections::BTreeMap;

use crate::elf::{Elf, Relocation, Symbol, SymbolType};
use crate::error::InspectError;
use crate::instruction::{CALL, INSTRUCTION, Instruction, LOAD_64};

/// A function.
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    /// Index of its section.
    pub(crate) section: usize,
    /// Where it begins, in bytes from the start of the section.
    pub(crate) offset: u64,
    pub(crate) code: &'a [u8],
    /// `static`, or hidden.
    pub(crate) local: bool,
    /// It stands in a section of subprograms.
    pub(crate) text: bool,
    /// What its instructions refer to, by ascending place.
    pub(crate) references: Vec<Reference>,
}

/// An instruction that refers to something outside of its function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reference {
    /// Where it begins, in bytes from the start of the function.
    pub(crate) at: usize,
    /// It is a call, else the load of a 64-bit constant.
    pub(crate) call: bool,
    pub(crate) to: Target,
}

/// What an instruction refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A function, by its index.
    Function(usize),
    /// A place in a section without instructions: a map's definition, or data.
    Section { index: usize, offset: u64 },
    /// A symbol that is defined elsewhere, by its index.
    Extern(usize),
}

/// Code of an object, taken apart.
pub(crate) struct Code<'a> {
    /// By section and then by where they begin; none overlaps another.
    pub(crate) functions: Vec<Function<'a>>,
}

impl<'a> Code<'a> {
    pub(crate) fn read(elf: &Elf<'a>) -> Result<Self, InspectError> {
        let mut code = Code {
            functions: functions(elf)?,
        };
        let found: Result<Vec<_>, _> = code.functions.iter().map(|f| code.references(elf, f)).collect();
        for (function, references) in code.functions.iter_mut().zip(found?) {
            function.references = references;
        }
        Ok(code)
    }

    fn references(&self, elf: &Elf<'_>, function: &Function<'_>) -> Result<Vec<Reference>, InspectError> {
        let all = elf
            .relocations
            .get(&function.section)
            .map_or(&[][..], Vec::as_slice);
        let from = all.partition_point(|r| r.offset < function.offset);
        let mut relocations = all.get(from..).unwrap_or(&[]).iter().peekable();
        let mut out = Vec::new();
        let mut at = 0usize;
        while let Some(instruction) = Instruction::read(function.code, at, elf.endian) {
            let place = function.offset + at as u64;
            if relocations.peek().is_some_and(|r| r.offset < place) {
                return Err(bad(function.name, "a relocation is within an instruction"));
            }
            let mut symbol = None;
            while let Some(found) = relocations.next_if(|r| r.offset == place) {
                symbol = Some(found);
            }
            let to = match symbol {
                Some(relocation) => Some(self.target(elf, function, instruction, relocation)?),
                // A function of the same section: the distance is in the instruction already.
                None if instruction.is_local_call() => {
                    let offset = call_target(place, instruction.immediate);
                    let callee = offset
                        .and_then(|o| self.at(function.section, o))
                        .ok_or_else(|| bad(function.name, "it calls a place where no function begins"))?;
                    Some(Target::Function(callee))
                }
                None => None,
            };
            if let Some(to) = to {
                out.push(Reference {
                    at,
                    call: instruction.code == CALL,
                    to,
                });
            }
            at += instruction.size();
        }
        Ok(out)
    }

    fn target(
        &self,
        elf: &Elf<'_>,
        function: &Function<'_>,
        instruction: Instruction,
        relocation: &Relocation,
    ) -> Result<Target, InspectError> {
        let symbol: &Symbol<'_> = elf
            .symbols
            .get(relocation.symbol)
            .ok_or_else(|| bad(function.name, "a relocation refers to no symbol"))?;
        let call = instruction.code == CALL;
        if !(instruction.is_local_call() || instruction.code == LOAD_64) {
            return Err(bad(
                function.name,
                "a relocation stands at an instruction that is neither a call nor a 64-bit load",
            ));
        }
        if symbol.undefined {
            return Ok(Target::Extern(relocation.symbol));
        }
        let Some((index, section)) = symbol.section.and_then(|i| Some((i, elf.sections.get(i)?))) else {
            return Err(bad(
                function.name,
                &format!("it refers to {:?}, which is in no section", symbol.name),
            ));
        };
        let offset = if call {
            // The immediate counts from the next instruction; of a named function it is -1.
            call_target(symbol.value, instruction.immediate)
        } else {
            symbol.value.checked_add_signed(i64::from(instruction.immediate))
        };
        if section.executable {
            return offset
                .and_then(|o| self.at(index, o))
                .map(Target::Function)
                .ok_or_else(|| {
                    bad(
                        function.name,
                        &format!(
                            "it refers to a place in section {:?} where no function begins",
                            section.name
                        ),
                    )
                });
        }
        match offset {
            Some(offset) if !call && offset <= section.size => Ok(Target::Section { index, offset }),
            _ => Err(bad(
                function.name,
                &format!("it refers to a place outside of section {:?}", section.name),
            )),
        }
    }

    /// The function that begins at this place.
    pub(crate) fn at(&self, section: usize, offset: u64) -> Option<usize> {
        self.functions
            .binary_search_by_key(&(section, offset), |f| (f.section, f.offset))
            .ok()
    }

    /// The function that this byte of a section belongs to, and where in it.
    pub(crate) fn around(&self, section: usize, offset: u64) -> Option<(usize, usize)> {
        let after = self
            .functions
            .partition_point(|f| (f.section, f.offset) <= (section, offset));
        let index = after.checked_sub(1)?;
        let function = self.functions.get(index)?;
        let at = usize::try_from(offset.checked_sub(function.offset)?).ok()?;
        (function.section == section && at < function.code.len()).then_some((index, at))
    }
}

fn functions<'a>(elf: &Elf<'a>) -> Result<Vec<Function<'a>>, InspectError> {
    let mut found: Vec<(Function<'a>, bool)> = Vec::new();
    for symbol in elf.symbols.iter().filter(|s| s.kind == SymbolType::Function) {
        let Some((index, section)) = symbol.section.and_then(|i| Some((i, elf.sections.get(i)?))) else {
            continue;
        };
        if !section.executable || symbol.size == 0 || symbol.name.is_empty() {
            continue;
        }
        let start = usize::try_from(symbol.value).ok();
        let end = symbol
            .value
            .checked_add(symbol.size)
            .and_then(|e| usize::try_from(e).ok());
        let code = start
            .zip(end)
            .and_then(|(start, end)| section.data.get(start..end))
            .filter(|code| code.len() % INSTRUCTION == 0 && symbol.value % INSTRUCTION as u64 == 0)
            .ok_or_else(|| {
                bad(
                    symbol.name,
                    "it is not within its section, or no whole number of instructions",
                )
            })?;
        let function = Function {
            name: symbol.name,
            section: index,
            offset: symbol.value,
            code,
            local: symbol.local || symbol.hidden,
            text: section.is_text(),
            references: Vec::new(),
        };
        found.push((function, symbol.local));
    }
    // Of several names for one place the global one counts.
    found.sort_by_key(|(f, local)| (f.section, f.offset, *local));
    found.dedup_by_key(|(f, _)| (f.section, f.offset));
    let functions: Vec<Function<'a>> = found.into_iter().map(|(f, _)| f).collect();
    for pair in functions.windows(2) {
        if let [first, second] = pair
            && first.section == second.section
            && first.offset + first.code.len() as u64 > second.offset
        {
            return Err(bad(second.name, &format!("it begins within {:?}", first.name)));
        }
    }
    Ok(functions)
}

/// Where a call goes that stands at `base` and whose immediate counts from the next instruction.
fn call_target(base: u64, immediate: i32) -> Option<u64> {
    base.checked_add_signed((i64::from(immediate) + 1) * INSTRUCTION as i64)
}

fn bad(function: &str, detail: &str) -> InspectError {
    InspectError::malformed(format!("function {function:?}"), detail)
}

/// Sections with instructions by their names, which `.BTF.ext` goes by.
pub(crate) fn executable<'e>(elf: &'e Elf<'_>) -> Result<BTreeMap<&'e str, usize>, InspectError> {
    let mut out = BTreeMap::new();
    for (index, section) in elf.sections.iter().enumerate().filter(|(_, s)| s.executable) {
        if out.insert(section.name, index).is_some() && section.size > 0 {
            return Err(InspectError::malformed(
                format!("section {:?}", section.name),
                "there are two of this name, and its BTF does not tell which of them it means",
            ));
        }
    }
    Ok(out)
}
