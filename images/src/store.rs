//! Layouts and archives as files.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use crate::layout::{BLOBS, INDEX, Layout, MARKER};

/// A file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// By the system.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Something else would be lost.
    #[error("{path} is there and is no OCI layout; remove it or choose another place, as it would be replaced", path = .0.display())]
    Foreign(PathBuf),
    /// Not a layout.
    #[error("{path} is no OCI layout (it has no file {MARKER}); make one with: bpfleet-images build", path = .0.display())]
    NoLayout(PathBuf),
    /// A longer file than any that is expected.
    #[error("{path} is larger than {1} bytes, which is more than an image may have", path = .0.display())]
    TooLarge(PathBuf, u64),
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { action, path, source }
}

/// Reads a file that may have at most so many bytes.
///
/// # Errors
/// It cannot be read, or is larger.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, StoreError> {
    let size = fs::metadata(path).map_err(failed("read", path))?.len();
    if size > limit {
        return Err(StoreError::TooLarge(path.to_owned(), limit));
    }
    fs::read(path).map_err(failed("read", path))
}

/// Reads certificates: a file, or all files of a directory that end in `.crt`, in the order of their names' bytes.
///
/// # Errors
/// One cannot be read, or together they are larger.
pub fn read_bundle(path: &Path, limit: u64) -> Result<Vec<u8>, StoreError> {
    if !path.is_dir() {
        return read(path, limit);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed("list", path))? {
        let file = entry.map_err(failed("list", path))?.path();
        if file.extension().is_some_and(|ending| ending == "crt") {
            files.push(file);
        }
    }
    files.sort();
    let mut bundle = Vec::new();
    for file in files {
        bundle.extend(read(&file, limit.saturating_sub(bundle.len() as u64))?);
    }
    Ok(bundle)
}

/// Writes a layout in the place of an older one. It is complete from the first moment it can be seen.
///
/// # Errors
/// It cannot be written, or something else than a layout is there.
pub fn write_layout(layout: &Layout, directory: &Path) -> Result<(), StoreError> {
    let old = directory.exists();
    if old && !directory.join(MARKER).exists() && !is_empty(directory) {
        return Err(StoreError::Foreign(directory.to_owned()));
    }
    let parent = parent(directory);
    fs::create_dir_all(&parent).map_err(failed("make", &parent))?;
    // Dropped, it takes with it what was not moved out of it, also after an error.
    let scratch = tempfile::Builder::new()
        .prefix(".bpfleet-images-")
        .tempdir_in(&parent)
        .map_err(failed("write below", &parent))?;
    let new = scratch.path().join("new");
    for (path, bytes) in &layout.files {
        let path = new.join(path);
        let above = self::parent(&path);
        fs::create_dir_all(&above).map_err(failed("make", &above))?;
        fs::write(&path, bytes).map_err(failed("write", &path))?;
    }
    if old {
        fs::rename(directory, scratch.path().join("old")).map_err(failed("replace", directory))?;
    }
    fs::rename(&new, directory).map_err(failed("write", directory))
}

/// Reads a layout.
///
/// # Errors
/// It cannot be read, or is none.
pub fn read_layout(directory: &Path, limit: u64) -> Result<Layout, StoreError> {
    if !directory.join(MARKER).exists() {
        return Err(StoreError::NoLayout(directory.to_owned()));
    }
    let mut layout = Layout::default();
    for name in [MARKER, INDEX] {
        let bytes = read(&directory.join(name), limit)?;
        layout.files.insert(name.to_owned(), bytes);
    }
    let blobs = directory.join(BLOBS);
    for entry in fs::read_dir(&blobs).map_err(failed("list", &blobs))? {
        let entry = entry.map_err(failed("list", &blobs))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let bytes = read(&entry.path(), limit)?;
        layout.files.insert(format!("{BLOBS}/{name}"), bytes);
    }
    Ok(layout)
}

/// Writes a file in the place of an older one, in one step.
///
/// # Errors
/// It cannot be written.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let parent = parent(path);
    fs::create_dir_all(&parent).map_err(failed("make", &parent))?;
    let mut file = tempfile::NamedTempFile::new_in(&parent).map_err(failed("write below", &parent))?;
    file.write_all(bytes).map_err(failed("write", path))?;
    file.persist(path)
        .map_err(|error| failed("write", path)(error.error))?;
    // Temporary files are for their owner only; this one is to be copied and imported by others.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(path, mode).map_err(failed("make readable", path))
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
