//! Kinds of CO-RE relocations.

use std::fmt;

/// What a relocation asks about the kernel: `enum bpf_core_relo_kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CoreKind {
    /// Offset of a field in bytes.
    FieldByteOffset,
    /// Size of a field in bytes.
    FieldByteSize,
    /// Whether a field exists.
    FieldExists,
    /// Whether a field is signed.
    FieldSigned,
    /// Left shift that isolates a bit field.
    FieldLshiftU64,
    /// Right shift that isolates a bit field.
    FieldRshiftU64,
    /// Id of a type in the object's own BTF.
    TypeIdLocal,
    /// Id of a type in the kernel's BTF.
    TypeIdTarget,
    /// Whether a type exists.
    TypeExists,
    /// Size of a type in bytes.
    TypeSize,
    /// Whether an enumerator exists.
    EnumvalExists,
    /// Value of an enumerator.
    EnumvalValue,
    /// Whether a type has the same shape.
    TypeMatches,
    /// A kind that came after this was written.
    Unknown(u32),
}

impl CoreKind {
    /// The kind of a number in `.BTF.ext`.
    pub fn from_raw(raw: u32) -> Self {
        match raw {
            0 => CoreKind::FieldByteOffset,
            1 => CoreKind::FieldByteSize,
            2 => CoreKind::FieldExists,
            3 => CoreKind::FieldSigned,
            4 => CoreKind::FieldLshiftU64,
            5 => CoreKind::FieldRshiftU64,
            6 => CoreKind::TypeIdLocal,
            7 => CoreKind::TypeIdTarget,
            8 => CoreKind::TypeExists,
            9 => CoreKind::TypeSize,
            10 => CoreKind::EnumvalExists,
            11 => CoreKind::EnumvalValue,
            12 => CoreKind::TypeMatches,
            other => CoreKind::Unknown(other),
        }
    }

    /// Whether it asks about a whole type.
    pub fn is_type(self) -> bool {
        use CoreKind as K;
        matches!(
            self,
            K::TypeIdLocal | K::TypeIdTarget | K::TypeExists | K::TypeSize | K::TypeMatches
        )
    }

    /// Whether it asks about an enumerator.
    pub fn is_enumerator(self) -> bool {
        matches!(self, CoreKind::EnumvalExists | CoreKind::EnumvalValue)
    }

    /// Whether absence is an answer (0) and never an error.
    pub fn is_question(self) -> bool {
        use CoreKind as K;
        matches!(
            self,
            K::FieldExists | K::TypeExists | K::EnumvalExists | K::TypeMatches
        )
    }

    /// Whether it cannot be answered without BTF of the kernel, its own or supplied.
    pub fn needs_target_btf(self) -> bool {
        self != CoreKind::TypeIdLocal
    }
}

impl fmt::Display for CoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use CoreKind as K;
        f.write_str(match self {
            K::FieldByteOffset => "byte offset",
            K::FieldByteSize => "size",
            K::FieldExists | K::TypeExists | K::EnumvalExists => "existence",
            K::FieldSigned => "signedness",
            K::FieldLshiftU64 => "left shift",
            K::FieldRshiftU64 => "right shift",
            K::TypeIdLocal => "local type id",
            K::TypeIdTarget => "type id",
            K::TypeSize => "type size",
            K::EnumvalValue => "value",
            K::TypeMatches => "shape",
            K::Unknown(n) => return write!(f, "relocation kind {n}"),
        })
    }
}
