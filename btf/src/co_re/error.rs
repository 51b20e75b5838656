//! Why a relocation could not be decided, or not be written.

use super::CoreKind;

/// Why a relocation has no answer. Not that nothing was found: that is an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoreError {
    /// The object's own BTF does not bear what the relocation says.
    #[error("the object's own types do not fit it ({detail}); build the object again")]
    BadLocal {
        /// What does not fit.
        detail: String,
    },
    /// A kind that came after this was written.
    #[error("relocations of kind {} are not known", number(*.0))]
    UnknownKind(CoreKind),
    /// Several types of the kernel have the name, and give different answers.
    #[error(
        "it is ambiguous: types {first} and {second} of the kernel are both called {name:?} and give {} and {}; \
         use a flavor (`{name}___x`) with fields that only one of them has",
        answer(*.first_value), answer(*.second_value)
    )]
    Ambiguous {
        /// Name of the types without flavour.
        name: String,
        /// Id of the first.
        first: u32,
        /// Id of the one that differs.
        second: u32,
        /// What the first gives; `None`: the instruction is poisoned.
        first_value: Option<u64>,
        /// What the other gives.
        second_value: Option<u64>,
    },
    /// A type of the kernel has no size or cannot be followed.
    #[error("type {id} of the kernel cannot be used for it: {detail}")]
    BadTarget {
        /// Id of the type.
        id: u32,
        /// What is wrong with it.
        detail: String,
    },
    /// A bit field that no load of 8 bytes can read.
    #[error("the bit field reaches over more than 8 bytes")]
    WideBitField,
    /// Types nested deeper than 64 levels, or 32 of pointers, arrays and typedefs.
    #[error("types are nested too deep")]
    TooDeep,
    /// More work than any real object asks for.
    #[error("comparing its types takes too many steps")]
    TooComplex,
}

/// Why an answer does not fit its instruction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// No whole instruction there.
    #[error("there is no instruction at byte {0}")]
    NoInstruction(u64),
    /// An instruction that CO-RE does not know how to change.
    #[error("the instruction at byte {at} (code {code:#04x}) is none that a CO-RE relocation can change")]
    BadInstruction {
        /// Where it begins, in bytes.
        at: u64,
        /// Its operation code.
        code: u8,
    },
    /// The instruction does not hold the value that the object's own types give.
    #[error(
        "the instruction at byte {at} holds {found:#x}, and by the object's own types it should be {expected:#x}"
    )]
    Unexpected {
        /// Where it begins, in bytes.
        at: u64,
        /// What it holds.
        found: u64,
        /// What it should hold.
        expected: u64,
    },
    /// An offset that does not fit the 16 bits of a load or store.
    #[error("offset {value} does not fit the instruction at byte {at}, which takes up to 32767")]
    TooFar {
        /// Where it begins, in bytes.
        at: u64,
        /// The offset in bytes.
        value: u64,
    },
    /// A load or store of another width than the field's, in object or kernel.
    #[error("the instruction at byte {at} cannot access a field of {size} bytes")]
    BadWidth {
        /// Where it begins, in bytes.
        at: u64,
        /// Size of the field in bytes.
        size: u32,
    },
}

fn answer(value: Option<u64>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |v| v.to_string())
}

fn number(kind: CoreKind) -> String {
    match kind {
        CoreKind::Unknown(n) => n.to_string(),
        other => other.to_string(),
    }
}
