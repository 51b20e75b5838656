//! Whether a BPF file system is mounted where pins go.

use std::path::Path;

use bpfleet_crds::node::Fact;
use nix::{errno::Errno, sys::statfs::statfs};

/// BPF_FS_MAGIC of include/uapi/linux/magic.h.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// Looks at the nearest directory that exists.
pub fn mounted_at(path: &Path) -> Fact {
    let mut path = path;
    loop {
        match statfs(path) {
            Ok(info) if info.filesystem_type().0 == BPF_FS_MAGIC => return Fact::Yes,
            Ok(_) => return Fact::No,
            Err(Errno::ENOENT) => match path.parent() {
                Some(parent) => path = parent,
                None => return Fact::No,
            },
            Err(_) => return Fact::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_no_bpf_file_system() {
        assert_eq!(mounted_at(Path::new("/proc/self/no/such/directory")), Fact::No);
    }
}
