//! Ids of types in the kernel's BTF: functions that a program attaches to, typedefs of tracepoints.

use std::collections::{BTreeMap, BTreeSet};

use btf::{Btf, Kind};

/// What is looked for in one BTF.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// Functions.
    pub functions: BTreeSet<&'a str>,
    /// Typedefs.
    pub typedefs: BTreeSet<&'a str>,
}

/// What is there. More than one id for a function: it stands for several functions of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Types {
    /// Functions by name.
    pub functions: BTreeMap<String, Vec<u32>>,
    /// Typedefs by name.
    pub typedefs: BTreeMap<String, u32>,
}

/// Most functions of one name that are counted.
const MAX_OF_ONE_NAME: usize = 64;

/// Looks through the own types of a BTF once.
pub fn find(btf: &Btf<'_>, wanted: &Wanted<'_>) -> Types {
    let mut found = Types::default();
    for t in btf.types() {
        let (names, function) = match t.kind() {
            Kind::Func => (&wanted.functions, true),
            Kind::Typedef => (&wanted.typedefs, false),
            _ => continue,
        };
        let Ok(name) = std::str::from_utf8(t.name_bytes()) else {
            continue;
        };
        if !names.contains(name) {
            continue;
        }
        if function {
            let ids = found.functions.entry(name.to_owned()).or_default();
            if ids.len() < MAX_OF_ONE_NAME {
                ids.push(t.id());
            }
        } else {
            found.typedefs.entry(name.to_owned()).or_insert(t.id());
        }
    }
    found
}

/// Names of functions that begin with `prefix`, without it.
pub fn functions_with_prefix<'b>(btf: &'b Btf<'_>, prefix: &'b str) -> impl Iterator<Item = String> + 'b {
    btf.types()
        .filter(|t| t.kind() == Kind::Func)
        .filter_map(move |t| {
            Some(
                std::str::from_utf8(t.name_bytes())
                    .ok()?
                    .strip_prefix(prefix)?
                    .to_owned(),
            )
        })
}
