//! [`BtfExt`]: `.BTF.ext`, what an object says of its instructions.

use crate::bytes::Bytes;
use crate::endian::Endian;
use crate::error::BtfError;

const MAGIC: u16 = 0xeb9f;

/// `.BTF.ext` of an object. Section names and texts are offsets into its `.BTF`'s strings.
#[derive(Clone, Copy)]
pub struct BtfExt<'a> {
    data: Bytes<'a>,
    header: usize,
}

/// A function's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionInfo {
    /// Where the function begins, in bytes from the start of the section.
    pub instruction_offset: u32,
    /// Its [`Func`](crate::Kind::Func).
    pub type_id: u32,
}

/// The source line of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineInfo {
    /// Where the instruction begins, in bytes from the start of the section.
    pub instruction_offset: u32,
    /// The file's name, as a string offset.
    pub file: u32,
    /// The line's text, as a string offset.
    pub text: u32,
    /// Line in the upper 22 bits, column in the lower 10.
    pub position: u32,
}

/// A CO-RE relocation as the object has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelocationInfo {
    /// Where the instruction begins, in bytes from the start of the section.
    pub instruction_offset: u32,
    /// The type that is accessed or asked about, in the object's BTF.
    pub type_id: u32,
    /// The access (`0:1:2`), as a string offset.
    pub access: u32,
    /// `enum bpf_core_relo_kind`.
    pub kind: u32,
}

impl<'a> BtfExt<'a> {
    /// Opens `.BTF.ext` in either byte order.
    ///
    /// # Errors
    /// What is wrong with its header.
    pub fn parse(data: &'a [u8]) -> Result<Self, BtfError> {
        let endian = match data.first_chunk::<2>() {
            Some(raw) if u16::from_le_bytes(*raw) == MAGIC => Endian::Little,
            Some(raw) if u16::from_be_bytes(*raw) == MAGIC => Endian::Big,
            _ => return Err(BtfError::NotBtf),
        };
        let data = Bytes::new(data, endian);
        let header = data.u32(4).ok_or(BtfError::Truncated {
            what: "header's fields",
            end: 8,
            size: data.data.len() as u64,
        })?;
        Ok(BtfExt {
            data,
            header: header as usize,
        })
    }

    /// Its byte order.
    pub fn endian(&self) -> Endian {
        self.data.endian
    }

    /// Functions and their types, with the offset of each one's section name.
    ///
    /// # Errors
    /// If they are cut off.
    pub fn functions(&self) -> Result<Records<'a, FunctionInfo>, BtfError> {
        self.part(8, "function information", 8, |r| {
            Some(FunctionInfo {
                instruction_offset: r.u32(0)?,
                type_id: r.u32(4)?,
            })
        })
    }

    /// Source lines.
    ///
    /// # Errors
    /// If they are cut off.
    pub fn lines(&self) -> Result<Records<'a, LineInfo>, BtfError> {
        self.part(16, "line information", 16, |r| {
            Some(LineInfo {
                instruction_offset: r.u32(0)?,
                file: r.u32(4)?,
                text: r.u32(8)?,
                position: r.u32(12)?,
            })
        })
    }

    /// CO-RE relocations, in the order of the file.
    ///
    /// # Errors
    /// If they are cut off.
    pub fn relocations(&self) -> Result<Records<'a, RelocationInfo>, BtfError> {
        self.part(24, "CO-RE relocations", 16, |r| {
            Some(RelocationInfo {
                instruction_offset: r.u32(0)?,
                type_id: r.u32(4)?,
                access: r.u32(8)?,
                kind: r.u32(12)?,
            })
        })
    }

    /// Where the part whose offset and length stand at `at` in the header is, in bytes from the start;
    /// `None` if the header is older than the part, or the part empty.
    fn range(&self, at: usize, what: &'static str) -> Result<Option<(usize, usize)>, BtfError> {
        if self.header < at + 8 {
            return Ok(None);
        }
        let size = self.data.data.len() as u64;
        let cut = |end| BtfError::Truncated { what, end, size };
        let (offset, length) = self
            .data
            .u32(at)
            .zip(self.data.u32(at + 4))
            .ok_or_else(|| cut(at as u64 + 8))?;
        if length == 0 {
            return Ok(None);
        }
        let start = self.header as u64 + u64::from(offset);
        let end = start + u64::from(length);
        match (usize::try_from(start), usize::try_from(end)) {
            (Ok(start), Ok(_)) if end <= size => Ok(Some((start, length as usize))),
            _ => Err(cut(end)),
        }
    }

    fn part<T>(
        &self,
        at: usize,
        what: &'static str,
        at_least: usize,
        read: fn(Bytes<'a>) -> Option<T>,
    ) -> Result<Records<'a, T>, BtfError> {
        let mut records = Records {
            data: self.data,
            at: 0,
            end: 0,
            record: at_least,
            left: 0,
            section: 0,
            what,
            read,
        };
        let Some((start, length)) = self.range(at, what)? else {
            return Ok(records);
        };
        let size = self.data.u32(start).filter(|_| length >= 4).unwrap_or(0) as usize;
        if size < at_least {
            return Err(BtfError::Malformed {
                what,
                detail: format!("records of {size} bytes, at least {at_least} are needed"),
            });
        }
        (records.at, records.end, records.record) = (start + 4, start + length, size);
        Ok(records)
    }
}

/// Records of one part of `.BTF.ext`, each with the offset of its section's name. Ends after an error.
pub struct Records<'a, T> {
    data: Bytes<'a>,
    at: usize,
    end: usize,
    record: usize,
    left: u32,
    section: u32,
    what: &'static str,
    read: fn(Bytes<'a>) -> Option<T>,
}

impl<T> Records<'_, T> {
    fn cut(&mut self) -> BtfError {
        let error = BtfError::Truncated {
            what: self.what,
            end: (self.at + self.record) as u64,
            size: self.end as u64,
        };
        self.at = self.end;
        self.left = 0;
        error
    }
}

impl<T> Iterator for Records<'_, T> {
    type Item = Result<(u32, T), BtfError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.left == 0 {
            if self.at >= self.end {
                return None;
            }
            let head = self.data.slice(self.at, 8).filter(|_| self.at + 8 <= self.end);
            let Some((section, count)) = head.and_then(|h| h.u32(0).zip(h.u32(4))) else {
                return Some(Err(self.cut()));
            };
            (self.section, self.left) = (section, count);
            self.at += 8;
        }
        let record = match self.at.checked_add(self.record) {
            Some(end) if end <= self.end => self.data.slice(self.at, self.record),
            _ => None,
        };
        match record.and_then(self.read) {
            Some(value) => {
                self.left -= 1;
                self.at += self.record;
                Some(Ok((self.section, value)))
            }
            None => Some(Err(self.cut())),
        }
    }
}
