//! [`Btf`]: opening BTF is one pass over its types, everything else is read when asked for.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use crate::bytes::{self, Bytes};
use crate::endian::Endian;
use crate::error::BtfError;
use crate::index::{self, NameIndex};
use crate::kind;
use crate::types::Type;

const MAGIC: u16 = 0xeb9f;
/// Length of the oldest header, which newer ones begin with.
const HEADER: usize = 24;
/// Longest name that is found, in bytes. The kernel's symbols have at most 512.
const MAX_NAME: usize = 4096;
/// Passes over the types for names before a table of them is made.
const SCANS: u32 = 2;
/// Most base BTFs below one another; a module has one.
const MAX_BASES: usize = 4;

/// BTF, opened. Ids and string offsets of split BTF (a module's) go on where its base's end.
pub struct Btf<'a> {
    data: Cow<'a, [u8]>,
    endian: Endian,
    strings: (usize, usize),
    types: (usize, usize),
    pass: Pass,
    first_id: u32,
    first_string: u32,
    base: Option<Arc<Btf<'a>>>,
    names: OnceLock<NameIndex>,
    /// How often names were looked for without a table of them.
    scans: AtomicU32,
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
        let pass = pass(&data, &header, first_id)?;
        Ok(Btf {
            data,
            endian: header.endian,
            strings: header.strings,
            types: header.types,
            pass,
            first_id,
            first_string,
            base,
            names: OnceLock::new(),
            scans: AtomicU32::new(0),
            pointer_size: OnceLock::new(),
        })
    }

    /// Its byte order.
    pub fn endian(&self) -> Endian {
        self.endian
    }

    /// How many ids there are: void, the base's types and its own. Ids are below this.
    pub fn len(&self) -> u32 {
        self.first_id.saturating_add(self.pass.count)
    }

    /// Whether it has no type of its own.
    pub fn is_empty(&self) -> bool {
        self.pass.count == 0
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
        let data = self.types_data();
        // From the start of its block on, type by type.
        let mut at = *self.pass.blocks.get((own / BLOCK) as usize)? as usize;
        for _ in 0..own % BLOCK {
            at += kind::size(data.u32(at + 4)?)?;
        }
        Type::read(self, data, id, at)
    }

    /// Everything up to the end of its types.
    #[inline]
    fn types_data(&self) -> Bytes<'_> {
        Bytes::new(self.data.get(..self.types.1).unwrap_or(&[]), self.endian)
    }

    /// Its own types, by id. Those of the base are the base's.
    pub fn types(&self) -> impl Iterator<Item = Type<'_>> + '_ {
        let data = self.types_data();
        let mut at = self.types.0;
        (self.first_id..self.len()).map_while(move |id| {
            let t = Type::read(self, data, id, at)?;
            at += kind::size(data.u32(at + 4)?)?;
            Some(t)
        })
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

    /// The same for several names, each without flavour: a list of ids for each. Cheaper for who asks once
    /// or twice.
    pub fn candidates_of(&self, names: &[&[u8]]) -> Vec<Vec<u32>> {
        let index = match self.names.get() {
            Some(index) => index,
            None if self.scans.fetch_add(1, Ordering::Relaxed) < SCANS => return index::scan(self, names),
            None => self.names.get_or_init(|| NameIndex::new(self)),
        };
        names
            .iter()
            .map(|name| index.find(self, name).collect())
            .collect()
    }

    /// Everything from a string's begin on.
    #[inline]
    pub(crate) fn string_from(&self, offset: u32) -> Option<&[u8]> {
        match offset.checked_sub(self.first_string) {
            Some(own) => self.strings().get(own as usize..),
            None => self.base.as_ref()?.string_from(offset),
        }
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
        let indexed = matches!(
            kind,
            K::Int | K::Struct | K::Union | K::Enum | K::Enum64 | K::Fwd | K::Typedef | K::Float
        );
        if !indexed || name.is_empty() {
            return self.types().find(fits);
        }
        self.candidates(crate::name::essential(name))
            .filter_map(|id| self.get(id))
            .find(fits)
    }

    pub(crate) fn pointer_size_cell(&self) -> &OnceLock<u32> {
        &self.pointer_size
    }

    /// Its own integers.
    pub(crate) fn integers(&self) -> impl Iterator<Item = Type<'_>> + '_ {
        self.pass.integers.iter().filter_map(|id| self.get(*id))
    }

    /// Ids of its own types that are looked up by name, and where their names are.
    #[inline]
    pub(crate) fn named(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let ids = (0u32..)
            .step_by(64)
            .zip(&self.pass.looked_up)
            .flat_map(|(first, word)| {
                let first = self.first_id.saturating_add(first);
                let bits = std::iter::successors(Some(*word), |left| Some(left & left.wrapping_sub(1)));
                bits.take_while(|left| *left != 0)
                    .map(move |left| first.saturating_add(left.trailing_zeros()))
            });
        ids.zip(self.pass.names.iter().copied())
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

/// Types whose begins are kept once: a type is found by walking from its block's, which costs less than
/// keeping where each of a hundred thousand begins.
const BLOCK: u32 = 16;

/// What one pass over the types finds.
#[derive(Default)]
struct Pass {
    /// How many there are.
    count: u32,
    /// Where the first of each [`BLOCK`] begins.
    blocks: Vec<u32>,
    /// A bit for each that is looked up by name, and has one.
    looked_up: Vec<u64>,
    /// Where the names of these are, in order.
    names: Vec<u32>,
    /// Ids of integers.
    integers: Vec<u32>,
}

fn pass(data: &[u8], header: &Header, first_id: u32) -> Result<Pass, BtfError> {
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
    // Once for each byte order: who reads a hundred thousand types does not ask for it at each.
    match header.endian {
        Endian::Little => walk(start, bytes, first_id, u32::from_le_bytes),
        Endian::Big => walk(start, bytes, first_id, u32::from_be_bytes),
    }
}

#[inline(always)]
fn walk(
    start: usize,
    bytes: Bytes<'_>,
    first_id: u32,
    word_of: impl Fn([u8; 4]) -> u32,
) -> Result<Pass, BtfError> {
    let data = bytes.data;
    let end = data.len();
    // A kernel's types have 20 to 24 bytes in the mean; what is not used is not touched either.
    let most = (end - start) / 18;
    let mut pass = Pass {
        blocks: Vec::with_capacity(most / BLOCK as usize + 1),
        looked_up: Vec::with_capacity(most / 64 + 1),
        names: Vec::with_capacity(most / 3),
        ..Pass::default()
    };
    let mut at = start;
    while at < end {
        let mut word = 0u64;
        // Names of up to 64 types: written whether they count or not, which spares a branch that no
        // processor foresees.
        let (mut names, mut named) = ([0u32; 64], 0usize);
        let mut bit = 0u32;
        while bit < 64 && at < end {
            if bit.is_multiple_of(BLOCK) {
                // It fits: `end` does.
                pass.blocks.push(at as u32);
            }
            let head = data.get(at..).and_then(|rest| rest.first_chunk::<8>());
            let [a, b, c, d, e, f, g, h] = *head.ok_or_else(|| cut(at + 12, end))?;
            let (name, info) = (word_of([a, b, c, d]), word_of([e, f, g, h]));
            let id = first_id.saturating_add(pass.count + bit);
            let size = kind::size(info).ok_or_else(|| BtfError::UnknownKind {
                id,
                kind: kind::number(info),
            })?;
            if kind::number(info) == kind::Kind::Int as u32 {
                pass.integers.push(id);
            }
            let counts = kind::looked_up(info) & u32::from(name != 0);
            if let Some(place) = names.get_mut(named & 63) {
                *place = name;
            }
            named += counts as usize;
            word |= u64::from(counts) << bit;
            bit += 1;
            at += size;
        }
        pass.count += bit;
        pass.looked_up.push(word);
        pass.names.extend_from_slice(names.get(..named).unwrap_or(&[]));
    }
    if at > end {
        return Err(cut(at, end));
    }
    Ok(pass)
}

fn cut(next: usize, end: usize) -> BtfError {
    BtfError::Truncated {
        what: "types",
        end: next as u64,
        size: end as u64,
    }
}
