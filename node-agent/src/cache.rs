//! The node's disk cache: objects by content, revisions by name, and what the node was last told to run. With it
//! the node needs neither operator nor API server, also after a reboot.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use bpfleet_crds::{Digest, object::MAX_OBJECT_BYTES};
use serde::{Serialize, de::DeserializeOwned};

/// Largest JSON file in the cache, in bytes.
const MAX_JSON_BYTES: u64 = 4 << 20;
/// Extension of a file that is not whole yet.
const FRESH: &str = "new";
/// Longest time that writing a file takes.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);
/// What the node was last told.
const WANTED: &str = "wanted.json";

/// The cache could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the cache at {} cannot be {action}: {source}", path.display())]
pub struct CacheError {
    path: PathBuf,
    action: &'static str,
    source: io::Error,
}

/// A directory that this agent alone writes.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache in this directory, whether it is there or not.
    pub fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Opens or makes the cache.
    pub fn open(root: &Path) -> Result<Self, CacheError> {
        let cache = Self::at(root);
        for directory in [cache.objects(), cache.revisions()] {
            fs::create_dir_all(&directory).map_err(|source| CacheError {
                path: directory,
                action: "made",
                source,
            })?;
        }
        Ok(cache)
    }

    /// Removes the cache with all that is in it, and nothing else. The directory stays if it is somebody's mount, or
    /// holds what is not ours.
    pub fn remove(&self) -> Result<(), CacheError> {
        self.retain(&BTreeSet::new(), &BTreeSet::new())?;
        let wanted = self.root.join(WANTED);
        let removed = fs::remove_file(&wanted).or_else(missing_is_fine);
        removed.map_err(|source| CacheError {
            path: wanted,
            action: "removed",
            source,
        })?;
        for directory in [self.objects(), self.revisions(), self.root.clone()] {
            let removed = fs::remove_dir(&directory).or_else(|error| match error.raw_os_error() {
                Some(libc::EBUSY | libc::ENOTEMPTY | libc::EROFS) if directory == self.root => Ok(()),
                _ => missing_is_fine(error),
            });
            removed.map_err(|source| CacheError {
                path: directory,
                action: "removed",
                source,
            })?;
        }
        Ok(())
    }

    fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    fn revisions(&self) -> PathBuf {
        self.root.join("revisions")
    }

    /// The path of an object, if it is here and whole. One that was damaged or tampered with is as good as none.
    pub fn object(&self, digest: &Digest) -> Option<PathBuf> {
        let path = self.objects().join(digest.hex());
        let mut bytes = Vec::new();
        File::open(&path)
            .ok()?
            .take(MAX_OBJECT_BYTES + 1)
            .read_to_end(&mut bytes)
            .ok()?;
        (Digest::of(&bytes) == *digest).then_some(path)
    }

    /// Keeps an object whose digest the caller has checked.
    pub fn put_object(&self, digest: &Digest, bytes: &[u8]) -> Result<PathBuf, CacheError> {
        let path = self.objects().join(digest.hex());
        write(&path, bytes)?;
        Ok(path)
    }

    /// A revision; names are Kubernetes names and cannot leave the directory.
    pub fn revision<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        read_json(&self.revisions().join(format!("{name}.json")))
    }

    /// Keeps a revision.
    pub fn put_revision<T: Serialize>(&self, name: &str, revision: &T) -> Result<(), CacheError> {
        write_json(&self.revisions().join(format!("{name}.json")), revision)
    }

    /// What the node was last told to run.
    pub fn wanted<T: DeserializeOwned>(&self) -> Option<T> {
        read_json(&self.root.join(WANTED))
    }

    /// Keeps what the node was told to run.
    pub fn put_wanted<T: Serialize>(&self, wanted: &T) -> Result<(), CacheError> {
        write_json(&self.root.join(WANTED), wanted)
    }

    /// Removes everything but these revisions and objects. What cannot be removed is tried again next time.
    pub fn retain(&self, revisions: &BTreeSet<String>, objects: &BTreeSet<Digest>) -> Result<(), CacheError> {
        let revisions: BTreeSet<String> = revisions.iter().map(|name| format!("{name}.json")).collect();
        let objects: BTreeSet<String> = objects.iter().map(Digest::hex).collect();
        for (directory, keep) in [(self.revisions(), revisions), (self.objects(), objects)] {
            let failed = |source| CacheError {
                path: directory.clone(),
                action: "cleaned",
                source,
            };
            let entries = match fs::read_dir(&directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.map_err(failed)?,
            };
            for entry in entries {
                let entry = entry.map_err(failed)?;
                if is_being_written(&entry) {
                    continue;
                }
                if entry.file_name().to_str().is_none_or(|name| !keep.contains(name)) {
                    fs::remove_file(entry.path()).map_err(failed)?;
                }
            }
        }
        Ok(())
    }
}

