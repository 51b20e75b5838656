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
pub(crate) use search::follow;
pub(crate) use shape::{Looked, Pair};
pub(crate) use spec::resolved;
pub use spec::{Accessor, Spec};
pub(crate) use steps::Steps;
pub use value::Outcome;

/// Whether a type of the kernel is what an object declares it to be (a kernel function's prototype, a
/// kernel variable's type): kinds agree along pointers, arrays and prototypes, as for the existence of a
/// type. Types that lead nowhere are not.
pub fn types_compatible(
    local: &crate::Btf<'_>,
    local_id: u32,
    target: &crate::Btf<'_>,
    target_id: u32,
) -> bool {
    compat::types(local, local_id, target, target_id, &mut Steps::new()).unwrap_or(false)
}
