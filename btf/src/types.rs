//! [`Type`]: one type, read in place.

use std::fmt;

use crate::bytes::Bytes;
use crate::kind::{self, Kind, Linkage};
use crate::parse::Btf;

/// A type, seen in its BTF. Everything is read when asked for; what is cut off or of another kind gives
/// `None` or nothing.
#[derive(Clone, Copy)]
pub struct Type<'b> {
    btf: &'b Btf<'b>,
    id: u32,
    name: u32,
    info: u32,
    size_or_type: u32,
    /// What follows the 12 bytes that every type has.
    rest: Bytes<'b>,
}

/// A member of a struct or union.
#[derive(Clone, Copy)]
pub struct Member<'b> {
    btf: &'b Btf<'b>,
    name: u32,
    /// Its type.
    pub type_id: u32,
    /// Where it begins, in bits from the start of the struct.
    pub bit_offset: u32,
    /// Its width in bits if it is a bit field that says so itself, else 0.
    pub bit_size: u32,
}

/// A name of an enum.
#[derive(Clone, Copy)]
pub struct Enumerator<'b> {
    btf: &'b Btf<'b>,
    name: u32,
    /// Its value; of a signed 4-byte enum the sign is extended.
    pub value: i64,
}

/// A parameter of a function prototype.
#[derive(Clone, Copy)]
pub struct Parameter<'b> {
    btf: &'b Btf<'b>,
    name: u32,
    /// Its type; 0 for the `...` at the end.
    pub type_id: u32,
}

/// An array's element and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Array {
    /// Type of an element.
    pub element: u32,
    /// Type of the index.
    pub index: u32,
    /// How many elements; 0 if it is left open.
    pub length: u32,
}

/// A variable or function in a data section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Variable {
    /// The [`Kind::Var`], or [`Kind::Func`] among externs.
    pub type_id: u32,
    /// Where it begins in the section, in bytes.
    pub offset: u32,
    /// Its size in bytes.
    pub size: u32,
}

/// How an integer is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntEncoding {
    /// It has a sign.
    pub signed: bool,
    /// It is a character.
    pub char: bool,
    /// It is a bool.
    pub bool: bool,
    /// The four bits of its encoding as they are.
    pub raw: u8,
    /// Where it begins in its storage, in bits: not 0 for old-style bit fields only.
    pub offset: u8,
    /// Its width in bits.
    pub bits: u8,
}

impl<'b> Type<'b> {
    pub(crate) fn void(btf: &'b Btf<'b>) -> Self {
        Type {
            btf,
            id: 0,
            name: 0,
            info: 0,
            size_or_type: 0,
            rest: Bytes::new(&[], btf.endian()),
        }
    }

    #[inline]
    pub(crate) fn read(btf: &'b Btf<'_>, data: Bytes<'b>, id: u32, at: usize) -> Option<Self> {
        let info = data.u32(at + 4)?;
        Some(Type {
            btf,
            id,
            name: data.u32(at)?,
            info,
            size_or_type: data.u32(at + 8)?,
            rest: data.slice(at + 12, kind::size(info)?.checked_sub(12)?)?,
        })
    }

    /// The BTF that it stands in (for a type of the base: the base).
    pub fn btf(&self) -> &'b Btf<'b> {
        self.btf
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        Kind::from_info(self.info)
    }

