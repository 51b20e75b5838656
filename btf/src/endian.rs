//! Byte order.

use std::fmt;

/// Byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endian {
    /// Least significant byte first (x86-64, arm64).
    Little,
    /// Most significant byte first (s390x).
    Big,
}

impl Endian {
    /// The byte order of the machine that this code was compiled for.
    pub const HOST: Endian = if cfg!(target_endian = "big") {
        Endian::Big
    } else {
        Endian::Little
    };

    /// What clang's `-target` calls eBPF of this byte order.
    pub fn clang_target(self) -> &'static str {
        match self {
            Endian::Little => "bpfel",
            Endian::Big => "bpfeb",
        }
    }
}

impl fmt::Display for Endian {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Endian::Little => "little-endian",
            Endian::Big => "big-endian",
        })
    }
}
