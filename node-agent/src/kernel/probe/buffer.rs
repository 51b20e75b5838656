//! Memory for what is large and soon forgotten.
#![allow(unsafe_code, reason = "mmap(2) has no safe wrapper")]

use std::{
    io,
    ops::{Deref, DerefMut},
    ptr::{self, NonNull},
    slice,
};

/// Bytes, zeroed at first, that go back to the system when they are dropped. The allocator of the C library keeps
/// some MiB after the second time that as many are freed, and the agent is to stay small.
#[derive(Debug)]
pub struct Buffer {
    start: NonNull<u8>,
    length: usize,
}

impl Buffer {
    /// So many bytes.
    ///
    /// # Errors
    /// If there is no such memory.
    pub fn new(length: usize) -> io::Result<Self> {
        // SAFETY: an anonymous private mapping at an address of the kernel's choice touches no other memory. A
        // length of 0 would be an error, so it has one byte at least.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length.max(1),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mmap returned null"))?;
        Ok(Self { start, length })
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping has `length` initialised bytes, is this value's alone, and lives as long as it.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and nobody else can see it while it is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: it is the mapping that new() made, whole, and no reference to it outlives this value.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length.max(1)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_is_a_length_too() {
        let mut buffer = Buffer::new(1 << 20).unwrap();
        assert!(buffer.iter().all(|byte| *byte == 0));
        buffer[7] = 9;
        assert_eq!(buffer[..9], [0, 0, 0, 0, 0, 0, 0, 9, 0]);
        assert!(Buffer::new(0).unwrap().is_empty());
        assert!(Buffer::new(usize::MAX).is_err());
    }
}
