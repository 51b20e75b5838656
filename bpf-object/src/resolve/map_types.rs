//! Maps' definitions in BTF with other sizes, and without what aya does not know.

use std::collections::BTreeMap;

use btf::{Array, Btf, Definition, Kind, MemberDef};

use crate::initial::{Maps, PROG_ARRAY, structure};
use crate::map::{Map, MapSource};
use crate::resolve::error::ResolveError;
use crate::resolve::request::MapSize;

/// Types to add, and the variables that get them.
#[derive(Default)]
pub(crate) struct Redefined {
    pub(crate) added: Vec<Definition>,
    pub(crate) retyped: BTreeMap<u32, u32>,
}

/// Writes definitions anew where they must change. The old ones stay: other maps may share them.
pub(crate) fn redefine(
    btf: &Btf<'_>,
    maps: &Maps<'_>,
    sizes: &BTreeMap<String, MapSize>,
) -> Result<Redefined, ResolveError> {
    let mut out = Redefined::default();
    let integer = btf.types().find(|t| t.kind() == Kind::Int).map_or(0, |t| t.id());
    for definition in &maps.definitions {
        let Some(variable) = definition.variable else {
            continue;
        };
        let size = sizes.get(&definition.map.name).copied().unwrap_or_default();
        let slots = definition.map.map_type == PROG_ARRAY;
        let Some(mut new) = Struct::read(btf, variable) else {
            continue;
        };
        let values = slots && new.remove("values");
        if !values && size == MapSize::default() {
            continue;
        }
        if values && !new.has("value_size") && !new.has("value") {
            new.set("value_size", 4, btf, integer, &mut out.added);
        }
        if let Some(entries) = size.max_entries {
            new.set("max_entries", entries, btf, integer, &mut out.added);
        }
        if let Some(bytes) = size.value_size {
            // The old type would have another size, and the kernel takes a key's type with a value's only.
            if new.remove("key") {
                new.set("key_size", definition.map.key_size, btf, integer, &mut out.added);
            }
            new.remove("value");
            new.set("value_size", bytes, btf, integer, &mut out.added);
        }
        let id = add(btf, &mut out.added, new.finish());
        out.retyped.insert(variable, id);
    }
    Ok(out)
}

/// Refuses sizes for what has none.
pub(crate) fn check(infos: &[Map], sizes: &BTreeMap<String, MapSize>) -> Result<(), ResolveError> {
    for map in infos {
        let Some(size) = sizes.get(&map.name).filter(|s| **s != MapSize::default()) else {
            continue;
        };
        let wrong = |detail: &str| ResolveError::MapSize {
            map: map.name.clone(),
            detail: detail.into(),
        };
        if matches!(map.source, MapSource::Data { .. }) {
            return Err(wrong(
                "it is a section of variables, whose size is theirs; leave it out",
            ));
        }
        if size.max_entries == Some(0) {
            return Err(wrong("0 entries are none; give at least 1"));
        }
        if size.value_size == Some(0) {
            return Err(wrong("values of 0 bytes are none; give at least 1"));
        }
    }
    Ok(())
}

/// A map's struct that is being changed.
struct Struct {
    name: Vec<u8>,
    size: u32,
    members: Vec<MemberDef>,
}

impl Struct {
    fn read(btf: &Btf<'_>, variable: u32) -> Option<Self> {
        match structure(btf, variable)?.definition()? {
            Definition::Composite {
                name, size, members, ..
            } => Some(Struct { name, size, members }),
            _ => None,
        }
    }

    fn has(&self, name: &str) -> bool {
        self.members.iter().any(|m| m.name == name.as_bytes())
    }

    fn remove(&mut self, name: &str) -> bool {
        let before = self.members.len();
        self.members.retain(|m| m.name != name.as_bytes());
        self.members.len() != before
    }

    /// What `__uint(name, number)` makes: a pointer to an array of that length.
    fn set(&mut self, name: &str, number: u32, btf: &Btf<'_>, int: u32, added: &mut Vec<Definition>) {
        let array = add(
            btf,
            added,
            Definition::Array(Array {
                element: int,
                index: int,
                length: number,
            }),
        );
        let type_id = add(btf, added, Definition::Ptr(array));
        match self.members.iter_mut().find(|m| m.name == name.as_bytes()) {
            Some(member) => member.type_id = type_id,
            // A new one shares the place of the last: the struct keeps its size, and with it the variable,
            // and nobody reads a map's definition as memory.
            None => {
                let last = self.members.last().map_or(0, |m| m.raw_offset);
                let fits = self.size.saturating_sub(8).saturating_mul(8);
                self.members.push(MemberDef {
                    name: name.into(),
                    type_id,
                    raw_offset: last.min(fits),
                });
            }
        }
    }

    fn finish(mut self) -> Definition {
        self.members.sort_by_key(|m| m.raw_offset);
        Definition::Composite {
            union: false,
            name: self.name,
            size: self.size,
            flag: false,
            members: self.members,
        }
    }
}

fn add(btf: &Btf<'_>, added: &mut Vec<Definition>, definition: Definition) -> u32 {
    let place = u32::try_from(added.len()).unwrap_or(u32::MAX);
    added.push(definition);
    btf.len().saturating_add(place)
}
