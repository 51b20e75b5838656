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
