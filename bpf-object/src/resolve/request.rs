//! What an object is resolved for: [`Request`].

use std::collections::{BTreeMap, BTreeSet};

use btf::Btf;
use btf::co_re::Targets;

use crate::kconfig::KconfigData;

/// The types that CO-RE relocations are matched against, and where they come from.
#[derive(Clone, Copy)]
pub enum Target<'a> {
    /// The running kernel's own BTF (`/sys/kernel/btf`), with that of its modules. Its type ids are those
    /// that the kernel takes.
    Kernel(Targets<'a>),
    /// BTF from elsewhere, whole or minimized: its layouts hold, its ids mean nothing to the kernel.
    Supplied(&'a Btf<'a>),
    /// No BTF at all.
    None,
}

impl<'a> Target<'a> {
    /// What CO-RE relocations are matched against; `None` if there is nothing.
    pub(crate) fn types(self) -> Option<Targets<'a>> {
        match self {
            Target::Kernel(targets) => Some(targets),
            Target::Supplied(btf) => Some(Targets::kernel(btf)),
            Target::None => None,
        }
    }

    /// The kernel's own BTF, whose ids count.
    pub(crate) fn kernel(self) -> Option<Targets<'a>> {
        match self {
            Target::Kernel(targets) => Some(targets),
            _ => None,
        }
    }
}

/// What to make of an object.
///
/// The maps may name more than the object has where one request serves several objects; a name that the
/// object needs and does not find is an error.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The types of the kernel.
    pub target: Target<'a>,
    /// The programs that are wanted; `None` for all that do not ask to be left out (`?`).
    pub programs: Option<&'a BTreeSet<String>>,
    /// What programs attach to that need it when they are loaded, where it is other than the section says.
    pub attach: &'a BTreeMap<String, AttachTo>,
    /// Contents of data sections (`.rodata`) with values applied.
    pub globals: &'a BTreeMap<String, Vec<u8>>,
    /// Values of `__kconfig` externs, laid out. What it has no place for, or no value, is not set.
    pub kconfig: Option<&'a KconfigData>,
    /// Addresses of kernel symbols without a type (from `/proc/kallsyms`).
    pub ksyms: &'a BTreeMap<String, u64>,
    /// Sizes of maps that are other than the object says.
    pub map_sizes: &'a BTreeMap<String, MapSize>,
    /// What names of system call functions begin with in this kernel: `__x64_sys_`, `__arm64_sys_`,
    /// `sys_`. `None` if it is not known.
    pub syscall_prefix: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// All programs that load by default, with nothing else said.
    pub fn new(target: Target<'a>) -> Self {
        static ATTACH: BTreeMap<String, AttachTo> = BTreeMap::new();
        static GLOBALS: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        static KSYMS: BTreeMap<String, u64> = BTreeMap::new();
        static SIZES: BTreeMap<String, MapSize> = BTreeMap::new();
        Request {
            target,
            programs: None,
            attach: &ATTACH,
            globals: &GLOBALS,
            kconfig: None,
            ksyms: &KSYMS,
            map_sizes: &SIZES,
            syscall_prefix: None,
        }
    }
}

/// A function, tracepoint or hook of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachTo {
    /// The module that it is looked for in; `None` for the kernel and then every module.
    pub module: Option<String>,
    /// Its name.
    pub name: String,
}

/// Sizes of a map, each where it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MapSize {
    /// Most entries.
    pub max_entries: Option<u32>,
    /// Size of a value in bytes.
    pub value_size: Option<u32>,
}
