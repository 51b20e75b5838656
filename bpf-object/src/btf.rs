//! A compact reader of `.BTF`: as much as map definitions, externs and access strings need.
//!
//! Types are indexed once (24 bytes each); members are read from the section when asked for.

use crate::bytes::{Bytes, MAX_NAME};
use crate::error::InspectError;

const MAGIC: u16 = 0xeb9f;
/// Most types; vmlinux has some 130,000, programs have hundreds.
const MAX_TYPES: usize = 1 << 20;
/// Deepest chain of typedefs, qualifiers and arrays that is followed.
const MAX_DEPTH: usize = 32;

/// Kind of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Void,
    Int,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    /// const, volatile, restrict, type tag.
    Modifier,
    Func,
    FuncProto,
    Var,
    Datasec,
    Float,
    DeclTag,
    Enum64,
}

#[derive(Clone, Copy)]
pub(crate) struct Type {
    pub(crate) kind: Kind,
    name_offset: u32,
    /// Count of members, enumerators, parameters or variables.
    pub(crate) vlen: u16,
    /// A size in bytes or a type id, as the kind says.
    pub(crate) size_or_type: u32,
    /// Where the kind's extra data begins.
    extra: u32,
}

/// A member of a struct or union.
pub(crate) struct Member<'a> {
    pub(crate) name: &'a str,
    pub(crate) type_id: u32,
}

pub(crate) struct Btf<'a> {
    strings: Bytes<'a>,
    types_data: Bytes<'a>,
    /// By type id; 0 is void.
    types: Vec<Type>,
}

impl<'a> Btf<'a> {
    pub(crate) fn parse(data: Bytes<'a>) -> Result<Self, InspectError> {
        let bad = |detail: &str| InspectError::malformed("section .BTF", detail);
        let word = |at| data.u32(at).ok_or_else(|| bad("its header is cut off"));
        if data.u16(0) != Some(MAGIC) {
            return Err(bad(
                "it does not begin with BTF's magic number in the object's byte order",
            ));
        }
        let part = |offset: u32, length: u32, what: &str| {
            let start = u64::from(word(4)?) + u64::from(offset);
            let range = usize::try_from(start).ok().zip(usize::try_from(length).ok());
            range
                .and_then(|(at, len)| data.slice(at, len))
                .ok_or_else(|| bad(&format!("its {what} are cut off")))
        };
        let types_data = part(word(8)?, word(12)?, "types")?;
        let strings = part(word(16)?, word(20)?, "strings")?;
        let types = index_types(types_data)?;
        Ok(Btf {
            strings,
            types_data,
            types,
        })
    }

