//! CO-RE relocations of `.BTF.ext`, with the function and source line of each.

use std::collections::BTreeMap;

use btf::{Btf, BtfError, BtfExt, LineInfo};

use crate::access;
use crate::core_relo::{CoreKind, CoreRelocation, SourceLine};
use crate::elf::{Elf, SymbolType};
use crate::error::InspectError;

/// Most relocations; the largest real objects have a few thousand.
const MAX_RELOCATIONS: usize = 16_384;
/// Longest access string, in bytes.
const MAX_ACCESS: usize = 256;
/// Longest source line that is kept, in bytes.
const MAX_SOURCE_TEXT: usize = 256;

/// Reads all relocations of an object, in the order of the file.
pub(crate) fn read(elf: &Elf<'_>, btf: &Btf<'_>) -> Result<Vec<CoreRelocation>, InspectError> {
    let Some(ext) = elf.btf_ext()? else {
        return Ok(Vec::new());
    };
    let relocations = ext.relocations().map_err(malformed)?;
    let lines = Lines::read(&ext, btf)?;
    let functions = Functions::new(elf);
    let mut out = Vec::new();
    for record in relocations {
        let (section, relocation) = record.map_err(malformed)?;
        let section = section_name(btf, section)?;
        let access = btf
            .string_within(relocation.access, MAX_ACCESS)
            .and_then(|access| std::str::from_utf8(access).ok())
            .ok_or_else(|| bad("an access string is not in .BTF"))?;
        let kind = CoreKind::from_raw(relocation.kind);
        if out.len() >= MAX_RELOCATIONS {
            return Err(InspectError::too_many(
                "the list of CO-RE relocations",
                out.len() + 1,
                MAX_RELOCATIONS,
            ));
        }
        let type_id = relocation.type_id;
        if btf.get(type_id).is_none() {
            return Err(bad(&format!(
                "a CO-RE relocation refers to type {type_id}, which is not in .BTF"
            )));
        }
        let (type_keyword, type_name) = access::type_of(btf, type_id);
        let field_path =
            access::spell(btf, type_id, access, kind).unwrap_or_else(|| format!("{type_name}:{access}"));
        let offset = relocation.instruction_offset;
        out.push(CoreRelocation {
            program: functions.at(section, u64::from(offset)),
            source_line: lines.at(btf, section, offset),
            section: section.to_owned(),
            instruction_offset: u64::from(offset),
            kind,
            type_keyword,
            type_name,
            access: access.to_owned(),
            field_path,
        });
    }
    Ok(out)
}

/// The name of a section that `.BTF.ext` refers to.
pub(crate) fn section_name<'b>(btf: &'b Btf<'_>, offset: u32) -> Result<&'b str, InspectError> {
    btf.string(offset)
        .and_then(|name| std::str::from_utf8(name).ok())
        .ok_or_else(|| bad("a section name is not in .BTF"))
}

pub(crate) fn malformed(error: BtfError) -> InspectError {
    InspectError::malformed("section .BTF.ext", error)
}

fn bad(detail: &str) -> InspectError {
    InspectError::malformed("section .BTF.ext", detail)
}

/// Source lines by section, each list sorted by instruction offset.
struct Lines<'b> {
    by_section: BTreeMap<&'b str, Vec<LineInfo>>,
}

impl<'b> Lines<'b> {
    fn read(ext: &BtfExt<'_>, btf: &'b Btf<'_>) -> Result<Self, InspectError> {
        // By the name's offset first: a name is looked up once, not for each of its lines.
        let mut by_offset: BTreeMap<u32, Vec<LineInfo>> = BTreeMap::new();
        for record in ext.lines().map_err(malformed)? {
            let (section, line) = record.map_err(malformed)?;
            by_offset.entry(section).or_default().push(line);
        }
        let mut by_section: BTreeMap<&str, Vec<LineInfo>> = BTreeMap::new();
        for (offset, lines) in by_offset {
            by_section
                .entry(section_name(btf, offset)?)
                .or_default()
                .extend(lines);
        }
        for lines in by_section.values_mut() {
            lines.sort_by_key(|l| l.instruction_offset);
        }
        Ok(Lines { by_section })
    }

    /// The last line that begins at or before an instruction.
    fn at(&self, btf: &Btf<'_>, section: &str, instruction: u32) -> Option<SourceLine> {
        let lines = self.by_section.get(section)?;
        let line = lines.get(
            lines
                .partition_point(|l| l.instruction_offset <= instruction)
                .checked_sub(1)?,
        )?;
        let text = btf.string(line.text).unwrap_or(&[]);
        let text = text.get(..MAX_SOURCE_TEXT).unwrap_or(text);
        Some(SourceLine {
            file: std::str::from_utf8(btf.string(line.file)?).ok()?.to_owned(),
            line: line.position >> 10,
            column: line.position & 0x3ff,
            text: crate::bytes::utf8_prefix(text).trim().to_owned(),
        })
    }
}

/// Functions by section, sorted by where they begin.
struct Functions<'e> {
    by_section: BTreeMap<&'e str, Vec<(u64, u64, &'e str)>>,
}

impl<'e> Functions<'e> {
    fn new(elf: &'e Elf<'_>) -> Self {
        let mut by_section: BTreeMap<&str, Vec<(u64, u64, &str)>> = BTreeMap::new();
        for symbol in elf.symbols.iter().filter(|s| s.kind == SymbolType::Function) {
            if let Some(section) = symbol.section.and_then(|i| elf.sections.get(i)) {
                let end = symbol.value.saturating_add(symbol.size);
                by_section
                    .entry(section.name)
                    .or_default()
                    .push((symbol.value, end, symbol.name));
            }
        }
        by_section
            .values_mut()
            .for_each(|functions| functions.sort_unstable());
        Functions { by_section }
    }

    fn at(&self, section: &str, offset: u64) -> Option<String> {
        let functions = self.by_section.get(section)?;
        let (_, end, name) = functions.get(functions.partition_point(|f| f.0 <= offset).checked_sub(1)?)?;
        (offset < *end).then(|| (*name).to_owned())
    }
}
