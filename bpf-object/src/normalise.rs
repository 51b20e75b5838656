//! Section names that libbpf accepts and aya does not, rewritten to names that mean the same.
//!
//! Nothing moves: the string table and `.BTF` are written again at the end of the file with the new
//! names added, and the few offsets that refer to names are patched in place.

use std::collections::{BTreeMap, BTreeSet};

use btf::Endian;

use crate::bytes::Bytes;
use crate::error::InspectError;
use crate::info::ObjectInfo;
use crate::kind::ProgramKind as K;
use crate::program::Program;
use crate::sec::SecTarget;
use crate::variant::TcKind;

/// Bytes of one section header.
const HEADER: usize = 64;

/// Gives program sections names that aya 0.14 knows, where it has the kind under another name:
/// `tc`, `tcx/ingress`, a leading `?`, `xdp/label`. `None` if nothing is to be changed. Programs keep
/// their names, instructions and relocations.
///
/// Sections of kinds that aya does not have at all (`ksyscall`, `struct_ops`, …) keep their names:
/// the caller refuses such objects.
///
/// # Errors
/// [`InspectError::Malformed`] if `bytes` are not those that `info` was read from, or are laid out
/// as no compiler does it.
pub fn for_aya(bytes: &[u8], info: &ObjectInfo) -> Result<Option<Vec<u8>>, InspectError> {
    let mut renames: Vec<Rename<'_>> = Vec::new();
    let mut taken: BTreeSet<String> = info.programs.iter().map(|p| p.section.clone()).collect();
    let mut done = BTreeSet::new();
    for program in info.programs.iter().filter(|p| done.insert(p.section_index)) {
        let Some(mut name) = aya_name(program) else {
            continue;
        };
        if taken.contains(&name) && takes_label(program.kind) {
            name = format!("{name}/{}", program.section_index);
        }
        if taken.insert(name.clone()) {
            renames.push(Rename {
                index: program.section_index,
                old: &program.section,
                new: name,
            });
        }
    }
    if renames.is_empty() {
        return Ok(None);
    }
    let mut file = File::new(bytes, info.endian)?;
    file.rename_sections(&renames)?;
    file.rename_in_btf(&renames)?;
    Ok(Some(file.out))
}

struct Rename<'a> {
    index: usize,
    old: &'a str,
    new: String,
}

/// A name that means the same to aya; `None` if the present one does already.
fn aya_name(program: &Program) -> Option<String> {
    let name = program.section.strip_prefix('?').unwrap_or(&program.section);
    let wanted = match (program.kind, &program.target) {
        (
            K::SchedCls {
                kind: TcKind::Classifier | TcKind::Tcx,
                ..
            },
            _,
        ) => {
            if name == "classifier" || name.starts_with("classifier/") {
                name.to_owned()
            } else {
                "classifier".to_owned()
            }
        }
        (kind, SecTarget::Label(_)) if !takes_label(kind) => kind.to_string(),
        _ => name.to_owned(),
    };
    (wanted != program.section).then_some(wanted)
}

/// Whether aya takes further text after the kind for the program's own name.
fn takes_label(kind: K) -> bool {
    !matches!(kind, K::Xdp { .. } | K::SkReuseport { .. })
}

/// A copy of the object that is being changed. Offsets are read from the original.
struct File<'a> {
    original: Bytes<'a>,
    endian: Endian,
    headers: usize,
    count: usize,
    names: usize,
    out: Vec<u8>,
}

impl<'a> File<'a> {
    fn new(bytes: &'a [u8], endian: Endian) -> Result<Self, InspectError> {
        let original = Bytes::new(bytes, endian);
        let cut = || bad("the section headers are cut off");
        let headers = offset(original.u64(40)).ok_or_else(cut)?;
        let count = usize::from(original.u16(60).ok_or_else(cut)?);
        let names = usize::from(original.u16(62).ok_or_else(cut)?);
        if names >= count {
            return Err(bad("its section names are not in an ordinary section"));
        }
        Ok(File {
            original,
            endian,
            headers,
            count,
            names,
            out: bytes.to_vec(),
        })
    }

    /// Where header `index` begins.
    fn header(&self, index: usize) -> Result<usize, InspectError> {
        index
            .checked_mul(HEADER)
            .and_then(|at| at.checked_add(self.headers))
            .filter(|_| index < self.count)
            .ok_or_else(|| bad("a section header is missing"))
    }

    /// Offset and contents of a section in the file.
    fn contents(&self, index: usize) -> Result<(usize, &'a [u8]), InspectError> {
        let header = self.header(index)?;
        let at = offset(self.original.u64(header + 24));
        let size = offset(self.original.u64(header + 32));
        at.zip(size)
            .and_then(|(at, size)| Some((at, self.original.raw(at, size)?)))
            .ok_or_else(|| bad("a section is cut off"))
    }

