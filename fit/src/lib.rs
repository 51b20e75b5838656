//! What suits a node: spec, object and what the node answered in, a decision out.
//!
//! Pure: no I/O, no unsafe code. The operator asks before it rolls anything out and the agent before it
//! loads, so that the two never disagree. In order:
//!
//! 1. [`plan_hooks`]: what could serve each hook, or everything that is wrong with the spec;
//! 2. [`requires::requirement_questions`], [`hook_questions`]: what the decision hangs on, for the node to answer;
//! 3. [`requires::unmet`]: why a variant is passed over;
//! 4. [`choose`]: which alternative serves each hook, and why not those before it.

mod choose;
mod exclusive;
pub mod feature;
pub mod function;
mod hooks;
pub mod kernel;
mod needs;
mod problem;
pub mod question;
pub mod requires;
mod support;
mod target;
mod variants;

pub use choose::{
    Attempt, Choice, ChosenHook, PassedOver, Tried, Unservable, choose, explain, hook_questions,
};
pub use hooks::{Alternative, HookPlan, PlannedHook, plan_hooks, unknown_programs};
pub use problem::{Problem, ProblemKind};
pub use target::{Attach, InterfaceSelector};
pub use variants::{Candidate, candidates, variant_questions};
