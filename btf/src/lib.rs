//! BTF, the types of a kernel or an eBPF object: read, matched against each other, cut down, written.
//!
//! - [`Btf`] reads BTF of either byte order in place, and module BTF on top of its kernel's.
//! - [`BtfExt`] reads an object's `.BTF.ext`: functions, source lines, CO-RE relocations.
//! - [`co_re`] relocates an object's instructions for a kernel.
//! - [`minimize`] cuts a kernel's BTF down to what objects ask of it.
//! - [`Builder`] writes BTF.
//!
//! Pure: bytes in, values out. Nothing here does I/O, has unsafe code, panics, overflows or allocates
//! more than a small multiple of its input, whatever the bytes are.
#![forbid(unsafe_code)]

mod builder;
mod bytes;
mod c;
pub mod co_re;
mod endian;
mod error;
mod ext;
mod index;
mod kind;
mod minimize;
mod name;
mod parse;
mod size;
mod types;

pub use builder::{Builder, Definition, EnumeratorDef, MemberDef, ParameterDef, VariableDef};
pub use endian::Endian;
pub use error::BtfError;
pub use ext::{BtfExt, FunctionInfo, LineInfo, Records, RelocationInfo};
pub use kind::{Kind, Linkage};
pub use minimize::{Minimized, Source, minimize};
pub use name::essential;
pub use parse::Btf;
pub use types::{Array, Enumerator, IntEncoding, Member, Parameter, Type, Variable};
