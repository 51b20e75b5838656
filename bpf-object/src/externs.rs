//! Externs: what an object expects from outside of it.

use std::collections::BTreeMap;
use std::fmt;

use btf::{Btf, Kind, Type};

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

/// What an object's BTF declares as the kernel's, with what each is, in order. Of a name that is declared
/// twice the last counts.
pub(crate) fn declared<'b>(btf: &'b Btf<'_>) -> impl Iterator<Item = (ExternKind, Type<'b>)> {
    let sections = btf.types().filter(|t| t.kind() == Kind::Datasec);
    sections.flat_map(move |section| {
        let declarations = section.variables().filter_map(|v| btf.get(v.type_id));
        declarations.filter_map(move |t| {
            let kind = match (section.name(), t.kind()) {
                (".kconfig", Kind::Var) => ExternKind::Kconfig,
                (".ksyms", Kind::Func) => ExternKind::Kfunc,
                (".ksyms", Kind::Var) => ExternKind::Ksym,
                _ => return None,
            };
            Some((kind, t))
        })
    })
}

/// Whether each symbol that the object does not define may be missing, by name.
pub(crate) fn weak<'e>(elf: &'e Elf<'_>) -> BTreeMap<&'e str, bool> {
    let undefined = elf.symbols.iter().filter(|s| s.undefined);
    undefined.map(|s| (s.name, s.weak)).collect()
}

/// All externs, by name.
pub(crate) fn read(elf: &Elf<'_>, btf: Option<&Btf<'_>>) -> Result<Vec<Extern>, InspectError> {
    let declared: BTreeMap<&str, ExternKind> = btf
        .into_iter()
        .flat_map(declared)
        .map(|(kind, t)| (t.name(), kind))
        .collect();
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
