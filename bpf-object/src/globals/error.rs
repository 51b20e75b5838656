//! Why a value cannot be written into a variable, for the person who gave the value.

use std::fmt;

use super::suggest::listed;

/// What a value was for: a variable or a part of one, with its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The path from the variable on: `config.ports[3].number`.
    pub variable: String,
    /// Its type as C writes it.
    pub c_type: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "global {} ({})", self.variable, self.c_type)
    }
}

/// Names to give instead of one that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternatives {
    /// Those close to it, nearest first.
    pub closest: Vec<String>,
    /// Some of all.
    pub names: Vec<String>,
    /// How many more there are.
    pub more: usize,
}

/// Why [`set`](super::set) refused a value. Each message says what would fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GlobalError {
    /// No variable has this name.
    #[error("the object has no global variable {name:?}; {instead}")]
    Unknown {
        /// The name that was given.
        name: String,
        /// Variables that can be set.
        instead: Box<Alternatives>,
    },
    /// Several variables have this name: static ones of several source files.
    #[error(
        "the object has {count} global variables named {name:?} (in {}), and which one is meant cannot be \
         told; rename one",
        listed(sections, 0)
    )]
    Ambiguous {
        /// The name.
        name: String,
        /// How many variables have it.
        count: usize,
        /// Sections that they are in.
        sections: Vec<String>,
    },
    /// The variable can change while the program runs.
    #[error(
        "{at} in {section} is not const: only `const volatile` variables can be set before load; declare \
         it so, or keep what changes while the program runs in a map"
    )]
    NotConst {
        /// The variable.
        at: Target,
        /// Its section.
        section: String,
    },
    /// The compiler has already used the value that the source gives.
    #[error(
        "{at} is const without volatile: its value is compiled into the code, and another one would have \
         no effect; declare it `const volatile`"
    )]
    NotVolatile {
        /// The variable.
        at: Target,
    },
    /// The object file has no bytes for it.
    #[error("{at} has no place in the object: {detail}; build or upload the object again")]
    NoPlace {
        /// The variable.
        at: Target,
        /// What is missing.
        detail: String,
    },
    /// `null`.
    #[error("{at}: null is no value; give {fits}, or leave it out to keep what the source says")]
    Null {
        /// The variable or part.
        at: Target,
        /// What would fit.
        fits: String,
    },
    /// A JSON value of another type.
    #[error("{at}: {given} does not fit; give {fits}")]
    WrongType {
        /// The variable or part.
        at: Target,
        /// What was given.
        given: String,
        /// What would fit.
        fits: String,
    },
    /// A number beyond the type's range.
    #[error("{at}: {given} is out of range; give {fits}")]
    OutOfRange {
        /// The variable or part.
        at: Target,
        /// What was given.
        given: String,
        /// What would fit.
        fits: String,
    },
    /// A floating-point number where the type is an integer.
    #[error("{at}: {given} is a floating-point number; {hint}; it takes {fits}")]
    FloatForInteger {
        /// The variable or part.
        at: Target,
        /// What was given.
        given: String,
        /// How to write it as an integer.
        hint: String,
        /// What would fit.
        fits: String,
    },
    /// A string that is no integer.
    #[error("{at}: {given} is not an integer, decimal without leading zeros or 0x…; give {fits}")]
    NotAnInteger {
        /// The variable or part.
        at: Target,
        /// What was given.
        given: String,
        /// What would fit.
        fits: String,
    },
    /// A name that the enum lacks.
    #[error("{at} has no enumerator {name}; {instead}")]
    UnknownEnumerator {
        /// The variable or part.
        at: Target,
        /// The name that was given.
        name: String,
        /// Names of the enum.
        instead: Box<Alternatives>,
    },
    /// A name that the struct or union lacks.
    #[error("{at} has no member {member}; {instead}")]
    UnknownMember {
        /// The struct or union.
        at: Target,
        /// The name that was given.
        member: String,
        /// Names of members.
        instead: Box<Alternatives>,
    },
    /// A union takes one member.
    #[error(
        "{at}: members of a union share their bytes, so exactly one can be given, not {}",
        listed(given, *more)
    )]
    UnionMembers {
        /// The union, or the struct that an anonymous one is in.
        at: Target,
        /// Members that were given.
        given: Vec<String>,
        /// How many more were given.
        more: usize,
    },
    /// A string that leaves no room for its NUL.
    #[error("{at}: the text has {length} bytes; it has room for {room} and the NUL that ends it")]
    TextTooLong {
        /// The array.
        at: Target,
        /// Length of the text in bytes.
        length: u64,
        /// Bytes there is room for.
        room: u64,
    },
    /// A string with a NUL in it.
    #[error("{at}: the text has a NUL at byte {position}, where C would end it; give a list of numbers")]
    EmbeddedNul {
        /// The array.
        at: Target,
        /// Where the first NUL is, in bytes from the start.
        position: usize,
    },
    /// A list that is too long.
    #[error("{at}: the list has {given} elements, the array {length}")]
    TooManyElements {
        /// The array.
        at: Target,
        /// Elements that were given.
        given: u64,
        /// Elements of the array.
        length: u32,
    },
    /// A type that no value can be given for.
    #[error("{at} cannot be set: {reason}")]
    Unsupported {
        /// The variable or part.
        at: Target,
        /// Why.
        reason: String,
    },
    /// Setting it goes beyond a bound of this crate.
    #[error("{at} cannot be set: {what}; make its type or value simpler")]
    TooComplex {
        /// The variable or part.
        at: Target,
        /// The bound.
        what: &'static str,
    },
    /// The object's BTF contradicts itself.
    #[error("{at} cannot be set: the object is malformed: {detail}; build or upload it again")]
    Malformed {
        /// The variable or part.
        at: Target,
        /// What is wrong.
        detail: String,
    },
    /// More variables than are listed.
    #[error("the object has {count} global variables, at most {limit} are supported; put some into structs")]
    TooManyGlobals {
        /// How many there are.
        count: usize,
        /// How many are supported.
        limit: usize,
    },
    /// Refusals that are not listed.
    #[error("{0} more globals are refused; mend these first")]
    More(usize),
}

impl fmt::Display for Alternatives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.closest.as_slice(), self.names.as_slice()) {
            ([], []) => f.write_str("it has none that can be set"),
            ([], names) => write!(f, "it has {}", listed(names, self.more)),
            (closest, _) => write!(f, "did you mean {}?", closest.join(" or ")),
        }
    }
}
