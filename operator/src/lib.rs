//! The operator of bpfleet: turns BpfPrograms into BpfRevisions, tells each node what to run, serves the
//! objects to the agents, and says in status where all this stands.
//!
//! `program` is the heart: gather, validate, plan, apply, report. Only `gather` and `apply` hold clients.
//! `node` says what each node shall run and `node_write` writes it; nothing else does, so that programs never
//! overwrite each other.

pub mod artifacts;
pub mod backoff;
pub mod config;
pub mod context;
pub mod error;
pub mod events;
pub mod health;
pub mod index;
pub mod leader;
pub mod listen;
pub mod metrics;
pub mod node;
pub mod node_write;
pub mod objects;
pub mod program;
pub mod queue;
pub mod selector;
pub mod serve;
pub mod uninstall;
pub mod verify;
pub mod view;
pub mod watch;
