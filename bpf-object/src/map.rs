//! Maps: BTF-defined (`.maps`), legacy (`maps`), and data sections.

use std::collections::BTreeSet;

use btf::{Btf, Kind, Type};

use crate::bytes::Bytes;
use crate::elf::{Elf, Section, SymbolType};
use crate::error::{InspectError, SizeLimit};
use crate::globals::c_type;
use crate::map_type::{ARRAY, map_type_name};

/// Most maps of one object.
const MAX_MAPS: usize = 1024;
/// Most members of a map's definition; libbpf knows twelve.
const MAX_MEMBERS: u32 = 64;
/// Size of the struct that legacy definitions have in common, in bytes.
const LEGACY_SIZE: u64 = 20;

/// How a map was declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MapSource {
    /// A struct in `.maps`, described by BTF.
    Btf,
    /// A `struct bpf_map_def` in `maps`.
    Legacy,
    /// A section of global variables: `.data`, `.rodata`, `.bss`.
    Data {
        /// Whether the programs can only read it.
        read_only: bool,
    },
}

/// Whether the object asks for its map to be pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pinning {
    /// It does not.
    None,
    /// Under its name (`LIBBPF_PIN_BY_NAME`).
    ByName,
    /// A value that no loader knows.
    Other(u32),
}

impl Pinning {
    fn from_raw(raw: u32) -> Self {
        match raw {
            0 => Pinning::None,
            1 => Pinning::ByName,
            other => Pinning::Other(other),
        }
    }
}

/// A map as the object declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// Its name; a data section's name as it stands (`.rodata.config`).
    pub name: String,
    /// `enum bpf_map_type`.
    pub map_type: u32,
    /// Size of a key in bytes.
    pub key_size: u32,
    /// Size of a value in bytes.
    pub value_size: u32,
    /// Most entries; 0 leaves it to the loader.
    pub max_entries: u32,
    /// `BPF_F_*` flags.
    pub flags: u32,
    /// Whether the object asks for it to be pinned.
    pub pinning: Pinning,
    /// How it was declared.
    pub source: MapSource,
    /// Type of a key in C (`struct event_key`), where the object says it.
    pub key_type: Option<String>,
    /// Type of a value in C, where the object says it.
    pub value_type: Option<String>,
}

impl Map {
    /// Name of the map's type (`ringbuf`); `type 99` for one that is not known.
    pub fn type_name(&self) -> String {
        map_type_name(self.map_type).map_or_else(|| format!("type {}", self.map_type), str::to_owned)
    }
}

