//! An object's globals and configuration values, from its bytes: what [`resolve`](crate::resolve) takes.

use std::collections::{BTreeMap, BTreeSet};

use btf::Btf;
use serde_json::Value;

use crate::elf::{Elf, SymbolType, stated_endian, with_aligned};
use crate::error::InspectError;
use crate::globals::{Global, GlobalError, globals, set_all};
use crate::kconfig::{Facts, Kconfig, KconfigData, KconfigError, resolve_kconfig};

/// Why values do not go into an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValuesError {
    /// The object itself is wrong.
    #[error(transparent)]
    Object(#[from] InspectError),
    /// The object has no types, and values are given.
    #[error("the object has no BTF, so that its variables have no types; compile it with -g")]
    NoBtf,
    /// Values that do not fit the object's variables: each with its reason.
    #[error("{}", joined(.0))]
    Globals(Vec<GlobalError>),
    /// Configuration that the kernel lacks: each with its reason.
    #[error("{}", joined(.0))]
    Kconfig(Vec<KconfigError>),
}

/// The global variables of an object, none if it has no BTF.
///
/// # Errors
/// What is wrong with the object.
pub fn globals_of(object: &[u8]) -> Result<Vec<Global>, ValuesError> {
    opened(object, |elf, btf| match btf {
        Some(btf) => list(elf, btf),
        None => Ok(Vec::new()),
    })
}

/// The sections of an object that values of its variables change, with these values.
///
/// # Errors
/// What is wrong with the object, or everything that does not fit its variables.
pub fn set_globals(
    object: &[u8],
    values: &BTreeMap<String, Value>,
) -> Result<BTreeMap<String, Vec<u8>>, ValuesError> {
    if values.is_empty() {
        return Ok(BTreeMap::new());
    }
    opened(object, |elf, btf| {
        let btf = btf.ok_or(ValuesError::NoBtf)?;
        let known = list(elf, btf)?;
        let changed: BTreeSet<&str> = known
            .iter()
            .filter(|g| values.contains_key(&g.name))
            .map(|g| g.section.as_str())
            .collect();
        let mut sections = BTreeMap::new();
        for section in &elf.sections {
            if changed.contains(section.name) && !section.data.is_empty() {
                sections
                    .entry(section.name.to_owned())
                    .or_insert_with(|| section.data.to_vec());
            }
        }
        set_all(btf, &mut sections, &known, values).map_err(ValuesError::Globals)?;
        Ok(sections)
    })
}

/// The values of an object's `__kconfig` externs; `config` is `None` where the node has no file with its
/// kernel's configuration.
///
/// # Errors
/// What is wrong with the object, or everything that an extern lacks.
pub fn kconfig_of(
    object: &[u8],
    config: Option<&Kconfig>,
    facts: &Facts,
) -> Result<KconfigData, ValuesError> {
    kconfig(object, config, facts, true)
}

/// The same, but options that the kernel does not set are left out, also those that an object cannot do without:
/// [`resolve`](crate::resolve) refuses the programs that use them, and no other.
///
/// # Errors
/// What is wrong with the object, or that the node has no file with its kernel's configuration and an extern needs
/// it.
pub fn known_kconfig_of(
    object: &[u8],
    config: Option<&Kconfig>,
    facts: &Facts,
) -> Result<KconfigData, ValuesError> {
    kconfig(object, config, facts, false)
}

fn kconfig(
    object: &[u8],
    config: Option<&Kconfig>,
    facts: &Facts,
    strict: bool,
) -> Result<KconfigData, ValuesError> {
    opened(object, |elf, btf| {
        let Some(btf) = btf else {
            return Ok(KconfigData::default());
        };
        let weak: BTreeMap<&str, bool> = elf
            .symbols
            .iter()
            .filter(|s| s.undefined)
            .map(|s| (s.name, s.weak))
            .collect();
        let is_weak = |name: &str| {
            let lenient = !strict && name.starts_with("CONFIG_");
            lenient || weak.get(name).copied().unwrap_or(false)
        };
        resolve_kconfig(btf, config, facts, &is_weak).map_err(ValuesError::Kconfig)
    })
}

fn list(elf: &Elf<'_>, btf: &Btf<'_>) -> Result<Vec<Global>, ValuesError> {
    let mut places = BTreeMap::new();
    for symbol in elf.symbols.iter().filter(|s| s.kind == SymbolType::Other) {
        if let Some(section) = symbol.section.and_then(|i| elf.sections.get(i)) {
            places.insert((section.name, symbol.name), (symbol.value, symbol.size));
        }
    }
    globals(btf, &|section, name| places.get(&(section, name)).copied())
        .map_err(|e| ValuesError::Globals(vec![e]))
}

fn opened<T>(
    object: &[u8],
    f: impl FnOnce(&Elf<'_>, Option<&Btf<'_>>) -> Result<T, ValuesError>,
) -> Result<T, ValuesError> {
    with_aligned(object, |object| {
        let elf = Elf::parse(object, stated_endian(object))?;
        let btf = elf.btf()?;
        f(&elf, btf.as_ref())
    })
}

fn joined<E: std::fmt::Display>(errors: &[E]) -> String {
    errors.iter().map(E::to_string).collect::<Vec<_>>().join("; ")
}
