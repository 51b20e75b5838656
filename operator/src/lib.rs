//! The operator of bpfleet: turns BpfPrograms into BpfRevisions, tells each node what to run, serves the
//! objects to the agents, and says in status where all this stands.
//!
//! `program` is the heart: gather, validate, plan, apply, report. Only `gather` and `apply` hold clients.
//! `node` writes what each node shall run; nothing else does, so that programs never overwrite each other.

pub mod artifacts;
pub mod backoff;
pub mod error;
pub mod index;
pub mod objects;
pub mod queue;
pub mod selector;
pub mod view;
