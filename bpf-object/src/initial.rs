//! Where an object's maps are defined, and what they hold from the start.

use std::collections::BTreeMap;

use btf::{Btf, Kind, Type};

use crate::bytes::Bytes;
use crate::code::Code;
use crate::elf::{Elf, SymbolType};
use crate::error::InspectError;
use crate::map::{Map, MapSource};
use crate::program::Program;

/// `BPF_MAP_TYPE_PROG_ARRAY`.
pub(crate) const PROG_ARRAY: u32 = 3;
/// Most initialisers of one object.
const MAX_INITIAL: usize = 16_384;
/// Bytes of one slot of `values`.
const SLOT: u64 = 8;

/// What a map holds from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialEntry {
    /// The map.
    pub map: String,
    /// The key.
    pub index: u32,
    /// The value.
    pub value: InitialValue,
}

/// A value of a map of maps or of programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitialValue {
    /// A map of the object.
    Map(String),
    /// A program of the object.
    Program(String),
}

/// A map's definition in the file.
pub(crate) struct Definition<'a> {
    pub(crate) map: &'a Map,
    pub(crate) section: usize,
    /// In bytes from the start of the section.
    pub(crate) offset: u64,
    pub(crate) size: u64,
    pub(crate) local: bool,
    /// Its variable in the object's BTF.
    pub(crate) variable: Option<u32>,
}

/// What a map holds from the start.
pub(crate) struct Initial {
    /// Index of the map.
    pub(crate) map: usize,
    pub(crate) index: u32,
    pub(crate) value: Value,
}

#[derive(Clone, Copy)]
pub(crate) enum Value {
    /// A map, by its index.
    Map(usize),
    /// A function, by its index.
    Function(usize),
}

/// Maps that are defined by name, not those of data sections.
pub(crate) struct Maps<'a> {
    pub(crate) definitions: Vec<Definition<'a>>,
    by_place: BTreeMap<(usize, u64), usize>,
    /// By map and then by index.
    pub(crate) initial: Vec<Initial>,
}

impl<'a> Maps<'a> {
    pub(crate) fn read(
        elf: &Elf<'_>,
        code: &Code<'_>,
        btf: Option<&Btf<'_>>,
        infos: &'a [Map],
    ) -> Result<Self, InspectError> {
        let mut variables: BTreeMap<&str, u32> = BTreeMap::new();
        for t in btf.iter().flat_map(|b| b.types()) {
            if t.kind() == Kind::Datasec && t.name() == ".maps" {
                let named = t.variables().filter_map(|v| t.btf().get(v.type_id));
                variables.extend(named.map(|v| (v.name(), v.id())));
            }
        }
        let mut places: BTreeMap<&str, (usize, u64, u64, bool)> = BTreeMap::new();
        for symbol in elf.symbols.iter().filter(|s| s.kind == SymbolType::Other) {
            if let Some(index) = symbol.section
                && let Some(section) = elf.sections.get(index)
                && (section.name == ".maps" || is_legacy(section.name))
            {
                places.insert(symbol.name, (index, symbol.value, symbol.size, symbol.local));
            }
        }
        let mut definitions = Vec::new();
        for map in infos
            .iter()
            .filter(|m| !matches!(m.source, MapSource::Data { .. }))
        {
            let (section, offset, size, local) = *places
                .get(map.name.as_str())
                .ok_or_else(|| InspectError::malformed(format!("map {:?}", map.name), "it has no symbol"))?;
            definitions.push(Definition {
                map,
                section,
                offset,
                size,
                local,
                variable: variables
                    .get(map.name.as_str())
                    .copied()
                    .filter(|_| map.source == MapSource::Btf),
            });
        }
        let by_place = definitions
            .iter()
            .enumerate()
            .map(|(i, d)| ((d.section, d.offset), i))
            .collect();
        let mut maps = Maps {
            definitions,
            by_place,
            initial: Vec::new(),
        };
        if let Some(btf) = btf {
            maps.initial = maps.initial(elf, code, btf)?;
        }
        Ok(maps)
    }

    /// The map that is defined at this place.
    pub(crate) fn at(&self, section: usize, offset: u64) -> Option<usize> {
        self.by_place.get(&(section, offset)).copied()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Definition<'a>> {
        self.definitions.get(index)
    }

