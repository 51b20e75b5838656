//! A binary's notes about its probes (.note.stapsdt), and where in its file they point to.

use std::collections::BTreeSet;

use object::{
    Endianness, ReadRef, elf as abi,
    read::elf::{FileHeader, NoteIterator, ProgramHeader, SectionHeader},
};

use super::{
    argument::{self, Argument, MAX_ARGUMENTS},
    error::UsdtError,
    register::Machine,
};

type Header = abi::FileHeader64<Endianness>;
type Segment = abi::ProgramHeader64<Endianness>;

const NOTES: &[u8] = b".note.stapsdt";
/// A byte that moves with the code, by which a note made before a move is put right.
const BASE: &[u8] = b".stapsdt.base";
const NOTE_NAME: &[u8] = b"stapsdt";
const NOTE_TYPE: u32 = 3;
/// Most bytes of notes, notes that are looked at, and bytes of one note's text.
const MAX_BYTES: u64 = 16 << 20;
const MAX_NOTES: usize = 65_536;
const MAX_TEXT: usize = 4096;
/// Most places of one probe.
const MAX_PLACES: usize = 4096;
/// How many probes a message lists.
const LISTED: usize = 8;

/// One place of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Where its instruction is in the file.
    pub offset: u64,
    /// Where in the file the counter of those who follow the probe is, by which a program skips work for a probe
    /// that nobody follows; 0 if there is none.
    pub counter: u64,
    /// Where its instruction is in memory, if that is the same in every process.
    pub address: Option<u64>,
    /// Its arguments.
    pub arguments: Vec<Argument>,
}

/// A note as it is.
struct Note<'d> {
    provider: &'d str,
    name: &'d str,
    arguments: &'d str,
    location: u64,
    base: u64,
    counter: u64,
}

/// All places of a probe. A binary must be for this kind of processor.
pub fn find<'d>(
    data: impl ReadRef<'d>,
    machine: Machine,
    provider: &str,
    name: &str,
) -> Result<Vec<Probe>, UsdtError> {
    let not_elf = |error: object::read::Error| UsdtError::NotElf(error.to_string());
    let header = header(data, machine)?;
    let endian = header.endian().map_err(not_elf)?;
    let sections = header.sections(endian, data).map_err(not_elf)?;
    let segments = header.program_headers(endian, data).map_err(not_elf)?;
    let (mut notes, mut moved_to) = (None, 0);
    for section in sections.iter() {
        let section_name = sections.section_name(endian, section).map_err(not_elf)?;
        if section_name == NOTES && notes.is_none() {
            if section.sh_size(endian) > MAX_BYTES {
                return Err(malformed(format!(
                    "there are more than {MAX_BYTES} bytes of notes"
                )));
            }
            notes = section
                .notes(endian, data)
                .map_err(|error| malformed(error.to_string()))?;
        } else if section_name == BASE {
            moved_to = section.sh_addr(endian);
        }
    }
    let fixed = header.e_type(endian) == abi::ET_EXEC;
    let (mut probes, mut others) = (Vec::new(), BTreeSet::new());
    for note in read(notes.ok_or(UsdtError::NoProbes)?, endian)? {
        if note.provider != provider || note.name != name {
            others.insert((note.provider, note.name));
            continue;
        }
        if probes.len() == MAX_PLACES {
            return Err(malformed(format!(
                "{provider}:{name} has more than {MAX_PLACES} places"
            )));
        }
        probes.push(probe(&note, machine, moved_to, segments, endian, fixed)?);
    }
    if probes.is_empty() {
        return Err(UsdtError::NotFound {
            provider: provider.to_owned(),
            name: name.to_owned(),
            known: list(&others, provider),
        });
    }
    Ok(probes)
}

fn header<'d>(data: impl ReadRef<'d>, machine: Machine) -> Result<&'d Header, UsdtError> {
    let other = |found: &str| UsdtError::OtherMachine {
        found: found.to_owned(),
        wanted: machine.as_str(),
    };
    let header = match Header::parse(data) {
        Ok(header) => header,
        Err(_) if abi::FileHeader32::<Endianness>::parse(data).is_ok() => {
            return Err(other("a machine of 32 bits"));
        }
        Err(error) => return Err(UsdtError::NotElf(error.to_string())),
    };
    let endian = header
        .endian()
        .map_err(|error| UsdtError::NotElf(error.to_string()))?;
    let wanted = match machine {
        Machine::X86_64 => abi::EM_X86_64,
        Machine::Arm64 => abi::EM_AARCH64,
    };
    if endian != Endianness::Little || header.e_machine(endian) != wanted {
        return Err(other(&format!("machine number {:?}", header.e_machine(endian))));
    }
    let kind = header.e_type(endian);
    if kind != abi::ET_EXEC && kind != abi::ET_DYN {
        return Err(UsdtError::NotElf(format!("its type is {kind:?}")));
    }
    Ok(header)
}

