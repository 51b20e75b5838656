//! The kernel's own BTF.

use std::{fs, io, path::Path};

use bpfleet_crds::node::{BtfFacts, Fact};

/// Whether the file is there, and its size. Only its absence is a No; an unreadable one could be either.
pub fn read(path: &Path) -> BtfFacts {
    match fs::metadata(path) {
        Ok(metadata) => BtfFacts {
            kernel: Fact::Yes,
            size_bytes: Some(metadata.len()),
            detail: None,
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound && Path::new("/sys/kernel").exists() => {
            BtfFacts {
                kernel: Fact::No,
                ..BtfFacts::default()
            }
        }
        Err(error) => BtfFacts {
            kernel: Fact::Unknown,
            size_bytes: None,
            detail: Some(format!("cannot look at {}: {error}", path.display())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_no_and_a_present_one_has_a_size() {
        assert_eq!(read(Path::new("/sys/kernel/btf/no-such-module")).kernel, Fact::No);
        let facts = read(Path::new("/proc/self/exe"));
        assert_eq!(facts.kernel, Fact::Yes);
        assert!(facts.size_bytes.is_some_and(|size| size > 0));
    }
}