    /// Initialisers: pointers to maps or functions that relocations put into the slots of `values`.
    fn initial(&self, elf: &Elf<'_>, code: &Code<'_>, btf: &Btf<'_>) -> Result<Vec<Initial>, InspectError> {
        let mut out = Vec::new();
        for (section, relocations) in &elf.relocations {
            let Some(source) = elf.sections.get(*section).filter(|s| s.name == ".maps") else {
                continue;
            };
            for relocation in relocations {
                let bad = |detail: &str| {
                    let place = relocation.offset;
                    InspectError::malformed(format!("the initialiser at byte {place} of .maps"), detail)
                };
                let (_, map) = self
                    .by_place
                    .range(..=(*section, relocation.offset))
                    .next_back()
                    .ok_or_else(|| bad("it belongs to no map"))?;
                let definition = self.get(*map).ok_or_else(|| bad("it belongs to no map"))?;
                let slot = slot(btf, definition, relocation.offset)
                    .ok_or_else(|| bad("it is not in the `values` of a map"))?;
                let symbol = elf
                    .symbols
                    .get(relocation.symbol)
                    .ok_or_else(|| bad("it has no symbol"))?;
                let at = usize::try_from(relocation.offset).ok();
                let addend = at
                    .and_then(|at| Bytes::new(source.data, elf.endian).u64(at))
                    .unwrap_or(0);
                let target = symbol.section.zip(symbol.value.checked_add(addend));
                let value = target.and_then(|(index, offset)| {
                    let function = code.at(index, offset);
                    if function
                        .and_then(|f| code.functions.get(f))
                        .is_some_and(|f| f.text)
                    {
                        return None;
                    }
                    function
                        .map(Value::Function)
                        .or_else(|| self.at(index, offset).map(Value::Map))
                });
                if out.len() == MAX_INITIAL {
                    return Err(InspectError::too_many(
                        "the list of maps' initialisers",
                        out.len() + 1,
                        MAX_INITIAL,
                    ));
                }
                out.push(Initial {
                    map: *map,
                    index: slot,
                    value: value.ok_or_else(|| bad("it points to no map and no program"))?,
                });
            }
        }
        out.sort_by_key(|i| (i.map, i.index));
        Ok(out)
    }
}

impl Maps<'_> {
    /// Initialisers by name. `program` names the program that a function is; of one that is none, or is
    /// left out, the slot stays empty: no program that stays uses such a map.
    pub(crate) fn entries<'n>(&self, program: impl Fn(usize) -> Option<&'n str>) -> Vec<InitialEntry> {
        let entry = |initial: &Initial| {
            let value = match initial.value {
                Value::Map(index) => InitialValue::Map(self.get(index)?.map.name.clone()),
                Value::Function(function) => InitialValue::Program(program(function)?.to_owned()),
            };
            Some(InitialEntry {
                map: self.get(initial.map)?.map.name.clone(),
                index: initial.index,
                value,
            })
        };
        self.initial.iter().filter_map(entry).collect()
    }
}

/// What maps of an object hold from the start, whichever programs are chosen.
pub(crate) fn entries(
    elf: &Elf<'_>,
    code: &Code<'_>,
    btf: Option<&Btf<'_>>,
    infos: &[Map],
    programs: &[Program],
) -> Result<Vec<InitialEntry>, InspectError> {
    let names: BTreeMap<usize, &str> = programs
        .iter()
        .rev()
        .filter_map(|p| Some((code.at(p.section_index, p.offset)?, p.name.as_str())))
        .collect();
    let maps = Maps::read(elf, code, btf, infos)?;
    Ok(maps.entries(|function| names.get(&function).copied()))
}

/// Whether definitions in a section of this name are `struct bpf_map_def`.
pub(crate) fn is_legacy(section: &str) -> bool {
    section == "maps" || section.starts_with("maps/")
}

/// Which slot of a map's `values` a byte of `.maps` is.
fn slot(btf: &Btf<'_>, definition: &Definition<'_>, offset: u64) -> Option<u32> {
    let structure = structure(btf, definition.variable?)?;
    let values = structure.members().find(|m| m.name() == "values")?;
    let start = definition.offset.checked_add(u64::from(values.bit_offset / 8))?;
    let within = offset.checked_sub(start)?;
    if !within.is_multiple_of(SLOT)
        || offset.checked_add(SLOT)? > definition.offset.checked_add(definition.size)?
    {
        return None;
    }
    u32::try_from(within / SLOT).ok()
}

/// The struct that a map's variable is of.
pub(crate) fn structure<'b>(btf: &'b Btf<'_>, variable: u32) -> Option<Type<'b>> {
    let t = btf.get(btf.get(variable)?.target()?)?.resolved()?;
    (t.kind() == Kind::Struct).then_some(t)
}