/// The notes; those of others are left out.
fn read(mut notes: NoteIterator<'_, Header>, endian: Endianness) -> Result<Vec<Note<'_>>, UsdtError> {
    let mut found = Vec::new();
    while let Some(note) = notes.next().map_err(|error| malformed(error.to_string()))? {
        if note.name() != NOTE_NAME || note.n_type(endian) != abi::NoteType(NOTE_TYPE) {
            continue;
        }
        if found.len() == MAX_NOTES {
            return Err(malformed(format!("there are more than {MAX_NOTES}")));
        }
        found.push(parse(note.desc()).ok_or_else(|| malformed(format!("note number {}", found.len() + 1)))?);
    }
    Ok(found)
}

/// Three addresses and three texts, each ended by a zero byte.
fn parse(note: &[u8]) -> Option<Note<'_>> {
    let (location, rest) = note.split_first_chunk::<8>()?;
    let (base, rest) = rest.split_first_chunk::<8>()?;
    let (counter, rest) = rest.split_first_chunk::<8>()?;
    if rest.len() > MAX_TEXT {
        return None;
    }
    let mut texts = rest.split(|byte| *byte == 0);
    let mut text = || std::str::from_utf8(texts.next()?).ok();
    let (provider, name, arguments) = (text()?, text()?, text()?);
    // A colon begins what other tools put there.
    let arguments = if arguments.starts_with(':') { "" } else { arguments };
    (!name.is_empty()).then_some(Note {
        provider,
        name,
        arguments,
        location: u64::from_le_bytes(*location),
        base: u64::from_le_bytes(*base),
        counter: u64::from_le_bytes(*counter),
    })
}

fn probe(
    note: &Note<'_>,
    machine: Machine,
    moved_to: u64,
    segments: &[Segment],
    endian: Endianness,
    fixed: bool,
) -> Result<Probe, UsdtError> {
    let named = format!("{}:{}", note.provider, note.name);
    // What was moved after linking (prelink) has a note with the addresses of before.
    let moved = if moved_to == 0 || note.base == 0 {
        0
    } else {
        moved_to.wrapping_sub(note.base)
    };
    let address = note.location.wrapping_add(moved);
    let offset = file_offset(address, segments, endian, true)
        .ok_or_else(|| malformed(format!("{named} is at {address:#x}, where there is no code")))?;
    let counter = match note.counter {
        0 => 0,
        counter => {
            let counter = counter.wrapping_add(moved);
            file_offset(counter, segments, endian, false).ok_or_else(|| {
                malformed(format!(
                    "the counter of {named} is at {counter:#x}, where there is no data"
                ))
            })?
        }
    };
    let arguments = argument::parse(note.arguments, machine).map_err(|error| UsdtError::Argument {
        probe: named.clone(),
        number: error.number,
        text: note.arguments.to_owned(),
        detail: error.detail,
    })?;
    if arguments.len() > MAX_ARGUMENTS {
        return Err(UsdtError::TooManyArguments {
            probe: named,
            count: arguments.len(),
            limit: MAX_ARGUMENTS,
        });
    }
    Ok(Probe {
        offset,
        counter,
        address: fixed.then_some(address),
        arguments,
    })
}

/// Where in the file an address is, in code or in data.
fn file_offset(address: u64, segments: &[Segment], endian: Endianness, code: bool) -> Option<u64> {
    segments.iter().find_map(|segment| {
        let within = address.checked_sub(segment.p_vaddr(endian))?;
        let fits = segment.p_type(endian) == abi::PT_LOAD
            && within < segment.p_filesz(endian)
            && segment.p_flags(endian).contains(abi::PF_X) == code;
        fits.then(|| segment.p_offset(endian).checked_add(within))
            .flatten()
    })
}

/// Some probes for a message, of the same provider first.
fn list(known: &BTreeSet<(&str, &str)>, provider: &str) -> String {
    let (same, others): (Vec<_>, Vec<_>) = known.iter().partition(|(known, _)| *known == provider);
    let mut names: Vec<String> = same
        .iter()
        .chain(&others)
        .take(LISTED)
        .map(|(provider, name)| format!("{provider}:{name}"))
        .collect();
    match known.len().saturating_sub(LISTED) {
        0 => {}
        more => names.push(format!("{more} more")),
    }
    if names.is_empty() {
        return "none".to_owned();
    }
    names.join(", ")
}

