//! Global variables of an object, typed by its BTF: listed, set before the object is loaded, read back.
//!
//! A `const volatile` variable is configuration: the loader writes its value into `.rodata` before the
//! kernel sees the program, and the verifier removes the branches that the value rules out.
//!
//! - [`globals`] lists the variables, [`Global`] is one of them.
//! - [`set`] writes a JSON value into one, [`set_all`] writes many; [`GlobalError`] says what does not fit.
//! - [`get`] reads a variable as the JSON value that [`set`] would take.
//! - [`value_of_text`] turns a text (of a ConfigMap) into the JSON value that a variable takes.
//!
//! How values are written:
//!
//! | C type | JSON |
//! |---|---|
//! | `bool` | `true` or `false` |
//! | integers of 1, 2, 4, 8 and 16 bytes | an integer; or a string, decimal or `0x…`, with an optional minus |
//! | `char` | a string of one character, or an integer |
//! | enums | the name of an enumerator, or an integer that the enum has room for (C has flags in enums) |
//! | `float`, `double` | a number |
//! | arrays of `char` | a string that leaves room for its NUL, or a list; the rest becomes zero |
//! | other arrays | a list of at most as many elements; the rest becomes zero |
//! | structs | an object; members that it does not name keep what the object file has |
//! | unions | an object with exactly one member |
//!
//! Members of anonymous structs and unions are named directly, as in C. Bit fields are integers, bools or
//! enums of their width. Pointers, functions and flexible arrays can not be set.

mod bits;
mod budget;
mod c_type;
mod error;
mod fits;
mod get;
mod list;
mod member;
mod number;
mod parts;
mod refuse;
mod set;
mod shape;
mod suggest;
mod text;
mod write;

pub use c_type::c_type;
pub use error::{Alternatives, GlobalError, Target};
pub use get::get;
pub use list::{Global, MAX_GLOBALS, Symbols, globals};
pub use set::{MAX_ERRORS, set, set_all};
pub use text::value_of_text;

pub(crate) use suggest::listed;

/// Deepest nesting of structs and arrays that is followed, as deep as libbpf follows types.
const MAX_DEPTH: usize = 32;
