//! Why an object cannot be used, for the person who built it.

use std::fmt;

use btf::Endian;

/// Why [`inspect`](crate::inspect) refused an object. Each message says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// The bytes are something else than a 64-bit ELF file.
    #[error(
        "not an ELF object but {found}; give the .o file that `clang -O2 -g -target bpf -c` writes, \
         neither its source, nor an archive or skeleton of it"
    )]
    NotElf {
        /// What the bytes look like.
        found: String,
    },
    /// The file ends before something that it says it has.
    #[error(
        "the object is truncated: {what} ends at byte {needed}, the file has {size}; build or upload it again"
    )]
    Truncated {
        /// The part that is cut off.
        what: String,
        /// Where that part would end, in bytes from the start of the file.
        needed: u64,
        /// Size of the file in bytes.
        size: u64,
    },
    /// An ELF file for another processor.
    #[error("the object is for {machine}, not for eBPF; compile it with `clang -O2 -g -target bpf`")]
    WrongMachine {
        /// The machine it is for, by name where it is a common one.
        machine: String,
    },
    /// Compiled for the other byte order.
    #[error(
        "the object is {object}, the node is {wanted}; compile it with `-target {}`",
        wanted.clang_target()
    )]
    WrongEndian {
        /// Byte order of the object.
        object: Endian,
        /// Byte order that is needed.
        wanted: Endian,
    },
    /// An executable or a shared library.
    #[error(
        "the ELF file is not a relocatable object ({found}); give the .o file as `clang -target bpf -c` \
         writes it, without linking it with ld"
    )]
    NotRelocatable {
        /// The kind of ELF file it is.
        found: String,
    },
    /// No function stands in a program section.
    #[error(
        "the object has no eBPF programs: put each entry function into a section with SEC(\"…\"){}",
        text_hint(functions_in_text)
    )]
    NoPrograms {
        /// Functions found in `.text`, which holds subprograms only; at most 8 names.
        functions_in_text: Vec<String>,
    },
    /// A static function in a program section, which no loader accepts.
    #[error(
        "function {name:?} in section {section:?} is static; drop `static` to make it a program, or its \
         SEC() to make it a subprogram"
    )]
    StaticProgram {
        /// Name of the function.
        name: String,
        /// Section that it stands in.
        section: String,
    },
    /// Two programs or two maps share a name.
    #[error("the object has two {what}s named {name:?}; rename one")]
    Duplicate {
        /// `program` or `map`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A bound of this crate or of the kernel is exceeded.
    #[error("{what} has {size}, at most {limit} are supported; {}", limit.advice())]
    TooLarge {
        /// The thing that is too large.
        what: String,
        /// How large it is, in the unit of the limit.
        size: u64,
        /// The bound.
        limit: SizeLimit,
    },
    /// Inconsistent contents.
    #[error("the object is malformed: {what}: {detail}; build or upload it again")]
    Malformed {
        /// The part that is wrong.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
}

/// A bound, with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeLimit {
    /// So many bytes.
    Bytes(u64),
    /// So many of the things that are counted.
    Count(u64),
}

impl SizeLimit {
    fn advice(self) -> &'static str {
        match self {
            SizeLimit::Bytes(_) => "strip DWARF with `llvm-strip -g` or split the object",
            SizeLimit::Count(_) => "split the object",
        }
    }
}

impl fmt::Display for SizeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SizeLimit::Bytes(n) => write!(f, "{n} bytes"),
            SizeLimit::Count(n) => write!(f, "{n}"),
        }
    }
}

impl InspectError {
    pub(crate) fn malformed(what: impl Into<String>, detail: impl fmt::Display) -> Self {
        InspectError::Malformed {
            what: what.into(),
            detail: detail.to_string(),
        }
    }

    pub(crate) fn too_many(what: impl Into<String>, size: usize, limit: usize) -> Self {
        InspectError::TooLarge {
            what: what.into(),
            size: size as u64,
            limit: SizeLimit::Count(limit as u64),
        }
    }
}

fn text_hint(functions: &[String]) -> String {
    match functions {
        [] => String::new(),
        names => format!(
            "; these are in .text, where only subprograms go: {}",
            names.join(", ")
        ),
    }
}
