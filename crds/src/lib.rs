//! The API of bpfleet: its resources, the reasons it gives, and the names that its parts agree on.
//!
//! No client and no I/O: operator, agent and tests depend on this crate, and it depends on none of them.

pub mod canonical;
pub mod conditions;
pub mod digest;
pub mod hook;
pub mod manifests;
pub mod map;
pub mod names;
pub mod node;
pub mod object;
pub mod program;
pub mod reason;
pub mod requirement;
pub mod revision;
pub mod strict;

pub use digest::Digest;
pub use node::{BpfNode, BpfNodeSpec, BpfNodeStatus};
pub use program::{BpfProgram, BpfProgramSpec, BpfProgramStatus};
pub use reason::{NodeReason, ProgramReason};
pub use revision::{BpfRevision, BpfRevisionSpec, BpfRevisionStatus};