    /// Its name as bytes; empty if it has none.
    #[inline]
    pub fn name_bytes(&self) -> &'b [u8] {
        self.btf.string(self.name).unwrap_or(&[])
    }

    /// Its name; empty if it has none.
    pub fn name(&self) -> &'b str {
        self.btf.text(self.name)
    }

    /// Where its name stands among the strings.
    pub fn name_offset(&self) -> u32 {
        self.name
    }

    /// How many members, enumerators, parameters or variables it has.
    pub fn count(&self) -> u32 {
        match self.kind() {
            Kind::Func => 0,
            _ => kind::vlen(self.info),
        }
    }

    /// The flag in its info word: bit fields say their size in a struct, values are signed in an enum,
    /// a forward declaration is of a union, a tag is an attribute.
    pub fn flag(&self) -> bool {
        self.info >> 31 != 0
    }

    /// The third word as it is: a size in bytes or a type, as the kind says.
    pub fn size_or_type(&self) -> u32 {
        self.size_or_type
    }

    /// The type that it points to, is another name of, returns, or is a variable of.
    pub fn target(&self) -> Option<u32> {
        match self.kind() {
            Kind::Ptr
            | Kind::Typedef
            | Kind::Volatile
            | Kind::Const
            | Kind::Restrict
            | Kind::TypeTag
            | Kind::Func
            | Kind::FuncProto
            | Kind::Var
            | Kind::DeclTag => Some(self.size_or_type),
            _ => None,
        }
    }

    /// The size that it says itself, in bytes: of an integer, float, enum, struct, union or section.
    pub fn own_size(&self) -> Option<u32> {
        match self.kind() {
            Kind::Int
            | Kind::Float
            | Kind::Enum
            | Kind::Enum64
            | Kind::Struct
            | Kind::Union
            | Kind::Datasec => Some(self.size_or_type),
            _ => None,
        }
    }

    /// This type without typedefs and qualifiers; `None` if they do not end within 32 steps, or lead
    /// nowhere.
    #[inline]
    pub fn resolved(self) -> Option<Type<'b>> {
        let mut t = self;
        for _ in 0..=crate::kind::MAX_DEPTH {
            if !t.kind().is_modifier() {
                return Some(t);
            }
            t = self.btf.get(t.size_or_type)?;
        }
        None
    }

    /// Member `index` of a struct or union.
    #[inline]
    pub fn member(&self, index: u32) -> Option<Member<'b>> {
        if !self.kind().is_composite() {
            return None;
        }
        let at = (index as usize).checked_mul(12)?;
        let raw = self.rest.u32(at + 8)?;
        let (bit_size, bit_offset) = if self.flag() {
            (raw >> 24, raw & 0x00ff_ffff)
        } else {
            (0, raw)
        };
        Some(Member {
            btf: self.btf,
            name: self.rest.u32(at)?,
            type_id: self.rest.u32(at + 4)?,
            bit_offset,
            bit_size,
        })
    }

    /// Members of a struct or union, in order.
    pub fn members(self) -> impl Iterator<Item = Member<'b>> {
        let count = if self.kind().is_composite() {
            self.count()
        } else {
            0
        };
        (0..count).map_while(move |i| self.member(i))
    }

    /// Enumerator `index` of an enum.
    #[inline]
    pub fn enumerator(&self, index: u32) -> Option<Enumerator<'b>> {
        let index = index as usize;
        let (name, value) = match self.kind() {
            Kind::Enum => {
                let at = index.checked_mul(8)?;
                let raw = self.rest.u32(at + 4)?;
                let value = if self.flag() {
                    i64::from(raw.cast_signed())
                } else {
                    i64::from(raw)
                };
                (self.rest.u32(at)?, value)
            }
            Kind::Enum64 => {
                let at = index.checked_mul(12)?;
                let (low, high) = (self.rest.u32(at + 4)?, self.rest.u32(at + 8)?);
                let value = u64::from(low) | u64::from(high) << 32;
                (self.rest.u32(at)?, value.cast_signed())
            }
            _ => return None,
        };
        Some(Enumerator {
            btf: self.btf,
            name,
            value,
        })
    }

    /// Enumerators, in order.
    pub fn enumerators(self) -> impl Iterator<Item = Enumerator<'b>> {
        let count = if self.kind().is_enum() { self.count() } else { 0 };
        (0..count).map_while(move |i| self.enumerator(i))
    }

    /// Parameters of a function prototype, in order.
    pub fn parameters(self) -> impl Iterator<Item = Parameter<'b>> {
        let count = if self.kind() == Kind::FuncProto {
            self.count()
        } else {
            0
        };
        (0..count as usize).map_while(move |i| {
            Some(Parameter {
                btf: self.btf,
                name: self.rest.u32(i * 8)?,
                type_id: self.rest.u32(i * 8 + 4)?,
            })
        })
    }

    /// Variables of a data section, in order.
    pub fn variables(self) -> impl Iterator<Item = Variable> + 'b {
        let count = if self.kind() == Kind::Datasec {
            self.count()
        } else {
            0
        };
        (0..count as usize).map_while(move |i| {
            Some(Variable {
                type_id: self.rest.u32(i * 12)?,
                offset: self.rest.u32(i * 12 + 4)?,
                size: self.rest.u32(i * 12 + 8)?,
            })
        })
    }

    /// Element and length of an array.
    pub fn array(&self) -> Option<Array> {
        if self.kind() != Kind::Array {
            return None;
        }
        Some(Array {
            element: self.rest.u32(0)?,
            index: self.rest.u32(4)?,
            length: self.rest.u32(8)?,
        })
    }

    /// How an integer is read.
    pub fn int(&self) -> Option<IntEncoding> {
        if self.kind() != Kind::Int {
            return None;
        }
        let word = self.rest.u32(0)?;
        let raw = (word >> 24 & 0x0f) as u8;
        Some(IntEncoding {
            signed: raw & 1 != 0,
            char: raw & 2 != 0,
            bool: raw & 4 != 0,
            raw,
            offset: (word >> 16 & 0xff) as u8,
            bits: (word & 0xff) as u8,
        })
    }

    /// Who sees a function or variable.
    pub fn linkage(&self) -> Option<Linkage> {
        match self.kind() {
            Kind::Func => Some(Linkage::from_raw(kind::vlen(self.info))),
            Kind::Var => Some(Linkage::from_raw(self.rest.u32(0)?)),
            _ => None,
        }
    }

    /// The member or parameter that a declaration tag is for; −1 for the declaration itself.
    pub fn component(&self) -> Option<i32> {
        match self.kind() {
            Kind::DeclTag => self.rest.u32(0).map(u32::cast_signed),
            _ => None,
        }
    }
}

impl<'b> Member<'b> {
    /// Whether it says that it has a name.
    pub fn has_name(&self) -> bool {
        self.name != 0
    }

    /// Its name as bytes; empty for an anonymous struct or union.
    #[inline]
    pub fn name_bytes(&self) -> &'b [u8] {
        self.btf.string(self.name).unwrap_or(&[])
    }

    /// Its name; empty for an anonymous struct or union.
    pub fn name(&self) -> &'b str {
        self.btf.text(self.name)
    }
}

impl<'b> Enumerator<'b> {
    /// Its name as bytes.
    pub fn name_bytes(&self) -> &'b [u8] {
        self.btf.string(self.name).unwrap_or(&[])
    }

    /// Its name.
    pub fn name(&self) -> &'b str {
        self.btf.text(self.name)
    }
}

impl<'b> Parameter<'b> {
    /// Its name as bytes; empty if it has none.
    pub fn name_bytes(&self) -> &'b [u8] {
        self.btf.string(self.name).unwrap_or(&[])
    }

    /// Its name; empty if it has none.
    pub fn name(&self) -> &'b str {
        self.btf.text(self.name)
    }
}

impl fmt::Debug for Type<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {} {:?}", self.id, self.kind(), self.name())
    }
}