    /// The section of this name, by the original string table.
    fn find(&self, name: &str) -> Result<Option<usize>, InspectError> {
        let strings = Bytes::new(self.contents(self.names)?.1, self.endian);
        for index in 1..self.count {
            let at = offset(self.original.u32(self.header(index)?).map(u64::from));
            if at.and_then(|at| strings.string(at, name.len() + 1)) == Some(name) {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    fn put(&mut self, at: usize, value: &[u8]) -> Result<(), InspectError> {
        at.checked_add(value.len())
            .and_then(|end| self.out.get_mut(at..end))
            .map(|place| place.copy_from_slice(value))
            .ok_or_else(|| bad("an offset points outside of the file"))
    }

    fn put_u32(&mut self, at: usize, value: u32) -> Result<(), InspectError> {
        match self.endian {
            Endian::Little => self.put(at, &value.to_le_bytes()),
            Endian::Big => self.put(at, &value.to_be_bytes()),
        }
    }

    fn put_u64(&mut self, at: usize, value: u64) -> Result<(), InspectError> {
        match self.endian {
            Endian::Little => self.put(at, &value.to_le_bytes()),
            Endian::Big => self.put(at, &value.to_be_bytes()),
        }
    }

    /// Writes new contents of a section at the end of the file.
    fn replace(&mut self, index: usize, contents: &[u8]) -> Result<usize, InspectError> {
        self.out.resize(self.out.len().next_multiple_of(8), 0);
        let at = self.out.len();
        self.out.extend_from_slice(contents);
        let header = self.header(index)?;
        self.put_u64(header + 24, at as u64)?;
        self.put_u64(header + 32, contents.len() as u64)?;
        Ok(at)
    }

    fn rename_sections(&mut self, renames: &[Rename<'_>]) -> Result<(), InspectError> {
        let mut strings = self.contents(self.names)?.1.to_vec();
        for rename in renames {
            let at = append(&mut strings, &rename.new)?;
            self.put_u32(self.header(rename.index)?, at)?;
        }
        self.replace(self.names, &strings).map(drop)
    }

    /// `.BTF.ext` sorts its records by section name, as strings of `.BTF`.
    fn rename_in_btf(&mut self, renames: &[Rename<'_>]) -> Result<(), InspectError> {
        let (Some(btf), Some(ext)) = (self.find(".BTF")?, self.find(".BTF.ext")?) else {
            return Ok(());
        };
        let old = self.contents(btf)?.1;
        let head = Bytes::new(old, self.endian);
        let word =
            |at| offset(head.u32(at).map(u64::from)).ok_or_else(|| bad("the header of .BTF is cut off"));
        let (start, length) = (word(4)?.saturating_add(word(16)?), word(20)?);
        let strings = head
            .slice(start, length)
            .ok_or_else(|| bad("the strings of .BTF are cut off"))?;
        if start + length != old.len() {
            return Err(bad("the strings of .BTF are not at its end"));
        }
        let mut new = old.get(start..).unwrap_or_default().to_vec();
        let mut offsets = BTreeMap::new();
        for rename in renames {
            offsets.insert(rename.old, append(&mut new, &rename.new)?);
        }
        let mut contents = old.get(..start).unwrap_or_default().to_vec();
        contents.extend_from_slice(&new);
        let at = self.replace(btf, &contents)?;
        let length = u32::try_from(new.len()).map_err(|_| bad("the strings of .BTF are too long"))?;
        self.put_u32(at + 20, length)?;

        let (ext_at, ext) = self.contents(ext)?;
        for place in name_places(Bytes::new(ext, self.endian))? {
            let name = offset(Bytes::new(ext, self.endian).u32(place).map(u64::from))
                .and_then(|at| strings.string(at, crate::bytes::MAX_NAME));
            if let Some(new) = name.and_then(|name| offsets.get(name)) {
                self.put_u32(ext_at + place, *new)?;
            }
        }
        Ok(())
    }
}

/// Where in `.BTF.ext` the names of sections stand.
fn name_places(ext: Bytes<'_>) -> Result<Vec<usize>, InspectError> {
    let cut = || bad("section .BTF.ext is cut off");
    let word = |at| offset(ext.u32(at).map(u64::from)).ok_or_else(cut);
    let header = word(4)?;
    let mut places = Vec::new();
    // Functions, lines, CO-RE relocations: an offset and a length each.
    for field in [8, 16, 24].into_iter().filter(|field| field + 8 <= header) {
        let (start, length) = (header.saturating_add(word(field)?), word(field + 4)?);
        if length == 0 {
            continue;
        }
        let record = word(start)?;
        let end = start.saturating_add(length);
        let mut at = start.saturating_add(4);
        while at < end {
            places.push(at);
            let records = record.checked_mul(word(at.saturating_add(4))?).ok_or_else(cut)?;
            at = at.saturating_add(8).saturating_add(records);
        }
    }
    Ok(places)
}

fn append(strings: &mut Vec<u8>, name: &str) -> Result<u32, InspectError> {
    let at = u32::try_from(strings.len()).map_err(|_| bad("a string table is too long"))?;
    strings.extend_from_slice(name.as_bytes());
    strings.push(0);
    Ok(at)
}

fn offset(value: Option<u64>) -> Option<usize> {
    value.and_then(|v| usize::try_from(v).ok())
}

fn bad(detail: &str) -> InspectError {
    InspectError::malformed("renaming its sections", detail)
}
