//! `extern … __kconfig` variables: values of the kernel's configuration and some facts about the kernel.
//!
//! - [`Kconfig::parse`] reads a configuration file as text.
//! - [`resolve_kconfig`] gives every extern of an object its value and place; [`KconfigError`] says which
//!   have none.
//!
//! Types, values and layout are those of libbpf (libbpf.c, `bpf_object__process_kconfig_line`,
//! `set_kcfg_value_*`, `cmp_externs`), so that an object behaves as it does under libbpf:
//!
//! | C type | configuration |
//! |---|---|
//! | `bool` | `y`, `n` |
//! | `enum libbpf_tristate` | `y`, `m`, `n` |
//! | integers of 1, 2, 4 and 8 bytes | numbers, decimal, octal with a leading 0, or `0x…` |
//! | `char` and other integers of one byte | `y`, `m`, `n` as characters, or numbers |
//! | arrays of these | `"text"`, cut where it does not fit |
//!
//! `LINUX_KERNEL_VERSION`, `LINUX_HAS_SYSCALL_WRAPPER` and `LINUX_HAS_BPF_COOKIE` do not come from the
//! configuration but from [`Facts`].

mod error;
mod externs;
mod parse;
mod resolve;
mod value;

pub use error::KconfigError;
pub use parse::{BadLine, Kconfig, MAX_CONFIG};
pub use resolve::{Facts, KconfigData, KconfigEntry, MAX_KCONFIG, Shortened, resolve_kconfig};
