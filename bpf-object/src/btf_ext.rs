//! `.BTF.ext`: CO-RE relocations, and the source lines they come from.

use std::collections::BTreeMap;

use crate::access;
use crate::btf::Btf;
use crate::bytes::Bytes;
use crate::core_relo::{CoreKind, CoreRelocation, SourceLine};
use crate::elf::{Elf, SymbolType};
use crate::error::InspectError;

const MAGIC: u16 = 0xeb9f;
/// Most relocations; the largest real objects have a few thousand.
const MAX_RELOCATIONS: usize = 16_384;
/// Longest access string, in bytes.
const MAX_ACCESS: usize = 256;
/// Longest source line that is kept, in bytes.
const MAX_SOURCE_TEXT: usize = 256;

/// Reads all relocations of an object, in the order of the file.
pub(crate) fn read(elf: &Elf<'_>, btf: &Btf<'_>) -> Result<Vec<CoreRelocation>, InspectError> {
    let Some(data) = elf.section_bytes(".BTF.ext") else {
        return Ok(Vec::new());
    };
    let header = Header::parse(data)?;
    let Some(relocations) = header.part(data, 24, "CO-RE relocations")? else {
        return Ok(Vec::new());
    };
    let lines = match header.part(data, 16, "line information")? {
        Some(part) => Lines::parse(part, btf)?,
        None => Lines::default(),
    };
    let functions = Functions::new(elf);
    let mut out = Vec::new();
    records(relocations, "CO-RE relocations", 16, |section, record| {
        let section = btf
            .string(section)
            .ok_or_else(|| bad("a section name is not in .BTF"))?;
        let field = |at| record.u32(at).ok_or_else(|| bad("a CO-RE relocation is cut off"));
        let (offset, type_id) = (field(0)?, field(4)?);
        let access = btf
            .string_cut(field(8)?, MAX_ACCESS)
            .ok_or_else(|| bad("an access string is not in .BTF"))?;
        let kind = CoreKind::from_raw(field(12)?);
        if out.len() >= MAX_RELOCATIONS {
            return Err(InspectError::too_many(
                "the list of CO-RE relocations",
                out.len() + 1,
                MAX_RELOCATIONS,
            ));
        }
        if btf.get(type_id).is_none() {
            return Err(bad(&format!(
                "a CO-RE relocation refers to type {type_id}, which is not in .BTF"
            )));
        }
        let (type_keyword, type_name) = access::type_of(btf, type_id);
        let field_path =
            access::spell(btf, type_id, access, kind).unwrap_or_else(|| format!("{type_name}:{access}"));
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
        Ok(())
    })?;
    Ok(out)
}

fn bad(detail: &str) -> InspectError {
    InspectError::malformed("section .BTF.ext", detail)
}

struct Header {
    length: u32,
}

impl Header {
    fn parse(data: Bytes<'_>) -> Result<Self, InspectError> {
        if data.u16(0) != Some(MAGIC) {
            return Err(bad(
                "it does not begin with BTF's magic number in the object's byte order",
            ));
        }
        let length = data.u32(4).ok_or_else(|| bad("its header is cut off"))?;
        Ok(Header { length })
    }

    /// The part whose offset and length stand at `at` in the header, with its record size in
    /// front; `None` if the header is older than that part, or the part empty.
    fn part<'a>(&self, data: Bytes<'a>, at: usize, what: &str) -> Result<Option<Bytes<'a>>, InspectError> {
        if (self.length as usize) < at + 8 {
            return Ok(None);
        }
        let cut = || bad(&format!("its {what} are cut off"));
        let (offset, length) = data.u32(at).zip(data.u32(at + 4)).ok_or_else(cut)?;
        let start = u64::from(self.length) + u64::from(offset);
        if length == 0 {
            return Ok(None);
        }
        let range = usize::try_from(start).ok().zip(usize::try_from(length).ok());
        range
            .and_then(|(start, length)| data.slice(start, length))
            .ok_or_else(cut)
            .map(Some)
    }
}

/// Calls `each` with the section name's offset and every record of a part.
fn records<'a>(
    part: Bytes<'a>,
    what: &str,
    at_least: usize,
    mut each: impl FnMut(u32, Bytes<'a>) -> Result<(), InspectError>,
) -> Result<(), InspectError> {
    let cut = || bad(&format!("its {what} are cut off"));
    let size = part
        .u32(0)
        .and_then(|s| usize::try_from(s).ok())
        .ok_or_else(cut)?;
    if size < at_least {
        return Err(bad(&format!(
            "its {what} have records of {size} bytes, at least {at_least} are needed"
        )));
    }
    let mut at = 4usize;
    while at < part.len() {
        let (section, count) = part.u32(at).zip(part.u32(at + 4)).ok_or_else(cut)?;
        at += 8;
        for _ in 0..count {
            each(section, part.slice(at, size).ok_or_else(cut)?)?;
            at += size;
        }
    }
    Ok(())
}

/// Source lines by section, each list sorted by instruction offset.
#[derive(Default)]
struct Lines<'a> {
    by_section: BTreeMap<&'a str, Vec<RawLine>>,
}

#[derive(Clone, Copy)]
struct RawLine {
    instruction: u32,
    file: u32,
    text: u32,
    position: u32,
}

impl<'a> Lines<'a> {
    fn parse(part: Bytes<'a>, btf: &Btf<'a>) -> Result<Self, InspectError> {
        // By the name's offset first: a name is looked up once, not for each of its lines.
        let mut by_offset: BTreeMap<u32, Vec<RawLine>> = BTreeMap::new();
        records(part, "line information", 16, |section, record| {
            let field = |at| record.u32(at).ok_or_else(|| bad("line information is cut off"));
            let line = RawLine {
                instruction: field(0)?,
                file: field(4)?,
                text: field(8)?,
                position: field(12)?,
            };
            by_offset.entry(section).or_default().push(line);
            Ok(())
        })?;
        let mut by_section: BTreeMap<&'a str, Vec<RawLine>> = BTreeMap::new();
        for (offset, lines) in by_offset {
            let name = btf
                .string(offset)
                .ok_or_else(|| bad("a section name is not in .BTF"))?;
            by_section.entry(name).or_default().extend(lines);
        }
        for lines in by_section.values_mut() {
            lines.sort_by_key(|l| l.instruction);
        }
        Ok(Lines { by_section })
    }

    /// The last line that begins at or before an instruction.
    fn at(&self, btf: &Btf<'_>, section: &str, instruction: u32) -> Option<SourceLine> {
        let lines = self.by_section.get(section)?;
        let line = lines.get(
            lines
                .partition_point(|l| l.instruction <= instruction)
                .checked_sub(1)?,
        )?;
        Some(SourceLine {
            file: btf.string(line.file)?.to_owned(),
            line: line.position >> 10,
            column: line.position & 0x3ff,
            text: btf
                .string_cut(line.text, MAX_SOURCE_TEXT)
                .unwrap_or("")
                .trim()
                .to_owned(),
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
