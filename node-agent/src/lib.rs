//! The agent of bpfleet: one on each node, which finds out what the kernel can do, loads what the node
//! shall run, and says what became of it.

pub mod backoff;
pub mod cache;
pub mod cleanup;
pub mod cli;
pub mod engine;
pub mod escape;
pub mod facts;
mod kallsyms;
pub mod kernel;
pub mod layout;
pub mod load;
pub mod local;
mod notes;
pub mod pin_root;
pub mod pins;
pub mod record;
pub mod report;
pub mod serve;
pub mod usdt;
