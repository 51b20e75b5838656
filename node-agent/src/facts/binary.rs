//! Binaries of the host: their functions, and their statically defined probes.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use bpfleet_fit::{
    function::{is_pattern, matches},
    question::Answer,
};
use object::{
    Endianness, Object, ObjectSection, ObjectSymbol, ReadCache, SymbolKind,
    elf::{FileHeader64, NoteType},
    read::elf::{ElfFile32, ElfFile64, NoteIterator},
};

use super::{
    near::{self, Near},
    refusal,
};

/// Largest section that is read; symbols of the largest binaries have some 100 MiB.
const MAX_SECTION: u64 = 256 << 20;
/// Largest section of notes that is read.
const MAX_NOTES: u64 = 16 << 20;
/// Owner and type of notes about probes (SystemTap's sys/sdt.h).
const OWNER: &[u8] = b"stapsdt";
const TYPE: NoteType = NoteType(3);

/// `path` of the host, where the host's root is mounted.
pub fn below(host_root: &Path, path: &str) -> PathBuf {
    host_root.join(path.trim_start_matches('/'))
}

/// Opens a file of the host; an error is the answer.
fn open(host_root: &Path, path: &str) -> Result<File, Answer> {
    let file = File::open(below(host_root, path)).and_then(|file| file.metadata().map(|about| (file, about)));
    match file {
        Ok((file, about)) if about.is_file() => Ok(file),
        Ok(_) => Err(Answer::No(format!("{path} is no file"))),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Err(Answer::No(format!("this node has no file {path}")))
        }
        Err(error) => Err(Answer::Unknown(refusal::unreadable(Path::new(path), &error))),
    }
}

/// Whether there is this binary, with a function of this name or pattern.
pub fn answer(host_root: &Path, path: &str, symbol: Option<&str>) -> Answer {
    let file = match open(host_root, path) {
        Ok(file) => file,
        Err(answer) => return answer,
    };
    let cache = ReadCache::new(file);
    let binary = match object::File::parse(&cache) {
        Ok(binary) => binary,
        Err(error) => return Answer::No(format!("{path} is no ELF binary ({error})")),
    };
    let Some(symbol) = symbol else { return Answer::Yes };
    if let Some(section) = binary
        .sections()
        .filter(|section| {
            section
                .name()
                .is_ok_and(|name| [".symtab", ".dynsym", ".strtab", ".dynstr"].contains(&name))
        })
        .find(|section| section.size() > MAX_SECTION)
    {
        return Answer::Unknown(format!(
            "{} of {path} has {} bytes, of which at most {MAX_SECTION} are read",
            section.name().unwrap_or("a section"),
            section.size()
        ));
    }
    let mut close = Near::new(symbol);
    let functions = binary
        .symbols()
        .chain(binary.dynamic_symbols())
        .filter(|known| {
            known.is_definition() && matches!(known.kind(), SymbolKind::Text | SymbolKind::Unknown)
        })
        .filter_map(|known| known.name().ok());
    let pattern = is_pattern(symbol);
    for name in functions {
        if name == symbol || pattern && matches(symbol, name) {
            return Answer::Yes;
        }
        if !pattern {
            close.offer(name);
        }
    }
    let stripped = binary.symbols().next().is_none() && binary.dynamic_symbols().next().is_none();
    Answer::No(match (pattern, stripped) {
        (_, true) => {
            format!("{path} has no symbols: it is stripped, and its functions cannot be found by name")
        }
        (true, _) => format!("no function of {path} is of this pattern"),
        (false, _) => format!("{path} has no function {symbol}{}", near::hint(&close.names())),
    })
}

/// Whether there is this binary, with this probe. Where the probe is and how its arguments are read, only attaching
/// looks at.
pub fn usdt(host_root: &Path, path: &str, provider: &str, name: &str) -> Answer {
    let file = match open(host_root, path) {
        Ok(file) => file,
        Err(answer) => return answer,
    };
    let notes = match notes(file) {
        Ok(notes) => notes,
        Err(why) => return Answer::No(format!("{path} is no ELF binary ({why})")),
    };
    let Some(Notes { data, wide, endian }) = notes else {
        return Answer::No(format!("{path} has no statically defined probes (.note.stapsdt)"));
    };
    if data.is_empty() {
        return Answer::Unknown(format!("the notes of {path} have more than {MAX_NOTES} bytes"));
    }
    let wanted = format!("{provider}:{name}");
    let mut close = Near::new(&wanted);
    for known in probes(&data, wide, endian) {
        if known == wanted {
            return Answer::Yes;
        }
        close.offer(&known);
    }
    Answer::No(format!(
        "{path} has no probe {wanted}{}",
        near::hint(&close.names())
    ))
}

/// The section of notes; empty if it is too large.
struct Notes {
    data: Vec<u8>,
    wide: bool,
    endian: Endianness,
}

