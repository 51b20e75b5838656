//! Why externs of the kernel's configuration have no value.

use crate::globals::listed;

use super::parse::{BadLine, MAX_CONFIG};

/// Why an object's `__kconfig` externs could not be given values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KconfigError {
    /// Options that the configuration does not set.
    #[error(
        "the kernel's configuration does not set {}; declare {} `__weak` in the object if it does \
         without, or give the variant a `kernelConfig` requirement, so that such nodes use another",
        listed(names, *more), them(names, *more)
    )]
    Missing {
        /// Names of the externs, without `__weak`.
        names: Vec<String>,
        /// How many more there are.
        more: usize,
    },
    /// The node's configuration was not found.
    #[error(
        "the object takes {} from the kernel's configuration, and the node has neither \
         /boot/config-<release> nor /proc/config.gz; give the node the file of its kernel, or select a \
         variant without `__kconfig` externs there",
        listed(names, *more)
    )]
    NoConfig {
        /// Names of the externs, weak ones too: what the kernel has is not known.
        names: Vec<String>,
        /// How many more there are.
        more: usize,
    },
    /// The configuration is damaged.
    #[error("the kernel's configuration is damaged: {}; mend the file on the node", damage(.0))]
    BadConfig(BadLine),
    /// A fact about the kernel that was not found out.
    #[error(
        "extern {name} cannot be given a value: whether the kernel has {fact} could not be probed on this \
         node; declare it `__weak` if the object does without"
    )]
    UnknownFact {
        /// Name of the extern.
        name: String,
        /// What it stands for.
        fact: &'static str,
    },
    /// The kernel's version was not found out.
    #[error("extern LINUX_KERNEL_VERSION cannot be given a value: the node's kernel version is not known")]
    NoVersion,
    /// An extern that is neither an option nor a known fact.
    #[error(
        "extern {name} is not known: `__kconfig` externs are CONFIG_…, LINUX_KERNEL_VERSION, \
         LINUX_HAS_SYSCALL_WRAPPER and LINUX_HAS_BPF_COOKIE; correct its name{}",
        if name.starts_with("LINUX_") { ", or declare it `__weak` to read 0" } else { "" }
    )]
    UnknownExtern {
        /// Name of the extern.
        name: String,
    },
    /// A type that an extern cannot have.
    #[error(
        "extern {name} has the type {c_type}; `__kconfig` externs are bool, enum libbpf_tristate, integers of 1, \
         2, 4 or 8 bytes, and arrays of char"
    )]
    UnsupportedType {
        /// Name of the extern.
        name: String,
        /// Its type as C writes it.
        c_type: String,
    },
    /// A value of another type.
    #[error("{name}={value} does not fit extern {name} ({c_type}); declare it as {wanted}")]
    WrongType {
        /// Name of the extern.
        name: String,
        /// Its type as C writes it.
        c_type: String,
        /// The value that it should have.
        value: String,
        /// Types that take such a value.
        wanted: &'static str,
    },
    /// A number beyond the range of the type.
    #[error("{name}={value} is out of range for extern {name} ({c_type}); declare it as a wider integer")]
    OutOfRange {
        /// Name of the extern.
        name: String,
        /// Its type as C writes it.
        c_type: String,
        /// The value that it should have.
        value: String,
    },
    /// A value that is neither `y`, `m`, `n`, a string nor a number.
    #[error("{name}={value} in the kernel's configuration is no value: {what}; mend the file on the node")]
    BadValue {
        /// Name of the extern.
        name: String,
        /// The value in the file.
        value: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A bound of this crate is exceeded.
    #[error("the object's `__kconfig` externs have {size} {what}, at most {limit} are supported; drop some")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        size: u64,
        /// How much is supported.
        limit: u64,
    },
}

fn them(names: &[String], more: usize) -> &'static str {
    if names.len() + more == 1 { "it" } else { "them" }
}

fn damage(line: &BadLine) -> String {
    let BadLine {
        number,
        text,
        cut_off,
    } = line;
    if *cut_off {
        format!("it is larger than {MAX_CONFIG} bytes, which end in line {number}")
    } else {
        format!("line {number} has no value: {text:?}")
    }
}
