//! Kinds of types, and how each is laid out (include/uapi/linux/btf.h).

use std::fmt;

/// Deepest chain of typedefs, qualifiers and arrays that is followed (libbpf's MAX_RESOLVE_DEPTH).
pub(crate) const MAX_DEPTH: usize = 32;

/// Kind of a type: `BTF_KIND_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// No type; id 0.
    Void = 0,
    /// An integer, a character or a bool.
    Int = 1,
    /// A pointer.
    Ptr = 2,
    /// An array.
    Array = 3,
    /// A struct.
    Struct = 4,
    /// A union.
    Union = 5,
    /// An enum of at most 4 bytes.
    Enum = 6,
    /// A struct or union that is declared and not defined.
    Fwd = 7,
    /// A typedef.
    Typedef = 8,
    /// `volatile`.
    Volatile = 9,
    /// `const`.
    Const = 10,
    /// `restrict`.
    Restrict = 11,
    /// A function.
    Func = 12,
    /// A function's parameters and what it returns.
    FuncProto = 13,
    /// A variable.
    Var = 14,
    /// A section of variables, or of extern functions.
    Datasec = 15,
    /// A floating-point number.
    Float = 16,
    /// A note on a declaration (`btf_decl_tag`).
    DeclTag = 17,
    /// A note on a type (`btf_type_tag`: `__rcu`, `__user`).
    TypeTag = 18,
    /// An enum of 8 bytes.
    Enum64 = 19,
}

/// Kind, bytes per element and fixed bytes after the 12 that each type has.
const LAYOUT: [(Kind, u8, u8); 20] = [
    (Kind::Void, 0, 0),
    (Kind::Int, 0, 4),
    (Kind::Ptr, 0, 0),
    (Kind::Array, 0, 12),
    (Kind::Struct, 12, 0),
    (Kind::Union, 12, 0),
    (Kind::Enum, 8, 0),
    (Kind::Fwd, 0, 0),
    (Kind::Typedef, 0, 0),
    (Kind::Volatile, 0, 0),
    (Kind::Const, 0, 0),
    (Kind::Restrict, 0, 0),
    (Kind::Func, 0, 0),
    (Kind::FuncProto, 8, 0),
    (Kind::Var, 0, 4),
    (Kind::Datasec, 12, 0),
    (Kind::Float, 0, 0),
    (Kind::DeclTag, 0, 4),
    (Kind::TypeTag, 0, 0),
    (Kind::Enum64, 12, 0),
];

/// How many bytes a type of a kind has.
#[derive(Clone, Copy)]
struct Size {
    /// Without its elements; 0 for a number that is no kind.
    fixed: u32,
    /// All ones if an element has 12 bytes.
    twelve: u32,
    /// All ones if an element has 8 bytes.
    eight: u32,
}

/// The same by the five bits of a kind, with masks in place of a product: where the next type begins is
/// what opening waits for.
const SIZES: [Size; 32] = {
    let nothing = Size {
        fixed: 0,
        twelve: 0,
        eight: 0,
    };
    let mut sizes = [nothing; 32];
    let mut number = 1;
    while number < LAYOUT.len() {
        let (_, each, fixed) = LAYOUT[number];
        sizes[number] = Size {
            fixed: 12 + fixed as u32,
            twelve: if each == 12 { u32::MAX } else { 0 },
            eight: if each == 8 { u32::MAX } else { 0 },
        };
        number += 1;
    }
    sizes
};

/// Number of a type's kind.
#[inline]
pub(crate) fn number(info: u32) -> u32 {
    (info >> 24) & 0x1f
}

/// How many elements a type has (or a function's linkage).
#[inline]
pub(crate) fn vlen(info: u32) -> u32 {
    info & 0xffff
}

/// Bytes of a whole type; `None` for a kind that is not known.
#[inline]
pub(crate) fn size(info: u32) -> Option<usize> {
    // Five bits: always within the table.
    let size = SIZES[(number(info) & 31) as usize];
    if size.fixed == 0 {
        return None;
    }
    let count = vlen(info);
    Some((size.fixed + ((count * 12) & size.twelve) + ((count * 8) & size.eight)) as usize)
}

/// Kinds that are looked up by name, as bits.
const LOOKED_UP: u32 = 1 << Kind::Int as u32
    | 1 << Kind::Struct as u32
    | 1 << Kind::Union as u32
    | 1 << Kind::Enum as u32
    | 1 << Kind::Fwd as u32
    | 1 << Kind::Typedef as u32
    | 1 << Kind::Float as u32
    | 1 << Kind::Enum64 as u32;

/// 1 for a kind that CO-RE looks up by name, else 0: the others are most of a kernel's types.
#[inline]
pub(crate) fn looked_up(info: u32) -> u32 {
    LOOKED_UP >> number(info) & 1
}

impl Kind {
    pub(crate) fn from_info(info: u32) -> Kind {
        LAYOUT.get(number(info) as usize).map_or(Kind::Void, |l| l.0)
    }

    /// Typedefs and qualifiers, which do not change how a value is read.
    pub fn is_modifier(self) -> bool {
        matches!(
            self,
            Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag
        )
    }

    /// Struct or union.
    pub fn is_composite(self) -> bool {
        matches!(self, Kind::Struct | Kind::Union)
    }

    /// Enum of either size.
    pub fn is_enum(self) -> bool {
        matches!(self, Kind::Enum | Kind::Enum64)
    }

    /// As C spells it where it does.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Void => "void",
            Kind::Int => "int",
            Kind::Ptr => "pointer",
            Kind::Array => "array",
            Kind::Struct => "struct",
            Kind::Union => "union",
            Kind::Enum | Kind::Enum64 => "enum",
            Kind::Fwd => "forward declaration",
            Kind::Typedef => "typedef",
            Kind::Volatile => "volatile",
            Kind::Const => "const",
            Kind::Restrict => "restrict",
            Kind::Func => "function",
            Kind::FuncProto => "function prototype",
            Kind::Var => "variable",
            Kind::Datasec => "data section",
            Kind::Float => "float",
            Kind::DeclTag => "declaration tag",
            Kind::TypeTag => "type tag",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who sees a function or variable: `BTF_FUNC_*`, `BTF_VAR_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Linkage {
    /// This object only.
    Static,
    /// Others too.
    Global,
    /// Defined elsewhere.
    Extern,
    /// A number that is not known.
    Other(u32),
}

impl Linkage {
    pub(crate) fn from_raw(raw: u32) -> Self {
        match raw {
            0 => Linkage::Static,
            1 => Linkage::Global,
            2 => Linkage::Extern,
            other => Linkage::Other(other),
        }
    }

    pub(crate) fn raw(self) -> u32 {
        match self {
            Linkage::Static => 0,
            Linkage::Global => 1,
            Linkage::Extern => 2,
            Linkage::Other(raw) => raw,
        }
    }
}
