//! The one place of this crate that is not safe by itself.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::{Mmap, MmapOptions};

/// Maps a whole file.
///
/// # Errors
/// What opening or mapping it gives: an empty file cannot be mapped, nor one in /sys before Linux 6.16.
pub fn map(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: the mapping is private and only read. Should another process cut the file while it is read,
    // this process ends by SIGBUS; it holds nothing that could be lost. Should one write into it, BTF that
    // changes is BTF that is damaged, and every read of it is checked.
    unsafe { MmapOptions::new().map_copy_read_only(&file) }
}
