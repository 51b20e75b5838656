//! Control groups of a cluster: one in every hierarchy of the machine, with one below it for each node.
//!
//! Both versions: where the first is mounted (with or without the second beside it), a group lies below
//! this process's own in each hierarchy, and its limits stay in force. In the second alone only groups
//! without processes can pass controllers on, so that it lies at the top.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{During, Error, Result};
use crate::scratch::Scratch;

/// A group in every hierarchy.
#[derive(Clone, Debug)]
pub struct Group {
    places: Vec<Place>,
}

#[derive(Clone, Debug)]
struct Place {
    dir: PathBuf,
    /// Of version 2 with controllers: processes may only be in its leaves.
    leaves_only: bool,
}

/// Name of the group for a node's own programs in version 2.
const LEAF: &str = "system";

impl Group {
    /// A new group for a cluster. The directory's janitor removes it, and what is below it.
    pub fn for_cluster(scratch: &Scratch) -> Result<Group> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bpfleet-e2e-{}-{number}", std::process::id());
        let mounts = read("/proc/self/mounts")?;
        let own = read("/proc/self/cgroup")?;
        let group = Group {
            places: hierarchies(&mounts, &own),
        };
        if group.places.is_empty() {
            return Err(Error::Other(
                "no control groups are mounted; mount them below /sys/fs/cgroup as every distribution does"
                    .into(),
            ));
        }
        for place in &group.places {
            scratch.also_cgroup(&place.dir.join(&name))?;
        }
        group.child(&name, true)
    }

    /// A new group for a node. In version 2 it passes nothing on before [`Group::settle`], because the
    /// node's first process has to be in it, so that it is the root of what the node sees.
    pub fn node(&self, name: &str) -> Result<Group> {
        self.child(name, false)
    }

    fn child(&self, name: &str, passes_on: bool) -> Result<Group> {
        let mut places = Vec::new();
        for place in &self.places {
            let dir = place.dir.join(name);
            std::fs::create_dir(&dir).during(|| format!("making the control group {}", dir.display()))?;
            // In version 1 nothing can join a group before it has processors and memory nodes.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if !place.leaves_only && place.dir.join(file).exists() {
                    write(&dir.join(file), read(place.dir.join(file))?.trim())?;
                }
            }
            if place.leaves_only && passes_on {
                pass_on(&dir)?;
            }
            places.push(Place { dir, ..*place });
        }
        Ok(Group { places })
    }

    /// After a node's first processes are in it and have made it the root of their view: moves them into a
    /// leaf of their own, so that the kubelet can make groups beside it.
    pub fn settle(&self) -> Result<Group> {
        let mut places = Vec::new();
        for place in &self.places {
            if !place.leaves_only {
                places.push(place.clone());
                continue;
            }
            let leaf = place.dir.join(LEAF);
            std::fs::create_dir(&leaf).during(|| format!("making the control group {}", leaf.display()))?;
            for pid in read(place.dir.join("cgroup.procs"))?.lines() {
                write(&leaf.join("cgroup.procs"), pid)?;
            }
            pass_on(&place.dir)?;
            places.push(Place {
                dir: leaf,
                leaves_only: true,
            });
        }
        Ok(Group { places })
    }

    /// Its directories.
    pub fn dirs(&self) -> impl Iterator<Item = &Path> {
        self.places.iter().map(|place| place.dir.as_path())
    }

    /// Removes it and what is below it, when its processes have ended.
    pub fn remove(&self) -> Result<()> {
        self.dirs().try_for_each(remove)
    }
}

fn remove(dir: &Path) -> Result<()> {
    let what = || format!("removing the control group {}", dir.display());
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.during(what)?,
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path())?;
        }
    }
    std::fs::remove_dir(dir).during(what)
}

/// Puts the calling process into groups.
pub fn join(dirs: &[PathBuf]) -> Result<()> {
    // 0 stands for the process that writes.
    dirs.iter()
        .try_for_each(|dir| write(&dir.join("cgroup.procs"), "0"))
}

/// Gives a group's children all controllers that it has itself.
fn pass_on(dir: &Path) -> Result<()> {
    for controller in read(dir.join("cgroup.controllers"))?.split_whitespace() {
        write(&dir.join("cgroup.subtree_control"), &format!("+{controller}"))?;
    }
    Ok(())
}

/// This process's own group in every mounted hierarchy.
fn hierarchies(mounts: &str, own: &str) -> Vec<Place> {
    let mounted: Vec<(&str, &str, Vec<&str>)> = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (dir, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
            kind.starts_with("cgroup")
                .then(|| (dir, kind, options.split(',').collect()))
        })
        .collect();
    let only_v2 = mounted.iter().all(|(_, kind, _)| *kind == "cgroup2");
    let mut places: Vec<Place> = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let found = mounted.iter().find(|(_, kind, options)| {
            if controllers.is_empty() {
                *kind == "cgroup2"
            } else {
                *kind == "cgroup" && controllers.split(',').all(|name| options.contains(&name))
            }
        });
        let Some((mount, ..)) = found else { continue };
        let below = Path::new(mount).join(path.trim_start_matches('/'));
        // A container sees its own group as the mounted root, whatever the path says.
        let dir = if only_v2 || !below.is_dir() {
            PathBuf::from(mount)
        } else {
            below
        };
        places.push(Place {
            dir,
            leaves_only: only_v2,
        });
    }
    places
}

fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    std::fs::read_to_string(path).during(|| format!("reading {}", path.display()))
}

/// Control files are written in place: renaming a new file over them is impossible.
fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).during(|| format!("writing {text} to {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dirs(mounts: &str, own: &str) -> Vec<(String, bool)> {
        let places = hierarchies(mounts, own);
        let text = |place: &Place| (place.dir.to_string_lossy().into_owned(), place.leaves_only);
        places.iter().map(text).collect()
    }

    #[test]
    fn with_version_2_alone_groups_lie_at_the_top() {
        let mounts = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n";
        assert_eq!(
            dirs(mounts, "0::/user.slice/session-1.scope\n"),
            [("/sys/fs/cgroup".into(), true)]
        );
    }

    #[test]
    fn with_version_1_each_hierarchy_has_one_and_a_path_that_cannot_be_seen_is_the_mounted_root() {
        let mounts = "tmpfs /nowhere tmpfs rw 0 0\n\
                      cgroup /nowhere/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n\
                      cgroup /nowhere/systemd cgroup rw,name=systemd 0 0\n\
                      cgroup2 /nowhere/unified cgroup2 rw 0 0\n";
        assert_eq!(
            dirs(mounts, "4:cpu,cpuacct:/a\n3:hugetlb:/\n1:name=systemd:/\n0::/b\n"),
            [
                ("/nowhere/cpu,cpuacct".into(), false),
                ("/nowhere/systemd/".into(), false),
                ("/nowhere/unified".into(), false)
            ]
            .map(|(dir, leaves): (String, bool)| (dir.trim_end_matches('/').to_owned(), leaves))
        );
    }
}
