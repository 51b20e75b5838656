//! Why bytes are not BTF.

/// Why BTF could not be read. The caller knows which file it came from and says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BtfError {
    /// The bytes do not begin with BTF's magic number in either byte order.
    #[error("it does not begin with BTF's magic number (0xeb9f)")]
    NotBtf,
    /// A version that came after this was written.
    #[error("it is BTF of version {0}, only version 1 is known")]
    Version(u8),
    /// Something ends before it should.
    #[error("its {what} are cut off: they end at byte {end}, it has {size}")]
    Truncated {
        /// The part that is cut off.
        what: &'static str,
        /// Where that part would end, in bytes from the start.
        end: u64,
        /// Size of the data in bytes.
        size: u64,
    },
    /// Strings that have no empty string in front, or no end.
    #[error("its strings do not begin and end with a NUL{}", if *.split_alone { "; BTF of a module is read together with its kernel's" } else { "" })]
    Strings {
        /// Whether it looks like BTF of a module read on its own.
        split_alone: bool,
    },
    /// A kind of type that came after this was written.
    #[error("type {id} is of kind {kind}, which is not known")]
    UnknownKind {
        /// Id of the type.
        id: u32,
        /// The kind's number.
        kind: u32,
    },
    /// Base and module differ in byte order.
    #[error("it is of another byte order than its base")]
    MixedEndian,
    /// Contents that contradict themselves.
    #[error("{what}: {detail}")]
    Malformed {
        /// The part that is wrong.
        what: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// A bound is exceeded.
    #[error("it has {size} {what}, at most {limit} are supported")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many there are.
        size: u64,
        /// How many are supported.
        limit: u64,
    },
}
