//! Functions of the kernel: where they are, and whether they can be attached to.

mod decide;
mod filter;
mod kallsyms;
mod syscall;

use std::{
    fmt, fs,
    io::{self, BufRead, Read},
    path::Path,
};

pub use decide::{Seen, fentry, kprobe, multi};
pub use filter::{Filter, scan as scan_filter};
pub use kallsyms::{Symbols, aliases, near, scan as scan_symbols};
pub use syscall::{answer as syscall, names as syscall_names, prefix as syscall_prefix};

/// Names of functions and how often and where each is.
const MAX_PLACES: usize = 64;
/// Longest line of the kernel's lists that is looked at as one; a symbol has 512 bytes at most (KSYM_NAME_LEN).
const MAX_LINE: u64 = 4096;

/// Where a function is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the kernel itself.
    Kernel,
    /// In a module.
    Module(String),
}

impl Place {
    fn is(&self, module: &str) -> bool {
        matches!(self, Self::Module(name) if name == module)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel => f.write_str("the kernel itself"),
            Self::Module(name) => write!(f, "module {name}"),
        }
    }
}

/// A module that a function was asked for in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleState {
    /// It is loaded.
    Loaded,
    /// It is part of the kernel.
    BuiltIn,
    /// It is neither.
    Missing,
}

/// Looks in sysfs, where modules that are built in have no state.
pub fn module_state(module: &str) -> ModuleState {
    let directory = Path::new("/sys/module").join(module);
    if fs::exists(directory.join("initstate")).unwrap_or(false) {
        ModuleState::Loaded
    } else if directory.is_dir() {
        ModuleState::BuiltIn
    } else {
        ModuleState::Missing
    }
}

/// Calls `each` with every line, of which none is kept.
fn lines(mut reader: impl BufRead, mut each: impl FnMut(&str)) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if let Ok(text) = std::str::from_utf8(&line) {
            each(text.trim_end_matches('\n'));
        }
    }
}

/// Splits `[module]` off the end of what stands behind a name.
fn place(rest: Option<&str>) -> Place {
    rest.and_then(|rest| rest.trim().strip_prefix('[')?.split_once(']'))
        .map_or(Place::Kernel, |(module, _)| Place::Module(module.to_owned()))
}