fn notes(file: File) -> Result<Option<Notes>, object::Error> {
    fn section<'d>(binary: &impl Object<'d>) -> Option<Vec<u8>> {
        let section = binary.section_by_name(".note.stapsdt")?;
        if section.size() > MAX_NOTES {
            return Some(Vec::new());
        }
        section.data().ok().map(<[u8]>::to_vec)
    }
    let cache = ReadCache::new(file);
    let (data, wide, endian) = match object::FileKind::parse(&cache)? {
        object::FileKind::Elf32 => {
            let binary: ElfFile32<'_, Endianness, _> = ElfFile32::parse(&cache)?;
            (section(&binary), false, binary.endian())
        }
        _ => {
            let binary: ElfFile64<'_, Endianness, _> = ElfFile64::parse(&cache)?;
            (section(&binary), true, binary.endian())
        }
    };
    Ok(data.map(|data| Notes { data, wide, endian }))
}

/// `provider:name` of each probe in a section of notes. What is cut off ends the list.
fn probes(data: &[u8], wide: bool, endian: Endianness) -> Vec<String> {
    // Place, base and semaphore stand before the names.
    let addresses = if wide { 24 } else { 12 };
    // Notes are laid out alike for both word sizes.
    let Ok(notes) = NoteIterator::<FileHeader64<Endianness>>::new(endian, 4, data) else {
        return Vec::new();
    };
    notes
        .map_while(Result::ok)
        .filter(|note| note.name() == OWNER && note.n_type(endian) == TYPE)
        .filter_map(|note| {
            let mut words = note.desc().get(addresses..)?.split(|byte| *byte == 0);
            let (provider, name) = (words.next()?, words.next()?);
            let text = std::str::from_utf8;
            Some(format!("{}:{}", text(provider).ok()?, text(name).ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> String {
        std::env::current_exe().unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn functions_of_this_program_are_found_by_name_and_pattern() {
        let root = Path::new("/");
        let own = own();
        assert_eq!(answer(root, &own, None), Answer::Yes);
        assert_eq!(answer(root, &own, Some("main")), Answer::Yes);
        assert_eq!(answer(root, &own, Some("mai?")), Answer::Yes);
        for (path, symbol, expected) in [
            (own.as_str(), "no_such_function_at_all", "has no function"),
            (&own, "no_such_function_*", "of this pattern"),
            ("/nonexistent", "main", "no file /nonexistent"),
            ("/proc/self/exe/x", "main", "no file"),
            ("/proc", "main", "is no file"),
            ("/proc/self/status", "main", "is no ELF binary"),
        ] {
            match answer(root, path, Some(symbol)) {
                Answer::No(why) => assert!(why.contains(expected), "{path} {symbol}: {why}"),
                other => panic!("{path} {symbol}: {other:?}"),
            }
        }
        assert!(matches!(
            answer(Path::new("/nonexistent"), &own, None),
            Answer::No(_)
        ));
    }

    /// A note as sys/sdt.h makes it.
    fn stapsdt(provider: &str, name: &str) -> Vec<u8> {
        let mut content = vec![0; 24];
        content.extend_from_slice(format!("{provider}\0{name}\0-4@%edi\0").as_bytes());
        let mut note = Vec::new();
        for word in [OWNER.len() + 1, content.len(), 3] {
            note.extend_from_slice(&u32::try_from(word).unwrap().to_le_bytes());
        }
        note.extend_from_slice(OWNER);
        note.push(0);
        note.extend_from_slice(&content);
        note.resize(note.len().next_multiple_of(4), 0);
        note
    }

    #[test]
    fn probes_are_read_from_notes_and_damage_ends_them() {
        let mut data = stapsdt("libc", "setjmp");
        data.extend(stapsdt("python", "function__entry"));
        let read = |data: &[u8]| probes(data, true, Endianness::Little);
        assert_eq!(read(&data), ["libc:setjmp", "python:function__entry"]);
        for cut in 0..data.len() {
            assert!(read(&data[..cut]).len() <= 2);
        }
        assert!(read(&[0xff; 64]).is_empty());
        assert!(probes(&data, true, Endianness::Big).is_empty());
    }

    #[test]
    fn a_binary_without_probes_says_so() {
        match usdt(Path::new("/"), &own(), "libc", "setjmp") {
            Answer::No(why) => assert!(why.contains("no statically defined probes"), "{why}"),
            // Standard libraries with probes can be linked in.
            other => assert_eq!(other, Answer::Yes),
        }
        assert!(matches!(
            usdt(Path::new("/"), "/nonexistent", "a", "b"),
            Answer::No(_)
        ));
        assert!(matches!(
            usdt(Path::new("/"), "/proc/self/status", "a", "b"),
            Answer::No(_)
        ));
    }
}
