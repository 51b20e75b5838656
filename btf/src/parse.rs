//! [`Btf`]: opening BTF is one pass over its types, everything else is read when asked for.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use crate::bytes::{self, Bytes};
use crate::endian::Endian;
use crate::error::BtfError;
use crate::index::NameIndex;
use crate::kind;
use crate::types::Type;

const MAGIC: u16 = 0xeb9f;
/// Length of the oldest header, which newer ones begin with.
const HEADER: usize = 24;
/// Longest name that is found, in bytes. The kernel's symbols have at most 512.
const MAX_NAME: usize = 4096;
/// Most base BTFs below one another; a module has one.
const MAX_BASES: usize = 4;

/// BTF, opened. Ids and string offsets of split BTF (a module's) go on where its base's end.
pub struct Btf<'a> {
    data: Cow<'a, [u8]>,
    endian: Endian,
    strings: (usize, usize),
    /// Where each own type begins in `data`; the first is type `first_id`.
    offsets: Vec<u32>,
    first_id: u32,
    first_string: u32,
    base: Option<Arc<Btf<'a>>>,
    names: OnceLock<NameIndex>,
    pointer_size: OnceLock<u32>,
}

impl<'a> Btf<'a> {
    /// Opens BTF that stands for itself: a kernel's or an object's, in either byte order.
    ///
    /// # Errors
    /// What is wrong with it. References between types are checked when they are followed.
    pub fn parse(data: impl Into<Cow<'a, [u8]>>) -> Result<Self, BtfError> {
        Self::open(data.into(), None)
    }

    /// Opens BTF of a module, which goes on where its kernel's ends.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse_split(data: impl Into<Cow<'a, [u8]>>, base: Arc<Btf<'a>>) -> Result<Self, BtfError> {
        Self::open(data.into(), Some(base))
    }

    fn open(data: Cow<'a, [u8]>, base: Option<Arc<Btf<'a>>>) -> Result<Self, BtfError> {
        let header = Header::read(&data)?;
        let own_strings = data.get(header.strings.0..header.strings.1).unwrap_or(&[]);
        let (first_id, first_string) = match &base {
            None => (1, 0),
            Some(base) => {
                if base.endian != header.endian {
                    return Err(BtfError::MixedEndian);
                }
                let depth = std::iter::successors(Some(base), |b| b.base.as_ref()).count();
                if depth > MAX_BASES {
                    return Err(BtfError::TooMany {
                        what: "bases",
                        size: depth as u64,
                        limit: MAX_BASES as u64,
                    });
                }
                (base.len(), base.string_end())
            }
        };
        let ends = own_strings.last() == Some(&0);
        let begins = own_strings.first() == Some(&0);
        if !(ends && begins || base.is_some() && (ends || own_strings.is_empty())) {
            return Err(BtfError::Strings {
                split_alone: base.is_none() && ends,
            });
        }
        let offsets = offsets(&data, &header, first_id)?;
        Ok(Btf {
            data,
            endian: header.endian,
            strings: header.strings,
            offsets,
            first_id,
            first_string,
            base,
            names: OnceLock::new(),
            pointer_size: OnceLock::new(),
        })
    }

    /// Its byte order.
    pub fn endian(&self) -> Endian {
        self.endian
    }

    /// How many ids there are: void, the base's types and its own. Ids are below this.
    pub fn len(&self) -> u32 {
        self.first_id
            .saturating_add(u32::try_from(self.offsets.len()).unwrap_or(u32::MAX))
    }

    /// Whether it has no type of its own.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Id of the first type of its own: 1, or the first after the base's.
    pub fn first_id(&self) -> u32 {
        self.first_id
    }

    /// The BTF below this one.
    pub fn base(&self) -> Option<&Btf<'a>> {
        self.base.as_deref()
    }

    /// The bytes that it was opened from.
    pub fn bytes(&self) -> &[u8] {
        &self.data
    }

    /// Its own strings, each with its NUL.
    pub fn strings(&self) -> &[u8] {
        self.data.get(self.strings.0..self.strings.1).unwrap_or(&[])
    }

    /// Where strings of split BTF on top of this one begin.
    fn string_end(&self) -> u32 {
        let own = u32::try_from(self.strings().len()).unwrap_or(u32::MAX);
        self.first_string.saturating_add(own)
    }

    /// A type by its id; void is 0.
    #[inline]
    pub fn get(&self, id: u32) -> Option<Type<'_>> {
        if id == 0 {
            return Some(Type::void(self));
        }
        let Some(own) = id.checked_sub(self.first_id) else {
            return self.base.as_ref()?.get(id);
        };
        let at = *self.offsets.get(own as usize)? as usize;
        Type::read(self, Bytes::new(&self.data, self.endian), id, at)
    }

    /// Its own types, by id. Those of the base are the base's.
    pub fn types(&self) -> impl Iterator<Item = Type<'_>> + '_ {
        (self.first_id..self.len()).filter_map(|id| self.get(id))
    }

    /// The string at an offset, without its NUL; `None` if there is none, or it is over 4096 bytes long.
    #[inline]
    pub fn string(&self, offset: u32) -> Option<&[u8]> {
        self.string_within(offset, MAX_NAME)
    }

    /// The same with another bound in bytes.
    pub fn string_within(&self, offset: u32, max: usize) -> Option<&[u8]> {
        match offset.checked_sub(self.first_string) {
            Some(own) => bytes::string(self.strings(), own as usize, max),
            None => self.base.as_ref()?.string_within(offset, max),
        }
    }

    /// The string at an offset as text; empty if there is none or it is not UTF-8.
    pub fn text(&self, offset: u32) -> &str {
        self.string(offset)
            .and_then(|s| std::str::from_utf8(s).ok())
            .unwrap_or("")
    }

    /// Ids of its own types whose name without flavour is `name`, ascending. Functions, variables,
    /// sections and tags are not among them.
    pub fn candidates<'b>(&'b self, name: &'b [u8]) -> impl Iterator<Item = u32> + 'b {
        self.names.get_or_init(|| NameIndex::new(self)).find(self, name)
    }

    /// The own type of this kind and exact name with the lowest id, else one of the base's.
    pub fn find(&self, kind: kind::Kind, name: &[u8]) -> Option<Type<'_>> {
        use kind::Kind as K;
        let fits = |t: &Type<'_>| t.kind() == kind && t.name_bytes() == name;
        if let Some(base) = &self.base
            && let Some(found) = base.find(kind, name)
        {
            return Some(found);
        }
        if matches!(kind, K::Func | K::Var | K::Datasec | K::DeclTag) {
            return self.types().find(fits);
        }
        self.candidates(crate::name::essential(name))
            .filter_map(|id| self.get(id))
            .find(fits)
    }

    pub(crate) fn pointer_size_cell(&self) -> &OnceLock<u32> {
        &self.pointer_size
    }

    pub(crate) fn own_offsets(&self) -> &[u32] {
        &self.offsets
    }
}

