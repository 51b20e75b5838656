//! Gives every extern its value.

use std::fmt;

use btf::Btf;

use super::error::KconfigError;
use super::externs::{Extern, placed};
use super::parse::Kconfig;
use super::value::{self, Written};

/// Most bytes of all externs of one object.
pub const MAX_KCONFIG: u32 = 1 << 20;
/// Most names that a message lists.
const LISTED: usize = 16;
/// Most errors of one object.
const MAX_ERRORS: usize = 64;

/// What externs can ask that is not in the configuration; probed where the program is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// The kernel's version as `KERNEL_VERSION(major, minor, patch)` makes it (`major << 16 | minor << 8 |
    /// patch`, the patch at most 255); 0 if it is not known.
    pub kernel_version: u32,
    /// Whether syscalls have wrappers (`__x64_sys_…`) that take registers; `None` if it is not known.
    pub has_syscall_wrapper: Option<bool>,
    /// Whether perf links take cookies (`bpf_get_attach_cookie`); `None` if it is not known.
    pub has_bpf_cookie: Option<bool>,
}

/// The contents of an object's `.kconfig` map.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KconfigData {
    /// Its bytes, in the object's byte order; empty if the object has no such externs.
    pub bytes: Vec<u8>,
    /// The externs by offset.
    pub entries: Vec<KconfigEntry>,
    /// Texts that were cut, as libbpf cuts them with a warning.
    pub shortened: Vec<Shortened>,
}

/// An extern in [`KconfigData::bytes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KconfigEntry {
    /// Its name.
    pub name: String,
    /// Where it begins, in bytes.
    pub offset: u32,
    /// Its size in bytes.
    pub size: u32,
    /// Whether it has a value; a weak one without is zero.
    pub is_set: bool,
}

/// A text that its extern has no room for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortened {
    /// Name of the extern.
    pub name: String,
    /// Length of the text in bytes.
    pub given: usize,
    /// How many of them are there.
    pub kept: usize,
}

impl fmt::Display for Shortened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shortened { name, given, kept } = self;
        write!(
            f,
            "{name} has {given} bytes in the kernel's configuration, of which the extern has room for {kept}"
        )
    }
}

/// Gives the `extern … __kconfig` variables of an object (those of `.kconfig` in its BTF) values and places.
///
/// `config` is `None` where the node has no file with its kernel's configuration. `is_weak` says of a name
/// whether its ELF symbol is weak.
///
/// # Errors
/// Everything that an extern lacks, at most 64; the strong ones that are not set in one. As for libbpf,
/// externs `CONFIG_…` need the configuration and all its lines whole even if all of them are weak, for 0
/// would say something about the kernel that is not known.
pub fn resolve_kconfig(
    btf: &Btf<'_>,
    config: Option<&Kconfig>,
    facts: &Facts,
    is_weak: &dyn Fn(&str) -> bool,
) -> Result<KconfigData, Vec<KconfigError>> {
    let (externs, size) = placed(btf, MAX_KCONFIG).map_err(|mut errors| {
        errors.truncate(MAX_ERRORS);
        errors
    })?;
    let mut data = KconfigData {
        bytes: vec![0; size as usize],
        ..KconfigData::default()
    };
    let mut errors = config_errors(&externs, config);
    let mut missing = Vec::new();
    for found in &externs {
        let place = found.offset as usize..(found.offset as usize).saturating_add(found.size as usize);
        let to = data.bytes.get_mut(place).unwrap_or_default();
        let weak = is_weak(found.name);
        let written = if found.name.starts_with("CONFIG_") {
            match config.and_then(|config| config.raw(found.name.as_bytes())) {
                Some(value) => value::write(btf, found, value, to).map(Some),
                None if weak || config.is_none() => Ok(None),
                None => {
                    missing.push(found.name);
                    Ok(None)
                }
            }
        } else {
            fact(found, facts, weak).and_then(|value| match value {
                Some(value) => value::write_fact(btf, found, value, to).map(|()| Some(Written::Whole)),
                None => value::write_fact(btf, found, 0, to).map(|()| None),
            })
        };
        match &written {
            Ok(Some(Written::Cut { given, kept })) => data.shortened.push(Shortened {
                name: found.name.into(),
                given: *given,
                kept: *kept,
            }),
            Ok(_) => {}
            Err(error) => errors.push(error.clone()),
        }
        data.entries.push(KconfigEntry {
            name: found.name.into(),
            offset: found.offset,
            size: found.size,
            is_set: matches!(written, Ok(Some(_))),
        });
    }
    if !missing.is_empty() {
        let (names, more) = some_of(missing.into_iter());
        errors.insert(0, KconfigError::Missing { names, more });
    }
    errors.truncate(MAX_ERRORS);
    if errors.is_empty() { Ok(data) } else { Err(errors) }
}

/// What is wrong with the configuration as a whole, if any extern needs it.
fn config_errors(externs: &[Extern<'_>], config: Option<&Kconfig>) -> Vec<KconfigError> {
    let mut options = externs
        .iter()
        .map(|found| found.name)
        .filter(|name| name.starts_with("CONFIG_"))
        .peekable();
    if options.peek().is_none() {
        return Vec::new();
    }
    match config {
        None => {
            let (names, more) = some_of(options);
            vec![KconfigError::NoConfig { names, more }]
        }
        Some(config) => config
            .bad_line()
            .map(|line| KconfigError::BadConfig(line.clone()))
            .into_iter()
            .collect(),
    }
}

/// The value of an extern that does not come from the configuration; `None`: a weak one without.
fn fact(found: &Extern<'_>, facts: &Facts, weak: bool) -> Result<Option<u64>, KconfigError> {
    let known = |value: Option<bool>, fact| match value {
        None if !weak => Err(KconfigError::UnknownFact {
            name: found.name.into(),
            fact,
        }),
        value => Ok(value.map(u64::from)),
    };
    match found.name {
        "LINUX_KERNEL_VERSION" => match facts.kernel_version {
            0 => Err(KconfigError::NoVersion),
            version => Ok(Some(version.into())),
        },
        "LINUX_HAS_SYSCALL_WRAPPER" => known(facts.has_syscall_wrapper, "syscall wrappers"),
        "LINUX_HAS_BPF_COOKIE" => known(facts.has_bpf_cookie, "bpf_get_attach_cookie"),
        name if weak && name.starts_with("LINUX_") => Ok(None),
        name => Err(KconfigError::UnknownExtern { name: name.into() }),
    }
}

fn some_of<'n>(names: impl Iterator<Item = &'n str>) -> (Vec<String>, usize) {
    let all: Vec<&str> = names.collect();
    let some: Vec<String> = all.iter().take(LISTED).map(|name| (*name).into()).collect();
    let more = all.len().saturating_sub(some.len());
    (some, more)
}
