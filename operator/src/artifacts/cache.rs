//! Objects at hand: some in memory, and if there is a directory for it, more on disk. Both bounded, both
//! only a cache: whatever is lost is fetched again.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use bpfleet_crds::{Digest, object::MAX_OBJECT_BYTES};
use bytes::Bytes;

/// Most bytes in memory: a handful of objects that a fleet asks for at the same time.
pub const MAX_MEMORY_BYTES: u64 = 32 << 20;
/// Most bytes on disk.
pub const MAX_DISK_BYTES: u64 = 1 << 30;

#[derive(Debug, Default)]
struct Memory {
    objects: HashMap<Digest, (u64, Bytes)>,
    bytes: u64,
    clock: u64,
}

impl Memory {
    fn get(&mut self, digest: Digest) -> Option<Bytes> {
        self.clock += 1;
        let (used, bytes) = self.objects.get_mut(&digest)?;
        *used = self.clock;
        Some(bytes.clone())
    }

    fn put(&mut self, digest: Digest, bytes: Bytes, limit: u64) {
        self.clock += 1;
        let size = bytes.len() as u64;
        if size > limit || self.objects.contains_key(&digest) {
            return;
        }
        while self.bytes.saturating_add(size) > limit {
            let oldest = self
                .objects
                .iter()
                .min_by_key(|(_, (used, _))| *used)
                .map(|(digest, _)| *digest);
            let Some((_, dropped)) = oldest.and_then(|digest| self.objects.remove(&digest)) else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(dropped.len() as u64);
        }
        self.bytes += size;
        self.objects.insert(digest, (self.clock, bytes));
    }
}

/// Objects at hand.
#[derive(Debug)]
pub struct Cache {
    memory: Mutex<Memory>,
    directory: Option<PathBuf>,
}

impl Cache {
    /// A cache in memory, and in `directory` if there is one. The directory is made if it is missing.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn new(directory: Option<PathBuf>) -> io::Result<Self> {
        if let Some(directory) = &directory {
            std::fs::create_dir_all(directory)?;
        }
        Ok(Self {
            memory: Mutex::default(),
            directory,
        })
    }

    /// The object, if it is at hand.
    pub async fn get(&self, digest: Digest) -> Option<Bytes> {
        if let Some(bytes) = self
            .memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(digest)
        {
            return Some(bytes);
        }
        let path = self.directory.as_ref()?.join(digest.hex());
        let read = tokio::task::spawn_blocking(move || read(&path, digest)).await;
        let bytes = match read {
            Ok(Ok(bytes)) => bytes?,
            Ok(Err(error)) => {
                tracing::warn!(%digest, %error, "cannot read an object from the cache directory");
                return None;
            }
            Err(_) => return None,
        };
        self.remember(digest, bytes.clone());
        Some(bytes)
    }

    /// Keeps an object. Its digest must have been checked.
    pub async fn put(&self, digest: Digest, bytes: Bytes) {
        self.remember(digest, bytes.clone());
        let Some(directory) = self.directory.clone() else {
            return;
        };
        let written = tokio::task::spawn_blocking(move || {
            let path = directory.join(digest.hex());
            if path.exists() {
                return Ok(());
            }
            let temporary = directory.join(format!(".{}.{}", digest.hex(), std::process::id()));
            std::fs::write(&temporary, &bytes)?;
            std::fs::rename(&temporary, &path)?;
            shrink(&directory, MAX_DISK_BYTES)
        });
        if let Ok(Err(error)) = written.await {
            tracing::warn!(%digest, %error, "cannot write an object to the cache directory");
        }
    }

    fn remember(&self, digest: Digest, bytes: Bytes) {
        self.memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .put(digest, bytes, MAX_MEMORY_BYTES);
    }
}

/// Reads an object; a file with other content is removed, as if it were not there.
fn read(path: &Path, digest: Digest) -> io::Result<Option<Bytes>> {
    let length = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = if length > MAX_OBJECT_BYTES {
        Vec::new()
    } else {
        std::fs::read(path)?
    };
    if Digest::of(&bytes) != digest {
        std::fs::remove_file(path)?;
        return Ok(None);
    }
    Ok(Some(bytes.into()))
}

/// Removes the oldest files until what is left fits.
fn shrink(directory: &Path, limit: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file() {
            files.push((
                metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                metadata.len(),
                entry.path(),
            ));
        }
    }
    files.sort();
    let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
    for (_, size, path) in files {
        if total <= limit {
            break;
        }
        std::fs::remove_file(path)?;
        total = total.saturating_sub(size);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(fill: u8, size: usize) -> (Digest, Bytes) {
        let bytes = Bytes::from(vec![fill; size]);
        (Digest::of(&bytes), bytes)
    }

    #[test]
    fn memory_is_bounded_and_forgets_the_least_used() {
        let mut memory = Memory::default();
        let [(a, a_bytes), (b, b_bytes), (c, c_bytes)] = [object(1, 40), object(2, 40), object(3, 40)];
        memory.put(a, a_bytes, 100);
        memory.put(b, b_bytes, 100);
        assert!(memory.get(a).is_some());
        memory.put(c, c_bytes, 100);
        assert!(memory.get(b).is_none() && memory.get(a).is_some() && memory.get(c).is_some());
        let (huge, huge_bytes) = object(4, 101);
        memory.put(huge, huge_bytes, 100);
        assert!(memory.get(huge).is_none());
        assert_eq!(memory.bytes, 80);
    }

    #[tokio::test]
    async fn disk_survives_the_process_and_never_gives_altered_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("objects");
        let (digest, bytes) = object(7, 100);
        Cache::new(Some(path.clone()))
            .unwrap()
            .put(digest, bytes.clone())
            .await;
        let again = || Cache::new(Some(path.clone())).unwrap();
        assert_eq!(again().get(digest).await, Some(bytes));
        std::fs::write(path.join(digest.hex()), b"altered").unwrap();
        assert_eq!(again().get(digest).await, None);
        assert!(!path.join(digest.hex()).exists());
    }

    #[test]
    fn the_directory_is_kept_below_its_bound() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            std::fs::write(directory.path().join(name), [0; 50]).unwrap();
        }
        shrink(directory.path(), 100).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}
