//! `.BTF.ext` of the resolved object: functions and source lines where they are now, and no CO-RE
//! relocations, for they are done.

use std::collections::BTreeMap;

use btf::{Btf, BtfExt, Builder, Endian, FunctionInfo, LineInfo};

use crate::code::executable;
use crate::elf::Elf;
use crate::error::InspectError;
use crate::relocations::{malformed, section_name};
use crate::resolve::image::Section;

/// Functions and lines of the object, by section.
pub(crate) struct Source {
    functions: BTreeMap<usize, Vec<FunctionInfo>>,
    lines: BTreeMap<usize, Vec<LineInfo>>,
}

impl Source {
    pub(crate) fn read(elf: &Elf<'_>, btf: &Btf<'_>, ext: &BtfExt<'_>) -> Result<Self, InspectError> {
        let sections = executable(elf)?;
        let mut source = Source {
            functions: BTreeMap::new(),
            lines: BTreeMap::new(),
        };
        let mut names = BTreeMap::new();
        let mut section_of = |name: u32| -> Result<Option<usize>, InspectError> {
            if let Some(known) = names.get(&name) {
                return Ok(*known);
            }
            let found = sections.get(section_name(btf, name)?).copied();
            names.insert(name, found);
            Ok(found)
        };
        for record in ext.functions().map_err(malformed)? {
            let (name, info) = record.map_err(malformed)?;
            if let Some(section) = section_of(name)? {
                source.functions.entry(section).or_default().push(info);
            }
        }
        for record in ext.lines().map_err(malformed)? {
            let (name, line) = record.map_err(malformed)?;
            if let Some(section) = section_of(name)? {
                source.lines.entry(section).or_default().push(line);
            }
        }
        for list in source.functions.values_mut() {
            list.sort_by_key(|f| f.instruction_offset);
        }
        for list in source.lines.values_mut() {
            list.sort_by_key(|l| l.instruction_offset);
        }
        Ok(source)
    }

    /// `.BTF.ext` for these sections.
    pub(crate) fn write(&self, sections: &[Section<'_>], btf: &mut Builder, endian: Endian) -> Vec<u8> {
        let mut functions = Part::new(8, endian);
        let mut lines = Part::new(16, endian);
        for section in sections {
            let name = btf.string(section.name.as_bytes());
            functions.begin(name);
            lines.begin(name);
            for placed in &section.functions {
                let (start, size) = (placed.source_offset, placed.code.len() as u64);
                let moved = |offset: u32| {
                    let within = u64::from(offset).saturating_sub(start);
                    u32::try_from(placed.offset.saturating_add(within)).unwrap_or(u32::MAX)
                };
                let all = self
                    .functions
                    .get(&placed.source_section)
                    .map_or(&[][..], Vec::as_slice);
                // One for its start; what else there may be is no function.
                let own = all.partition_point(|f| u64::from(f.instruction_offset) < start);
                if let Some(info) = all.get(own).filter(|f| u64::from(f.instruction_offset) == start) {
                    functions.add(&[moved(info.instruction_offset), info.type_id]);
                }
                let all = self
                    .lines
                    .get(&placed.source_section)
                    .map_or(&[][..], Vec::as_slice);
                let first = all.partition_point(|l| u64::from(l.instruction_offset) < start);
                let own = all.get(first..).unwrap_or(&[]);
                // One for each instruction: the kernel takes no more.
                let mut last = None;
                for line in own
                    .iter()
                    .take_while(|l| u64::from(l.instruction_offset) < start + size)
                {
                    if last.replace(line.instruction_offset) == Some(line.instruction_offset) {
                        continue;
                    }
                    lines.add(&[
                        moved(line.instruction_offset),
                        line.file,
                        line.text,
                        line.position,
                    ]);
                }
            }
            functions.end();
            lines.end();
        }
        let (functions, lines) = (functions.bytes, lines.bytes);
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let (first, second) = (length(&functions), length(&lines));
        let mut out = match endian {
            Endian::Little => 0xeb9fu16.to_le_bytes(),
            Endian::Big => 0xeb9fu16.to_be_bytes(),
        }
        .to_vec();
        out.extend_from_slice(&[1, 0]);
        // Header length, then offset and length of functions, lines and relocations.
        for word in [32, 0, first, first, second, 0, 0] {
            out.extend_from_slice(&bytes_of(word, endian));
        }
        out.extend(functions);
        out.extend(lines);
        out
    }
}

/// One part of `.BTF.ext`: for each section its name, how many records, and the records.
struct Part {
    bytes: Vec<u8>,
    endian: Endian,
    /// Where the current section's head is, and how many records it has.
    head: usize,
    count: u32,
}

impl Part {
    fn new(record: u32, endian: Endian) -> Self {
        Part {
            bytes: bytes_of(record, endian).to_vec(),
            endian,
            head: 0,
            count: 0,
        }
    }

    fn begin(&mut self, name: u32) {
        self.head = self.bytes.len();
        self.count = 0;
        self.bytes.extend_from_slice(&bytes_of(name, self.endian));
        self.bytes.extend_from_slice(&[0; 4]);
    }

    fn add(&mut self, words: &[u32]) {
        for word in words {
            self.bytes.extend_from_slice(&bytes_of(*word, self.endian));
        }
        self.count = self.count.saturating_add(1);
    }

    fn end(&mut self) {
        let count = bytes_of(self.count, self.endian);
        match self.bytes.get_mut(self.head + 4..self.head + 8) {
            Some(place) if self.count > 0 => place.copy_from_slice(&count),
            // A section without records is not listed.
            _ => self.bytes.truncate(self.head),
        }
    }
}

fn bytes_of(value: u32, endian: Endian) -> [u8; 4] {
    match endian {
        Endian::Little => value.to_le_bytes(),
        Endian::Big => value.to_be_bytes(),
    }
}