/// A file that another task is writing just now, rather than what a crash left long ago.
fn is_being_written(entry: &fs::DirEntry) -> bool {
    let fresh = entry
        .path()
        .extension()
        .is_some_and(|extension| extension == FRESH);
    let age = entry.metadata().and_then(|metadata| metadata.modified());
    fresh
        && age
            .ok()
            .and_then(|time| time.elapsed().ok())
            .is_some_and(|age| age < WRITTEN_WITHIN)
}

fn missing_is_fine(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(MAX_JSON_BYTES)
        .read_to_end(&mut bytes)
        .ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), CacheError> {
    let bytes = serde_json::to_vec(value).map_err(|error| CacheError {
        path: path.to_owned(),
        action: "written",
        source: error.into(),
    })?;
    write(path, &bytes)
}

/// Writes a file so that after a power loss it is there whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<(), CacheError> {
    let fresh = path.with_extension(FRESH);
    let written = || {
        let mut file = File::create(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        path.parent()
            .map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    };
    written().map_err(|source| {
        // A full disk must not stay full of halves.
        let _ = fs::remove_file(&fresh);
        CacheError {
            path: path.to_owned(),
            action: "written",
            source,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_comes_back_until_it_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let digest = Digest::of(b"object");
        assert_eq!(cache.object(&digest), None);
        let path = cache.put_object(&digest, b"object").unwrap();
        assert_eq!(cache.object(&digest), Some(path.clone()));
        fs::write(path, b"tampered").unwrap();
        assert_eq!(cache.object(&digest), None);
    }

    #[test]
    fn only_what_is_in_use_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        cache.put_object(&old, b"old").unwrap();
        cache.put_object(&new, b"new").unwrap();
        cache.put_revision("r-old", &1).unwrap();
        cache.put_revision("r-new", &2).unwrap();
        cache.retain(&["r-new".to_owned()].into(), &[new].into()).unwrap();
        assert_eq!(cache.object(&old), None);
        assert!(cache.object(&new).is_some());
        assert_eq!(cache.revision::<u32>("r-old"), None);
        assert_eq!(cache.revision::<u32>("r-new"), Some(2));
    }

    #[test]
    fn a_removed_cache_leaves_what_is_not_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("cache");
        let cache = Cache::open(&root).unwrap();
        cache.put_object(&Digest::of(b"o"), b"o").unwrap();
        cache.put_revision("r", &1).unwrap();
        cache.put_wanted(&1).unwrap();
        fs::write(root.join("notes"), "somebody's").unwrap();
        cache.remove().unwrap();
        let left: Vec<_> = fs::read_dir(&root)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["notes"]);
        fs::remove_file(root.join("notes")).unwrap();
        Cache::open(&root).unwrap().remove().unwrap();
        assert!(!root.exists());
    }

    #[test]
    fn damaged_json_is_as_good_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        cache.put_wanted(&vec![1]).unwrap();
        assert_eq!(cache.wanted::<Vec<u32>>(), Some(vec![1]));
        fs::write(dir.path().join("wanted.json"), "[1,").unwrap();
        assert_eq!(cache.wanted::<Vec<u32>>(), None);
    }
}