fn malformed(detail: String) -> UsdtError {
    UsdtError::Malformed(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(location: u64, base: u64, counter: u64, texts: &[u8]) -> Vec<u8> {
        let mut note = [location, base, counter].map(u64::to_le_bytes).concat();
        note.extend(texts);
        note
    }

    fn segment(address: u64, offset: u64, size: u64, flags: u32) -> Segment {
        // Written as the file has it: type, flags, offset, address, physical address, sizes, alignment.
        let words = [u64::from(flags) << 32 | 1, offset, address, 0, size, size + 64, 0];
        let bytes = words.map(u64::to_le_bytes).concat();
        *object::pod::from_bytes::<Segment>(&bytes).unwrap().0
    }

    #[test]
    fn addresses_are_put_right_and_found_in_the_file() {
        let segments = [segment(0x1000, 0x200, 0x100, 5), segment(0x4000, 0x800, 0x10, 6)];
        let at = |location, base, counter, moved| {
            let bytes = note(location, base, counter, b"p\0n\08@%rax\0");
            let note = parse(&bytes).unwrap();
            probe(&note, Machine::X86_64, moved, &segments, Endianness::Little, true)
                .map(|probe| (probe.offset, probe.counter, probe.address.unwrap()))
        };
        assert_eq!(at(0x1010, 0, 0, 0x1080), Ok((0x210, 0, 0x1010)));
        assert_eq!(at(0x1010, 0x1080, 0x4008, 0x1080), Ok((0x210, 0x808, 0x1010)));
        // Moved by 0x1000 after linking.
        assert_eq!(at(0x10, 0x80, 0x3008, 0x1080), Ok((0x210, 0x808, 0x1010)));
        for (location, counter) in [
            (0x4008, 0),
            (0x1100, 0),
            (0, 0),
            (u64::MAX, 0),
            (0x1010, 0x1010),
            (0x1010, 0x4010),
        ] {
            let error = at(location, 0, counter, 0).unwrap_err();
            assert!(matches!(error, UsdtError::Malformed(_)), "{error}");
        }
    }

    #[test]
    fn notes_that_are_cut_off_are_none() {
        let whole = note(1, 2, 3, b"provider\0name\0-4@%eax\0");
        let read = parse(&whole).unwrap();
        assert_eq!(
            (read.provider, read.name, read.arguments),
            ("provider", "name", "-4@%eax")
        );
        assert_eq!((read.location, read.base, read.counter), (1, 2, 3));
        assert_eq!(parse(&note(1, 2, 3, b"p\0n\0:x\0")).unwrap().arguments, "");
        assert_eq!(parse(&note(1, 2, 3, b"\0n\0\0")).unwrap().arguments, "");
        for texts in [&b"p"[..], b"p\0n", b"p\0\0\0", b"", b"p\0\xff\0\0"] {
            assert!(parse(&note(1, 2, 3, texts)).is_none(), "{texts:?}");
        }
        assert!(parse(&[0; 23]).is_none());
    }

    #[test]
    fn what_is_no_binary_with_probes_says_so() {
        let find = |bytes: &[u8]| find(bytes, Machine::X86_64, "p", "n").unwrap_err();
        assert!(matches!(find(b"#!/bin/sh"), UsdtError::NotElf(_)));
        assert!(matches!(find(b"\x7fELF"), UsdtError::NotElf(_)));
        let own = std::fs::read("/proc/self/exe").unwrap();
        let host = Machine::HOST.unwrap();
        let other = match host {
            Machine::X86_64 => Machine::Arm64,
            Machine::Arm64 => Machine::X86_64,
        };
        let of = |machine| super::find(own.as_slice(), machine, "p", "n").unwrap_err();
        assert_eq!(of(host), UsdtError::NoProbes);
        assert!(matches!(of(other), UsdtError::OtherMachine { .. }));
    }

    #[test]
    fn a_message_lists_the_probes_of_the_same_provider_first() {
        let known: BTreeSet<_> = [("a", "x"), ("p", "y"), ("p", "z")].into();
        assert_eq!(list(&known, "p"), "p:y, p:z, a:x");
        assert_eq!(list(&BTreeSet::new(), "p"), "none");
    }
}
