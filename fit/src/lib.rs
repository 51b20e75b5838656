//! Which programs of an object go where on a node: the spec and the object in, a decision out.
//!
//! Pure: no I/O, no unsafe code. The operator asks before it rolls anything out and the agent before it
//! loads, so that the two never disagree.

pub mod feature;
pub mod function;
mod hooks;
pub mod kernel;
mod problem;
pub mod question;
pub mod requires;
mod support;
mod target;

pub use hooks::{PlannedHook, plan_hooks};
pub use problem::{Problem, ProblemKind};
pub use target::{Attach, InterfaceSelector};
