//! Bounds-checked reads of integers and strings.

use btf::Endian;

/// Longest name that is kept, in bytes: the kernel's limit for a symbol name.
pub(crate) const MAX_NAME: usize = 512;

/// A slice read in one byte order. Every read is checked; none panics.
#[derive(Clone, Copy)]
pub(crate) struct Bytes<'a> {
    data: &'a [u8],
    endian: Endian,
}

impl<'a> Bytes<'a> {
    pub(crate) fn new(data: &'a [u8], endian: Endian) -> Self {
        Bytes { data, endian }
    }

    pub(crate) fn u16(&self, at: usize) -> Option<u16> {
        let raw: [u8; 2] = self.data.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(match self.endian {
            Endian::Little => u16::from_le_bytes(raw),
            Endian::Big => u16::from_be_bytes(raw),
        })
    }

    pub(crate) fn u32(&self, at: usize) -> Option<u32> {
        let raw: [u8; 4] = self.data.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(match self.endian {
            Endian::Little => u32::from_le_bytes(raw),
            Endian::Big => u32::from_be_bytes(raw),
        })
    }

    pub(crate) fn u64(&self, at: usize) -> Option<u64> {
        let raw: [u8; 8] = self.data.get(at..at.checked_add(8)?)?.try_into().ok()?;
        Some(match self.endian {
            Endian::Little => u64::from_le_bytes(raw),
            Endian::Big => u64::from_be_bytes(raw),
        })
    }

    /// `len` bytes from `at`, as they are.
    pub(crate) fn raw(&self, at: usize, len: usize) -> Option<&'a [u8]> {
        self.data.get(at..at.checked_add(len)?)
    }

    /// `len` bytes from `at`.
    pub(crate) fn slice(&self, at: usize, len: usize) -> Option<Bytes<'a>> {
        Some(Bytes {
            data: self.raw(at, len)?,
            endian: self.endian,
        })
    }

    /// The NUL-terminated string at `at`, if it is UTF-8; cut to `max` bytes at a character boundary.
    pub(crate) fn string(&self, at: usize, max: usize) -> Option<&'a str> {
        let rest = self.data.get(at..)?;
        // Looking no further than `max` keeps many references to one long string cheap.
        let window = rest.get(..max.saturating_add(1)).unwrap_or(rest);
        match window.iter().position(|b| *b == 0) {
            Some(end) => std::str::from_utf8(window.get(..end)?).ok(),
            None if window.len() <= max => None,
            None => Some(utf8_prefix(window.get(..max)?)),
        }
    }
}

/// The longest prefix that is valid UTF-8.
pub(crate) fn utf8_prefix(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => bytes
            .get(..e.valid_up_to())
            .and_then(|b| std::str::from_utf8(b).ok())
            .unwrap_or(""),
    }
}
