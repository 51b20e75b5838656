//! Which cgroup hierarchies are mounted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bpfleet_crds::node::CgroupVersion;

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchies {
    /// Which versions.
    pub version: CgroupVersion,
    /// Where the version 2 hierarchy is mounted.
    pub v2: Option<PathBuf>,
}

/// Reads this process's mounts, and counts those below `host_root`: a container has a hierarchy of its own as
/// well, of which the host's programs know nothing.
pub fn find(host_root: &Path) -> Hierarchies {
    fs::read_to_string("/proc/self/mountinfo").map_or(
        Hierarchies {
            version: CgroupVersion::Unknown,
            v2: None,
        },
        |mounts| parse(&mounts, host_root),
    )
}

/// The format of proc_pid_mountinfo(5): optional fields end with a single `-`.
fn parse(mountinfo: &str, host_root: &Path) -> Hierarchies {
    let (mut v1, mut v2) = (false, None);
    for line in mountinfo.lines() {
        let Some((mount, filesystem)) = line.split_once(" - ") else {
            continue;
        };
        let Some(at) = mount.split(' ').nth(4).map(|path| PathBuf::from(unescape(path))) else {
            continue;
        };
        if !at.starts_with(host_root) {
            continue;
        }
        match filesystem.split(' ').next() {
            Some("cgroup") => v1 = true,
            Some("cgroup2") if v2.is_none() => v2 = Some(at),
            _ => {}
        }
    }
    let version = match (v1, &v2) {
        (true, Some(_)) => CgroupVersion::Hybrid,
        (true, None) => CgroupVersion::V1,
        (false, Some(_)) => CgroupVersion::V2,
        (false, None) => CgroupVersion::Unknown,
    };
    Hierarchies { version, v2 }
}

/// Spaces and the like are written as three octal digits.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_told_apart() {
        let v1 = "31 30 0:27 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu\n";
        let v2 = "26 25 0:24 / /sys/fs/cgroup/unified\\040x rw,nosuid - cgroup2 cgroup2 rw\n";
        for (mounts, version, path) in [
            (
                format!("{v1}{v2}"),
                CgroupVersion::Hybrid,
                Some("/sys/fs/cgroup/unified x"),
            ),
            (v1.to_owned(), CgroupVersion::V1, None),
            (v2.to_owned(), CgroupVersion::V2, Some("/sys/fs/cgroup/unified x")),
            ("garbage".to_owned(), CgroupVersion::Unknown, None),
        ] {
            assert_eq!(
                parse(&mounts, Path::new("/")),
                Hierarchies {
                    version,
                    v2: path.map(PathBuf::from)
                }
            );
        }
    }

    #[test]
    fn in_a_container_only_the_hosts_hierarchies_count() {
        let own = "31 30 0:27 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let host = "41 40 0:27 /../../.. /host/sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        let found = parse(&format!("{own}{host}"), Path::new("/host"));
        assert_eq!(found.v2.as_deref(), Some(Path::new("/host/sys/fs/cgroup")));
        assert_eq!(parse(own, Path::new("/host")).version, CgroupVersion::Unknown);
    }
}