/// Where the parts are, in bytes from the start: begin and end.
struct Header {
    endian: Endian,
    types: (usize, usize),
    strings: (usize, usize),
}

impl Header {
    fn read(data: &[u8]) -> Result<Self, BtfError> {
        let endian = match data.first_chunk::<2>() {
            Some(raw) if u16::from_le_bytes(*raw) == MAGIC => Endian::Little,
            Some(raw) if u16::from_be_bytes(*raw) == MAGIC => Endian::Big,
            _ => return Err(BtfError::NotBtf),
        };
        let bytes = Bytes::new(data, endian);
        let word = |at| {
            bytes.u32(at).ok_or(BtfError::Truncated {
                what: "header's fields",
                end: HEADER as u64,
                size: data.len() as u64,
            })
        };
        let version = data.get(2).copied().unwrap_or(0);
        if version != 1 {
            return Err(BtfError::Version(version));
        }
        let length = word(4)?;
        if (length as usize) < HEADER {
            return Err(BtfError::Malformed {
                what: "its header",
                detail: format!("{length} bytes long, at least {HEADER} are needed"),
            });
        }
        let part = |offset: u32, size: u32, what| {
            let start = u64::from(length) + u64::from(offset);
            let end = start + u64::from(size);
            match (usize::try_from(start), usize::try_from(end)) {
                (Ok(start), Ok(end)) if end <= data.len() => Ok((start, end)),
                _ => Err(BtfError::Truncated {
                    what,
                    end,
                    size: data.len() as u64,
                }),
            }
        };
        Ok(Header {
            endian,
            types: part(word(8)?, word(12)?, "types")?,
            strings: part(word(16)?, word(20)?, "strings")?,
        })
    }
}

/// Where each type begins: the one pass.
fn offsets(data: &[u8], header: &Header, first_id: u32) -> Result<Vec<u32>, BtfError> {
    let (start, end) = header.types;
    let bytes = Bytes::new(data.get(..end).unwrap_or(data), header.endian);
    // Offsets are kept in 32 bits, and so are ids.
    if u32::try_from(end).is_err() || u32::try_from(end / 12 + first_id as usize).is_err() {
        return Err(BtfError::TooMany {
            what: "bytes of types",
            size: end as u64,
            limit: u64::from(u32::MAX / 2),
        });
    }
    // A kernel's types have some 28 bytes in the mean.
    let mut offsets = Vec::with_capacity((end - start) / 26);
    let mut at = start;
    while at < end {
        let cut = |next: usize| BtfError::Truncated {
            what: "types",
            end: next as u64,
            size: end as u64,
        };
        let info = bytes.u32(at + 4).ok_or_else(|| cut(at + 12))?;
        let size = kind::size(info).ok_or_else(|| BtfError::UnknownKind {
            id: first_id.saturating_add(u32::try_from(offsets.len()).unwrap_or(u32::MAX)),
            kind: kind::number(info),
        })?;
        let next = at + size;
        if next > end {
            return Err(cut(next));
        }
        // It fits: `end` does.
        offsets.push(at as u32);
        at = next;
    }
    Ok(offsets)
}
