//! libbpf itself, relocation by relocation and object by object.
//!
//! Wraps libbpf's static library, with functions that libbpf keeps to itself but that its archive has:
//!
//! - [`Btf`], [`BtfBuilder`] and [`read_elf`]: BTF as libbpf reads and writes it.
//! - [`candidates`], [`calc`], [`patch`]: one CO-RE relocation, step by step.
//! - [`prepare`]: all relocations of an object, as a load of it would do them; [`weaken`] first helps objects that want
//!   more of the running kernel than it has.
//! - [`probe_program_type`], [`probe_map_type`], [`probe_helper`]: what the running kernel has.
//! - [`load_each`], [`attach_each`]: which programs of an object the running kernel accepts, and where.
//! - [`bpftool_min`]: the BTF that `bpftool gen min_core_btf` leaves of a kernel's.
//!
//! Error numbers are negative, as libbpf returns them; those from -4000 on are libbpf's own. libbpf never
//! writes to stderr from here: what it logs is in the errors, or comes from [`logged`].
#![allow(unsafe_code)]

mod bpftool;
mod btf;
mod builder;
mod calc;
mod candidates;
mod elf;
mod error;
mod ffi;
mod load;
mod log;
mod object;
mod patch;
mod prepare;
mod probe;
mod relo;
mod sizes;
mod weaken;

pub use bpftool::bpftool_min;
pub use btf::Btf;
pub use builder::BtfBuilder;
pub use calc::calc;
pub use candidates::{Candidate, candidates, essential_name_len};
pub use elf::{Elf, read_elf};
pub use error::Error;
pub use load::{Loaded, Tried, attach_each, load_each};
pub use log::logged;
pub use object::{Object, Program};
pub use patch::{Insn, patch};
pub use prepare::{Prepared, Subprogram, prepare};
pub use probe::{probe_helper, probe_map_type, probe_program_type};
pub use relo::{Accessor, Outcome, Relo, Spec, Target};
pub use sizes::MapSize;
pub use weaken::weaken;
