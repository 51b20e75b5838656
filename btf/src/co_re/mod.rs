//! CO-RE: what an instruction's operand is in a kernel whose types differ from those the object was
//! compiled with. Decides as libbpf 1.7 does (its `relo_core.c`), relocation by relocation.
//!
//! [`Relocator`] answers the relocations of one object, in their order; [`patch`] writes an answer into
//! its instruction. A relocation that finds nothing poisons its instruction, which the program may guard.

mod access;
mod candidates;
mod compat;
mod error;
mod kind;
mod patch;
mod relocator;
mod search;
mod shape;
mod spec;
mod steps;
mod value;

pub use candidates::{Candidate, Module, Targets};
pub use error::{CoreError, PatchError};
pub use kind::CoreKind;
pub use patch::{POISON, Patched, patch};
pub use relocator::Relocator;
pub(crate) use search::find;
pub(crate) use shape::{Looked, Pair};
pub(crate) use spec::resolved;
pub use spec::{Accessor, Spec};
pub(crate) use steps::Steps;
pub use value::Outcome;
