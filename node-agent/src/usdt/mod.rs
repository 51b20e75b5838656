//! Probes that a binary defines (USDT): where they are, where their arguments are, and how an object's programs
//! are told. Objects are written with libbpf's bpf/usdt.bpf.h, which finds the arguments by what a loader puts into
//! two maps.
//!
//! In order: read the binary's notes ([`find`]), work out where each argument is ([`argument`]), write it the way
//! the object's own types say ([`layout`]), give each different description a number ([`specs`]), put these into
//! the maps and attach ([`attach`]). All but the last are functions of values.

pub mod argument;
pub mod attach;
mod elf;
mod error;
pub mod layout;
mod register;
pub mod specs;

pub use argument::{Argument, Operand};
pub use elf::{Probe, find};
pub use error::UsdtError;
pub use layout::Layout;
pub use register::Machine;
pub use specs::{Place, Plan, Specs};

/// The map of descriptions (libbpf's bpf/usdt.bpf.h).
pub const SPECS: &str = "__bpf_usdt_specs";
/// The map from addresses to their numbers, for kernels without cookies (before 5.15).
pub const ADDRESSES: &str = "__bpf_usdt_ip_to_spec_id";