/// All maps: BTF-defined and legacy ones as declared, then data sections in the order of the file.
pub(crate) fn read(elf: &Elf<'_>, btf: Option<&Btf<'_>>) -> Result<Vec<Map>, InspectError> {
    let mut maps = Vec::new();
    if let Some(section) = elf.section(".maps")
        && section.size > 0
    {
        let btf = btf.ok_or_else(|| {
            InspectError::malformed("section .maps", "the object has no .BTF; compile it with -g")
        })?;
        read_btf(btf, &mut maps)?;
    }
    for (index, section) in elf
        .sections
        .iter()
        .enumerate()
        .filter(|(_, s)| s.name == "maps" || s.name.starts_with("maps/"))
    {
        read_legacy(elf, index, section, &mut maps)?;
    }
    for section in &elf.sections {
        maps.extend(data_map(section)?);
    }
    if maps.len() > MAX_MAPS {
        return Err(InspectError::too_many("the list of maps", maps.len(), MAX_MAPS));
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = maps.iter().find(|m| !names.insert(m.name.as_str())) {
        return Err(InspectError::Duplicate {
            what: "map",
            name: twice.name.clone(),
        });
    }
    Ok(maps)
}

fn data_map(section: &Section<'_>) -> Result<Option<Map>, InspectError> {
    let is = |family: &str| {
        section
            .name
            .strip_prefix(family)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let read_only = is(".rodata");
    if section.size == 0 || !(read_only || is(".data") || is(".bss")) {
        return Ok(None);
    }
    let value_size = u32::try_from(section.size).map_err(|_| InspectError::TooLarge {
        what: format!("section {:?}", section.name),
        size: section.size,
        limit: SizeLimit::Bytes(u64::from(u32::MAX)),
    })?;
    // Read-only for programs; the loader freezes it for user space once it is filled.
    const BPF_F_RDONLY_PROG: u32 = 1 << 7;
    Ok(Some(Map {
        name: section.name.into(),
        map_type: ARRAY,
        key_size: 4,
        value_size,
        max_entries: 1,
        flags: if read_only { BPF_F_RDONLY_PROG } else { 0 },
        pinning: Pinning::None,
        source: MapSource::Data { read_only },
        key_type: None,
        value_type: None,
    }))
}

fn read_legacy(
    elf: &Elf<'_>,
    index: usize,
    section: &Section<'_>,
    maps: &mut Vec<Map>,
) -> Result<(), InspectError> {
    let data = Bytes::new(section.data, elf.endian);
    let symbols = elf.symbols.iter().filter(|s| {
        s.section == Some(index) && s.kind == SymbolType::Other && !s.name.is_empty() && !s.local
    });
    for symbol in symbols {
        let bad = |detail: &str| InspectError::malformed(format!("map {:?}", symbol.name), detail);
        if symbol.size < LEGACY_SIZE {
            return Err(bad("its definition is shorter than struct bpf_map_def"));
        }
        let at = usize::try_from(symbol.value).map_err(|_| bad("it lies outside of its section"))?;
        let field = |i: usize| {
            at.checked_add(i * 4)
                .and_then(|at| data.u32(at))
                .ok_or_else(|| bad("it reaches beyond its section"))
        };
        maps.push(Map {
            name: symbol.name.into(),
            map_type: field(0)?,
            key_size: field(1)?,
            value_size: field(2)?,
            max_entries: field(3)?,
            flags: field(4)?,
            // aya's longer definition: an id and the pinning follow.
            pinning: if symbol.size >= 28 {
                Pinning::from_raw(field(6)?)
            } else {
                Pinning::None
            },
            source: MapSource::Legacy,
            key_type: None,
            value_type: None,
        });
        check_count(maps)?;
    }
    Ok(())
}

fn check_count(maps: &[Map]) -> Result<(), InspectError> {
    match maps.len() {
        n if n > MAX_MAPS => Err(InspectError::too_many("the list of maps", n, MAX_MAPS)),
        _ => Ok(()),
    }
}

fn read_btf(btf: &Btf<'_>, maps: &mut Vec<Map>) -> Result<(), InspectError> {
    for section in btf
        .types()
        .filter(|t| t.kind() == Kind::Datasec && t.name() == ".maps")
    {
        for listed in section.variables() {
            let variable = btf
                .get(listed.type_id)
                .filter(|t| t.kind() == Kind::Var)
                .ok_or_else(|| {
                    InspectError::malformed("section .maps", "BTF lists something else than a map")
                })?;
            maps.push(read_definition(btf, variable)?);
            check_count(maps)?;
        }
    }
    Ok(())
}

fn read_definition(btf: &Btf<'_>, variable: Type<'_>) -> Result<Map, InspectError> {
    let name = variable.name();
    let bad = |detail: String| InspectError::malformed(format!("map {name:?}"), detail);
    let definition = btf
        .get(variable.size_or_type())
        .and_then(Type::resolved)
        .filter(|t| t.kind() == Kind::Struct)
        .ok_or_else(|| bad("it is not declared as a struct".into()))?;
    if definition.count() > MAX_MEMBERS {
        return Err(InspectError::too_many(
            format!("the definition of map {name:?}"),
            definition.count() as usize,
            MAX_MEMBERS as usize,
        ));
    }
    let mut map = Map {
        name: name.into(),
        map_type: 0,
        key_size: 0,
        value_size: 0,
        max_entries: 0,
        flags: 0,
        pinning: Pinning::None,
        source: MapSource::Btf,
        key_type: None,
        value_type: None,
    };
    for member in definition.members() {
        let number = || {
            uint(btf, member.type_id).ok_or_else(|| {
                let name = member.name();
                bad(format!("member {name:?} is not of the form __uint({name}, N)"))
            })
        };
        let sized = || {
            let t = pointee(btf, member.type_id);
            let size = t.and_then(|t| btf.size(t.id()));
            t.zip(size).ok_or_else(|| {
                let name = member.name();
                bad(format!("member {name:?} is not of the form __type({name}, T)"))
            })
        };
        match member.name() {
            "type" => map.map_type = number()?,
            "max_entries" => map.max_entries = number()?,
            "map_flags" => map.flags = number()?,
            "key_size" => map.key_size = number()?,
            "value_size" => map.value_size = number()?,
            "key" => {
                let (t, size) = sized()?;
                (map.key_size, map.key_type) = (size, Some(c_type(btf, t.id())));
            }
            "value" => {
                let (t, size) = sized()?;
                (map.value_size, map.value_type) = (size, Some(c_type(btf, t.id())));
            }
            "pinning" => map.pinning = Pinning::from_raw(number()?),
            // Slots of a map of maps or programs: each holds an id.
            "values" => map.value_size = 4,
            "numa_node" | "map_extra" => {
                number()?;
            }
            other => {
                return Err(bad(format!(
                    "member {other:?} is none that a map has; write one of type, max_entries, map_flags, map_extra, \
                     numa_node, key, key_size, value, value_size, values, pinning"
                )));
            }
        }
    }
    if map.map_type == 0 {
        return Err(bad(
            "it has no type; give one with __uint(type, BPF_MAP_TYPE_…)".into()
        ));
    }
    Ok(map)
}

/// The number in `int (*member)[N]`.
fn uint(btf: &Btf<'_>, id: u32) -> Option<u32> {
    Some(pointee(btf, id)?.resolved()?.array()?.length)
}

/// T in `T *member`.
fn pointee<'b>(btf: &'b Btf<'_>, id: u32) -> Option<Type<'b>> {
    let pointer = btf.get(id)?.resolved()?;
    btf.get(pointer.target().filter(|_| pointer.kind() == Kind::Ptr)?)
}
