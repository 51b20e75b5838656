//! What an eBPF object file holds: programs, maps, licence, externs and CO-RE relocations.
//!
//! Pure: bytes in, values out. Nothing here does I/O, panics, overflows or allocates more than a
//! small multiple of its input, whatever the bytes are.
//!
//! - [`inspect`] reads an object; [`InspectError`] says what is wrong with it and what to do.
//! - [`ObjectInfo::relocation_at`] tells which field, type or enumerator an instruction that the
//!   verifier refused as poisoned stands for.
//! - [`globals`] lists an object's global variables and sets them to typed values before it is loaded.
//! - [`kconfig`] gives `extern … __kconfig` variables their values.
//! - [`set_globals`] and [`kconfig_of`] do so for the bytes of an object.
//! - [`resolve`] makes of an object and what is known of a kernel an ELF file that aya opens as it is, with
//!   CO-RE and externs settled, and a [`LoadPlan`].

mod access;
mod bytes;
mod code;
mod core_relo;
mod elf;
mod error;
mod externs;
pub mod globals;
mod info;
mod initial;
mod instruction;
pub mod kconfig;
mod kind;
mod map;
mod map_type;
mod program;
mod relocations;
mod resolve;
mod sec;
mod subprogram;
mod values;
mod variant;

pub use btf::Endian;
pub use core_relo::{CoreKind, CoreRelocation, SourceLine};
pub use elf::MAX_OBJECT_SIZE;
pub use error::{InspectError, SizeLimit};
pub use externs::{Extern, ExternKind};
pub use info::{ObjectInfo, inspect, inspect_for};
pub use initial::{InitialEntry, InitialValue};
pub use kind::ProgramKind;
pub use map::{Map, MapSource, Pinning};
pub use map_type::map_type_name;
pub use program::Program;
pub use resolve::{
    AttachBtf, AttachTo, KernelBtfUse, LoadPlan, Loader, MapSize, OwnReason, Poisoned, ProgramPlan, Request,
    ResolveError, Resolved, StructOpsPlan, Target, resolve,
};
pub use sec::{Sec, SecTarget, parse_sec};
pub use subprogram::{Caller, Subprogram};
pub use values::{ValuesError, globals_of, kconfig_of, known_kconfig_of, set_globals};
pub use variant::{
    AddrFamily, Direction, NetkitSide, SkSkbKind, SockAddrHook, SockHook, SockoptHook, TcKind, XdpAttach,
};
