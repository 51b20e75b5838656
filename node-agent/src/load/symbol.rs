//! Where a function of a binary stands in its file.

use std::{fs::File, io, path::Path};

use object::{Object, ObjectSegment, ObjectSymbol, ReadCache};

/// The offset of a symbol in the file, which is how the kernel names a place for uprobes; none if there is no such
/// symbol, or it stands in no part of the file that is loaded.
pub fn file_offset(path: &Path, symbol: &str) -> io::Result<Option<u64>> {
    let cache = ReadCache::new(File::open(path)?);
    let binary = object::File::parse(&cache).map_err(io::Error::other)?;
    let found = binary
        .symbols()
        .chain(binary.dynamic_symbols())
        .find(|known| known.is_definition() && known.name() == Ok(symbol));
    Ok(found.and_then(|known| {
        let address = known.address();
        binary.segments().find_map(|segment| {
            let within = address.checked_sub(segment.address())?;
            let (start, size) = segment.file_range();
            (within < size).then(|| start.checked_add(within)).flatten()
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_this_program_has_an_offset_and_another_has_none() {
        let own = Path::new("/proc/self/exe");
        assert!(file_offset(own, "main").unwrap().is_some_and(|offset| offset > 0));
        assert_eq!(file_offset(own, "no_such_function").unwrap(), None);
        assert!(file_offset(Path::new("/proc/self/status"), "main").is_err());
    }
}