    /// The string at an offset of the string table, cut to [`MAX_NAME`] bytes.
    pub(crate) fn string(&self, offset: u32) -> Option<&'a str> {
        self.string_cut(offset, MAX_NAME)
    }

    /// The same with another bound.
    pub(crate) fn string_cut(&self, offset: u32, max: usize) -> Option<&'a str> {
        self.strings.string(usize::try_from(offset).ok()?, max)
    }

    pub(crate) fn get(&self, id: u32) -> Option<Type> {
        self.types.get(usize::try_from(id).ok()?).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Type> + '_ {
        self.types.iter().copied()
    }

    /// Name of a type; empty if it has none.
    pub(crate) fn name(&self, t: Type) -> &'a str {
        self.string(t.name_offset).unwrap_or("")
    }

    /// The type under typedefs and qualifiers.
    pub(crate) fn resolve(&self, id: u32) -> Option<(u32, Type)> {
        let mut id = id;
        for _ in 0..MAX_DEPTH {
            let t = self.get(id)?;
            match t.kind {
                Kind::Typedef | Kind::Modifier => id = t.size_or_type,
                _ => return Some((id, t)),
            }
        }
        None
    }

    /// Member `index` of a struct or union.
    pub(crate) fn member(&self, t: Type, index: usize) -> Option<Member<'a>> {
        if !matches!(t.kind, Kind::Struct | Kind::Union) || index >= usize::from(t.vlen) {
            return None;
        }
        let at = usize::try_from(t.extra).ok()?.checked_add(index * 12)?;
        Some(Member {
            name: self.string(self.types_data.u32(at)?).unwrap_or(""),
            type_id: self.types_data.u32(at + 4)?,
        })
    }

    /// Name of enumerator `index`.
    pub(crate) fn enumerator(&self, t: Type, index: usize) -> Option<&'a str> {
        let size = match t.kind {
            Kind::Enum => 8,
            Kind::Enum64 => 12,
            _ => return None,
        };
        if index >= usize::from(t.vlen) {
            return None;
        }
        let at = usize::try_from(t.extra).ok()?.checked_add(index * size)?;
        self.string(self.types_data.u32(at)?)
    }

    /// Type ids of a data section's variables, in order.
    pub(crate) fn variables(&self, t: Type) -> impl Iterator<Item = u32> + '_ {
        let count = if t.kind == Kind::Datasec {
            usize::from(t.vlen)
        } else {
            0
        };
        (0..count).filter_map(move |i| {
            self.types_data
                .u32(usize::try_from(t.extra).ok()?.checked_add(i * 12)?)
        })
    }

    /// Element type and length of an array.
    pub(crate) fn array(&self, t: Type) -> Option<(u32, u32)> {
        if t.kind != Kind::Array {
            return None;
        }
        let at = usize::try_from(t.extra).ok()?;
        Some((self.types_data.u32(at)?, self.types_data.u32(at + 8)?))
    }

    /// Size of a value in bytes.
    pub(crate) fn size(&self, id: u32) -> Option<u64> {
        let mut id = id;
        let mut factor = 1u64;
        for _ in 0..MAX_DEPTH {
            let (_, t) = self.resolve(id)?;
            let one = match t.kind {
                Kind::Int | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Float => {
                    u64::from(t.size_or_type)
                }
                // Pointers of the eBPF machine.
                Kind::Ptr => 8,
                Kind::Array => {
                    let (element, length) = self.array(t)?;
                    factor = factor.checked_mul(u64::from(length))?;
                    id = element;
                    continue;
                }
                _ => return None,
            };
            return factor.checked_mul(one);
        }
        None
    }
}

fn index_types(data: Bytes<'_>) -> Result<Vec<Type>, InspectError> {
    let bad = |at: usize, detail: &str| {
        InspectError::malformed("section .BTF", format!("{detail} at byte {at} of its types"))
    };
    let mut types = vec![Type {
        kind: Kind::Void,
        name_offset: 0,
        vlen: 0,
        size_or_type: 0,
        extra: 0,
    }];
    let mut at = 0usize;
    while at < data.len() {
        let (Some(name_offset), Some(info), Some(size_or_type)) =
            (data.u32(at), data.u32(at + 4), data.u32(at + 8))
        else {
            return Err(bad(at, "a type is cut off"));
        };
        let vlen = u16::try_from(info & 0xffff).unwrap_or(u16::MAX);
        let number = (info >> 24) & 0x1f;
        let (kind, each, fixed) =
            layout(number).ok_or_else(|| bad(at, &format!("a type of unknown kind {number}")))?;
        let extra = at + 12;
        let end = extra + each * usize::from(vlen) + fixed;
        if end > data.len() {
            return Err(bad(at, "a type is cut off"));
        }
        if types.len() > MAX_TYPES {
            return Err(InspectError::too_many("section .BTF", types.len(), MAX_TYPES));
        }
        let extra = u32::try_from(extra).map_err(|e| InspectError::malformed("section .BTF", e))?;
        types.push(Type {
            kind,
            name_offset,
            vlen,
            size_or_type,
            extra,
        });
        at = end;
    }
    Ok(types)
}

/// Kind, bytes per member and further bytes of each kind number.
fn layout(number: u32) -> Option<(Kind, usize, usize)> {
    Some(match number {
        1 => (Kind::Int, 0, 4),
        2 => (Kind::Ptr, 0, 0),
        3 => (Kind::Array, 0, 12),
        4 => (Kind::Struct, 12, 0),
        5 => (Kind::Union, 12, 0),
        6 => (Kind::Enum, 8, 0),
        7 => (Kind::Fwd, 0, 0),
        8 => (Kind::Typedef, 0, 0),
        9 | 10 | 11 | 18 => (Kind::Modifier, 0, 0),
        12 => (Kind::Func, 0, 0),
        13 => (Kind::FuncProto, 8, 0),
        14 => (Kind::Var, 0, 4),
        15 => (Kind::Datasec, 12, 0),
        16 => (Kind::Float, 0, 0),
        17 => (Kind::DeclTag, 0, 4),
        19 => (Kind::Enum64, 12, 0),
        _ => return None,
    })
}
