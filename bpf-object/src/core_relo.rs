//! `.BTF.ext`: CO-RE relocations, and the source lines they come from.

use std::collections::BTreeMap;
use std::fmt;

use crate::access;
use crate::btf::Btf;
use crate::bytes::Bytes;
use crate::elf::{Elf, SymbolType};
use crate::error::InspectError;

const MAGIC: u16 = 0xeb9f;
/// Most relocations; the largest real objects have a few thousand.
const MAX_RELOCATIONS: usize = 16_384;
/// Longest access string, in bytes.
const MAX_ACCESS: usize = 256;
/// Longest source line that is kept, in bytes.
const MAX_SOURCE_TEXT: usize = 256;

/// What a relocation asks about the kernel: `enum bpf_core_relo_kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CoreKind {
    /// Offset of a field in bytes.
    FieldByteOffset,
    /// Size of a field in bytes.
    FieldByteSize,
    /// Whether a field exists.
    FieldExists,
    /// Whether a field is signed.
    FieldSigned,
    /// Left shift that isolates a bit field.
    FieldLshiftU64,
    /// Right shift that isolates a bit field.
    FieldRshiftU64,
    /// Id of a type in the object's own BTF.
    TypeIdLocal,
    /// Id of a type in the kernel's BTF.
    TypeIdTarget,
    /// Whether a type exists.
    TypeExists,
    /// Size of a type in bytes.
    TypeSize,
    /// Whether an enumerator exists.
    EnumvalExists,
    /// Value of an enumerator.
    EnumvalValue,
    /// Whether a type has the same shape.
    TypeMatches,
    /// A kind that came after this was written.
    Unknown(u32),
}

impl CoreKind {
    fn from_raw(raw: u32) -> Self {
        match raw {
            0 => CoreKind::FieldByteOffset,
            1 => CoreKind::FieldByteSize,
            2 => CoreKind::FieldExists,
            3 => CoreKind::FieldSigned,
            4 => CoreKind::FieldLshiftU64,
            5 => CoreKind::FieldRshiftU64,
            6 => CoreKind::TypeIdLocal,
            7 => CoreKind::TypeIdTarget,
            8 => CoreKind::TypeExists,
            9 => CoreKind::TypeSize,
            10 => CoreKind::EnumvalExists,
            11 => CoreKind::EnumvalValue,
            12 => CoreKind::TypeMatches,
            other => CoreKind::Unknown(other),
        }
    }

    /// Whether it asks about a whole type.
    pub fn is_type(self) -> bool {
        use CoreKind as K;
        matches!(
            self,
            K::TypeIdLocal | K::TypeIdTarget | K::TypeExists | K::TypeSize | K::TypeMatches
        )
    }

    /// Whether it asks about an enumerator.
    pub fn is_enumerator(self) -> bool {
        matches!(self, CoreKind::EnumvalExists | CoreKind::EnumvalValue)
    }

    /// Whether absence is an answer (0) and never an error.
    pub fn is_question(self) -> bool {
        use CoreKind as K;
        matches!(
            self,
            K::FieldExists | K::TypeExists | K::EnumvalExists | K::TypeMatches
        )
    }

    /// Whether it cannot be answered without BTF of the kernel, its own or supplied.
    pub fn needs_target_btf(self) -> bool {
        self != CoreKind::TypeIdLocal
    }
}

impl fmt::Display for CoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use CoreKind as K;
        f.write_str(match self {
            K::FieldByteOffset => "byte offset",
            K::FieldByteSize => "size",
            K::FieldExists | K::TypeExists | K::EnumvalExists => "existence",
            K::FieldSigned => "signedness",
            K::FieldLshiftU64 => "left shift",
            K::FieldRshiftU64 => "right shift",
            K::TypeIdLocal => "local type id",
            K::TypeIdTarget => "type id",
            K::TypeSize => "type size",
            K::EnumvalValue => "value",
            K::TypeMatches => "shape",
            K::Unknown(n) => return write!(f, "relocation kind {n}"),
        })
    }
}

/// A place in the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLine {
    /// File as the compiler was given it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 if unknown.
    pub column: u32,
    /// The line's text without leading blanks, cut to 256 bytes; empty if the compiler left it out.
    pub text: String,
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.rsplit('/').next().unwrap_or(&self.file);
        write!(f, "{file}:{}", self.line)
    }
}

/// An instruction whose operand depends on the kernel's types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreRelocation {
    /// Section of the instruction.
    pub section: String,
    /// Where the instruction begins, in bytes from the start of the section.
    pub instruction_offset: u64,
    /// The function it is in: a program, or a subprogram in `.text`.
    pub program: Option<String>,
    /// What it asks.
    pub kind: CoreKind,
    /// Keyword of the type: `struct`, `union`, `enum`, `typedef` or `type`.
    pub type_keyword: &'static str,
    /// Name of the type, with its flavour (`task_struct___v46`).
    pub type_name: String,
    /// The access as the object has it (`0:1:2`).
    pub access: String,
    /// The access spelled with names (`task_struct.signal.nr_threads`). If it does not fit the
    /// object's own types: the type's name and the raw access.
    pub field_path: String,
    /// The source line that it comes from, if the object has line information.
    pub source_line: Option<SourceLine>,
}

impl CoreRelocation {
    /// What it refers to, and where: ``field task_struct.tgid (byte offset) in `prog` at prog.bpf.c:12``.
    pub fn describe(&self) -> String {
        let mut text = format!("{} ({})", self.subject(), self.kind);
        if let Some(program) = &self.program {
            text.push_str(&format!(" in `{program}`"));
        }
        if let Some(line) = &self.source_line {
            text.push_str(&format!(" at {line}"));
        }
        text
    }

    /// What the verifier's refusal of this instruction means, when the loader had poisoned it
    /// because the kernel has no such thing.
    pub fn describe_missing(&self) -> String {
        let place = self
            .source_line
            .as_ref()
            .map_or(String::new(), |line| match line.text.as_str() {
                "" => format!("; used at {line}"),
                text => format!("; used at {line}: {text}"),
            });
        format!("{} does not exist in this kernel{place}", self.subject())
    }

    fn subject(&self) -> String {
        if self.kind.is_type() {
            format!("{} {}", self.type_keyword, self.field_path)
        } else if self.kind.is_enumerator() {
            format!("enumerator {}", self.field_path)
        } else {
            format!("field {}", self.field_path)
        }
    }
}

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
