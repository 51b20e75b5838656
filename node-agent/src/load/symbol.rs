//! Where a function of a binary stands in its file.

use std::{fs::File, io, path::Path};

use bpfleet_fit::function::{is_pattern, matches};
use object::{Object, ObjectSegment, ObjectSymbol, ReadCache, SymbolKind};

/// Most functions of one binary that a pattern may stand for.
const MAX_MATCHES: usize = 1 << 16;

/// The offset of a symbol in the file, which is how the kernel names a place for uprobes; of all that a pattern with
/// `*` and `?` stands for, each place once. None if there is no such symbol, or it stands in no part of the file that
/// is loaded.
pub fn file_offsets(path: &Path, symbol: &str) -> io::Result<Vec<u64>> {
    let cache = ReadCache::new(File::open(path)?);
    let binary = object::File::parse(&cache).map_err(io::Error::other)?;
    let many = is_pattern(symbol);
    let wanted = |name: &str| {
        if many {
            matches(symbol, name)
        } else {
            symbol == name
        }
    };
    let mut found = Vec::new();
    for known in binary.symbols().chain(binary.dynamic_symbols()) {
        let is_meant = known.is_definition()
            && (!many || known.kind() == SymbolKind::Text)
            && known.name().is_ok_and(wanted);
        if !is_meant {
            continue;
        }
        let address = known.address();
        let offset = binary.segments().find_map(|segment| {
            let within = address.checked_sub(segment.address())?;
            let (start, size) = segment.file_range();
            (within < size).then(|| start.checked_add(within)).flatten()
        });
        if let Some(offset) = offset
            && !found.contains(&offset)
        {
            found.push(offset);
        }
        if !many && !found.is_empty() {
            break;
        }
        if found.len() > MAX_MATCHES {
            return Err(io::Error::other(format!(
                "more than {MAX_MATCHES} functions are meant; use a narrower pattern"
            )));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_this_program_has_an_offset_and_another_has_none() {
        let own = Path::new("/proc/self/exe");
        let main = file_offsets(own, "main").unwrap();
        assert!(main.len() == 1 && main[0] > 0);
        assert!(file_offsets(own, "mai?").unwrap().contains(&main[0]));
        assert!(file_offsets(own, "no_such_function").unwrap().is_empty());
        assert!(file_offsets(Path::new("/proc/self/status"), "main").is_err());
    }
}
