//! Bounds-checked reads and writes of integers.

use crate::endian::Endian;

/// A slice read in one byte order. Every read is checked; none panics.
#[derive(Clone, Copy)]
pub(crate) struct Bytes<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) endian: Endian,
}

impl<'a> Bytes<'a> {
    pub(crate) fn new(data: &'a [u8], endian: Endian) -> Self {
        Bytes { data, endian }
    }

    #[inline]
    pub(crate) fn u32(&self, at: usize) -> Option<u32> {
        let raw = self.data.get(at..)?.first_chunk::<4>()?;
        Some(match self.endian {
            Endian::Little => u32::from_le_bytes(*raw),
            Endian::Big => u32::from_be_bytes(*raw),
        })
    }

    /// `len` bytes from `at`.
    pub(crate) fn slice(&self, at: usize, len: usize) -> Option<Bytes<'a>> {
        Some(Bytes {
            data: self.data.get(at..at.checked_add(len)?)?,
            endian: self.endian,
        })
    }
}

/// The NUL-terminated string at `at`, without its end; `None` beyond the end, or if no NUL comes within
/// `max` bytes: looking no further keeps many references to one long string cheap.
#[inline]
pub(crate) fn string(data: &[u8], at: usize, max: usize) -> Option<&[u8]> {
    let rest = data.get(at..)?;
    let window = rest.get(..max.saturating_add(1)).unwrap_or(rest);
    window.get(..memchr::memchr(0, window)?)
}

/// Bytes of an integer in a byte order.
pub(crate) fn u32_bytes(value: u32, endian: Endian) -> [u8; 4] {
    match endian {
        Endian::Little => value.to_le_bytes(),
        Endian::Big => value.to_be_bytes(),
    }
}
