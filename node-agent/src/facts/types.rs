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

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its id.
    pub id: u32,
    /// How many registers its arguments take: one for every 8 bytes.
    pub registers: u32,
}

/// What is there. More than one entry for a function: several have its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Types {
    /// Functions by name.
    pub functions: BTreeMap<String, Vec<Function>>,
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
            let functions = found.functions.entry(name.to_owned()).or_default();
            if functions.len() < MAX_OF_ONE_NAME {
                functions.push(Function {
                    id: t.id(),
                    registers: registers(btf, t.target()),
                });
            }
        } else {
            found.typedefs.entry(name.to_owned()).or_insert(t.id());
        }
    }
    found
}

fn registers(btf: &Btf<'_>, prototype: Option<u32>) -> u32 {
    let Some(prototype) = prototype.and_then(|id| btf.get(id)) else {
        return 0;
    };
    prototype
        .parameters()
        .map(|parameter| btf.size(parameter.type_id).unwrap_or(8).div_ceil(8).max(1))
        .fold(0, u32::saturating_add)
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

#[cfg(test)]
mod tests {
    use btf::{Builder, Definition, Endian, Linkage, ParameterDef};

    use super::*;

    #[test]
    fn functions_are_found_with_all_of_their_name_and_the_registers_of_their_arguments() {
        let mut builder = Builder::new(Endian::Little);
        let int = builder.add(&Definition::Int {
            name: b"int".to_vec(),
            size: 4,
            raw: 1,
            offset: 0,
            bits: 32,
        });
        let large = builder.add(&Definition::Composite {
            union: false,
            name: b"large".to_vec(),
            size: 16,
            flag: false,
            members: Vec::new(),
        });
        let parameter = |type_id| ParameterDef {
            name: b"p".to_vec(),
            type_id,
        };
        let prototype = builder.add(&Definition::FuncProto {
            returns: int,
            parameters: vec![parameter(int), parameter(large), parameter(int)],
        });
        let function = |name: &[u8]| Definition::Func {
            name: name.to_vec(),
            linkage: Linkage::Static,
            prototype,
        };
        let first = builder.add(&function(b"twice"));
        let second = builder.add(&function(b"twice"));
        builder.add(&function(b"other"));
        let trace = builder.add(&Definition::Typedef {
            name: b"btf_trace_x".to_vec(),
            target: int,
        });
        let bytes = builder.finish();
        let btf = Btf::parse(&*bytes).unwrap();
        let found = find(
            &btf,
            &Wanted {
                functions: ["twice", "none"].into(),
                typedefs: ["btf_trace_x", "twice"].into(),
            },
        );
        let twice = [first, second].map(|id| Function { id, registers: 4 });
        assert_eq!(found.functions, [("twice".to_owned(), twice.to_vec())].into());
        assert_eq!(found.typedefs, [("btf_trace_x".to_owned(), trace)].into());
        let names: Vec<String> = functions_with_prefix(&btf, "oth").collect();
        assert_eq!(names, ["er"]);
    }
}
