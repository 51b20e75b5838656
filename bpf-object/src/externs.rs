//! Externs: what an object expects from outside of it.

use std::collections::BTreeMap;
use std::fmt;

use btf::{Btf, Kind};

use crate::elf::{Elf, SymbolType};
use crate::error::InspectError;

/// Most externs of one object.
const MAX_EXTERNS: usize = 4096;

/// What an extern is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExternKind {
    /// `extern … __kconfig`: a value from the kernel's configuration, or `LINUX_KERNEL_VERSION`.
    Kconfig,
    /// `extern … __ksym` variable: an address or a typed variable of the kernel.
    Ksym,
    /// `extern … __ksym` function of the kernel.
    Kfunc,
    /// A symbol that nothing defines; no loader can supply it.
    Undefined,
}

impl fmt::Display for ExternKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ExternKind::Kconfig => "kconfig value",
            ExternKind::Ksym => "kernel symbol",
            ExternKind::Kfunc => "kernel function",
            ExternKind::Undefined => "undefined symbol",
        })
    }
}

/// A symbol that the object uses and does not define.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extern {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ExternKind,
    /// Whether the object does without it (`__weak`).
    pub weak: bool,
}

/// All externs, by name.
pub(crate) fn read(elf: &Elf<'_>, btf: Option<&Btf<'_>>) -> Result<Vec<Extern>, InspectError> {
    let mut declared: BTreeMap<&str, ExternKind> = BTreeMap::new();
    if let Some(btf) = btf {
        for section in btf.types().filter(|t| t.kind() == Kind::Datasec) {
            for t in section.variables().filter_map(|v| btf.get(v.type_id)) {
                let kind = match (section.name(), t.kind()) {
                    (".kconfig", Kind::Var) => ExternKind::Kconfig,
                    (".ksyms", Kind::Func) => ExternKind::Kfunc,
                    (".ksyms", Kind::Var) => ExternKind::Ksym,
                    _ => continue,
                };
                declared.insert(t.name(), kind);
            }
        }
    }
    let mut externs: BTreeMap<&str, Extern> = BTreeMap::new();
    for symbol in elf
        .symbols
        .iter()
        .filter(|s| s.undefined && s.kind != SymbolType::Section)
    {
        if symbol.name.is_empty() {
            continue;
        }
        if externs.len() == MAX_EXTERNS {
            return Err(InspectError::too_many(
                "the list of externs",
                MAX_EXTERNS + 1,
                MAX_EXTERNS,
            ));
        }
        let kind = declared
            .get(symbol.name)
            .copied()
            .unwrap_or(ExternKind::Undefined);
        let found = Extern {
            name: symbol.name.into(),
            kind,
            weak: symbol.weak,
        };
        externs.insert(symbol.name, found);
    }
    Ok(externs.into_values().collect())
}
