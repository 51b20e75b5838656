//! Random BTF that looks like a kernel's in small: few names, so that types match, are ambiguous and are
//! missed often, and targets that are changed copies of what relocations speak of.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use btf::{Array, Builder, Definition as D, Endian, EnumeratorDef, Kind, MemberDef, ParameterDef};
use proptest::prelude::*;

/// A type whose references are distances.
#[derive(Debug, Clone)]
pub enum Raw {
    Int {
        size: u32,
        raw: u8,
        offset: u8,
    },
    Float,
    Ptr {
        to: u32,
        any: bool,
    },
    Array {
        of: u32,
        length: u32,
    },
    Composite {
        union: bool,
        name: &'static str,
        size: u32,
        flag: bool,
        members: Vec<RawMember>,
    },
    Enum {
        wide: bool,
        name: &'static str,
        size: u32,
        signed: bool,
        values: Vec<(&'static str, i64)>,
    },
    Fwd {
        name: &'static str,
        union: bool,
    },
    Typedef {
        name: &'static str,
        to: u32,
    },
    Qualifier {
        kind: Kind,
        to: u32,
    },
    TypeTag {
        to: u32,
    },
    FuncProto {
        returns: u32,
        parameters: Vec<u32>,
    },
}

#[derive(Debug, Clone)]
pub struct RawMember {
    name: &'static str,
    of: u32,
    offset: u32,
    bits: u32,
}

/// How a target's type comes from a local one.
#[derive(Debug, Clone)]
pub enum Change {
    Keep,
    Tweak(u32),
    Replace(Raw),
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "a___x", "b___y", "c", ""])
}

fn member_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["m", "n", "o", "p", "m___f", "", ""])
}

fn value_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["A", "B", "C", "A___1", "B___2"])
}

fn length() -> impl Strategy<Value = u32> {
    prop_oneof![30 => 0u32..4, 3 => Just(1 << 14), 1 => Just(1 << 30), 1 => Just(u32::MAX)]
}

fn member() -> impl Strategy<Value = RawMember> {
    let offset = prop_oneof![6 => (0u32..16).prop_map(|o| o * 32), 2 => 0u32..256, 1 => Just(40_000 * 8)];
    let bits = prop_oneof![3 => Just(0u32), 1 => 1u32..40, 1 => 1u32..5];
    (member_name(), any::<u32>(), offset, bits).prop_map(|(name, of, offset, bits)| RawMember {
        name,
        of,
        offset,
        bits,
    })
}

pub fn raw() -> impl Strategy<Value = Raw> {
    let size = prop_oneof![60 => 0u32..64, 3 => Just(100_000), 1 => Just(1 << 31), 1 => Just(u32::MAX)];
    let value = prop_oneof![-3i64..4, Just(i64::from(u32::MAX)), Just(1 << 40), Just(i64::MIN)];
    let offset = prop_oneof![19 => Just(0u8), 1 => Just(3u8)];
    prop_oneof![
        2 => (prop::sample::select(vec![1u32, 2, 4, 8, 16]), 0u8..8, offset)
            .prop_map(|(size, raw, offset)| Raw::Int { size, raw, offset }),
        1 => Just(Raw::Float),
        3 => (any::<u32>(), any::<bool>()).prop_map(|(to, any)| Raw::Ptr { to, any }),
        2 => (any::<u32>(), length()).prop_map(|(of, length)| Raw::Array { of, length }),
        8 => (any::<bool>(), name(), size, any::<bool>(), prop::collection::vec(member(), 0..5)).prop_map(
            |(union, name, size, flag, members)| Raw::Composite { union, name, size, flag, members }
        ),
        3 => (
            any::<bool>(),
            name(),
            prop::sample::select(vec![1u32, 4, 8]),
            any::<bool>(),
            prop::collection::vec((value_name(), value), 0..4)
        )
            .prop_map(|(wide, name, size, signed, values)| Raw::Enum { wide, name, size, signed, values }),
        1 => (name(), any::<bool>()).prop_map(|(name, union)| Raw::Fwd { name, union }),
        3 => (name(), any::<u32>()).prop_map(|(name, to)| Raw::Typedef { name, to }),
        1 => (prop::sample::select(vec![Kind::Const, Kind::Volatile, Kind::Restrict]), any::<u32>())
            .prop_map(|(kind, to)| Raw::Qualifier { kind, to }),
        1 => any::<u32>().prop_map(|to| Raw::TypeTag { to }),
        1 => (any::<u32>(), prop::collection::vec(any::<u32>(), 0..3))
            .prop_map(|(returns, parameters)| Raw::FuncProto { returns, parameters }),
    ]
}

pub fn raws(most: usize) -> impl Strategy<Value = Vec<Raw>> {
    prop::collection::vec(raw(), 1..most)
}

pub fn changes(most: usize) -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(
        prop_oneof![
            3 => Just(Change::Keep),
            3 => any::<u32>().prop_map(Change::Tweak),
            1 => raw().prop_map(Change::Replace),
        ],
        1..most,
    )
}

/// A copy with changes.
pub fn changed(raws: &[Raw], changes: &[Change]) -> Vec<Raw> {
    raws.iter()
        .zip(changes.iter().cycle())
        .map(|(raw, change)| match change {
            Change::Keep => raw.clone(),
            Change::Replace(other) => other.clone(),
            Change::Tweak(how) => tweaked(raw, *how),
        })
        .collect()
}

/// With one name for all enums and declarations that have one.
pub fn one_name(mut raws: Vec<Raw>) -> Vec<Raw> {
    for raw in &mut raws {
        if let Raw::Enum { name, .. } | Raw::Fwd { name, .. } = raw {
            *name = match *name {
                "" => "",
                "b___y" => "a___y",
                _ => "a",
            };
        }
    }
    raws
}

/// A small change.
fn tweaked(raw: &Raw, how: u32) -> Raw {
    let (what, more) = (how % 5, how / 5);
    let mut raw = raw.clone();
    match &mut raw {
        Raw::Int { size, raw, .. } if what == 0 => {
            (*size, *raw) = ([1, 2, 4, 8][more as usize % 4], (more % 8) as u8);
        }
        Raw::Int { size, .. } => *size = [1, 2, 4, 8][more as usize % 4],
        Raw::Array { length, .. } => *length = more % 4,
        Raw::Composite {
            name,
            size,
            members,
            union,
            ..
        } => {
            let at = more as usize % members.len().max(1);
            match what {
                0 if !members.is_empty() => drop(members.remove(at)),
                1 if !members.is_empty() => members[at].offset = (more % 20) * 32,
                2 => *name = ["a", "b", "a___x", "b___z"][more as usize % 4],
                3 => *size = more % 128,
                _ if !members.is_empty() => members[at].of = more,
                _ => *union = !*union,
            }
        }
        Raw::Enum {
            wide,
            name,
            values,
            signed,
            ..
        } => match what {
            0 if !values.is_empty() => drop(values.remove(more as usize % values.len())),
            1 if !values.is_empty() => {
                let at = more as usize % values.len();
                values[at].1 = i64::from(more % 7);
            }
            2 => *wide = !*wide,
            3 => *name = ["a", "b", "a___x"][more as usize % 3],
            _ => *signed = !*signed,
        },
        Raw::Typedef { to, .. } | Raw::Ptr { to, .. } | Raw::Qualifier { to, .. } => *to = more,
        _ => {}
    }
    raw
}

/// What is known of the types so far, to keep what libbpf cannot bear out of them.
#[derive(Default)]
struct Known {
    definitions: Vec<D>,
    /// How many types it takes to unfold each; libbpf does so.
    weight: Vec<u32>,
}

/// Heaviest type.
const HEAVY: u32 = 200;

impl Known {
    /// An earlier type: one of the first few, or one just before.
    fn earlier(&self, distance: u32) -> u32 {
        let count = self.definitions.len() as u32;
        let (near, distance) = (distance.is_multiple_of(2), distance / 2);
        let id = if near {
            distance % count.min(5)
        } else {
            count - distance % count.min(6)
        };
        match self.weight.get((id as usize).wrapping_sub(1)) {
            Some(weight) if *weight > HEAVY => 1,
            _ => id,
        }
    }

    fn get(&self, id: u32) -> Option<&D> {
        self.definitions.get((id as usize).checked_sub(1)?)
    }

    fn resolved(&self, id: u32) -> Option<&D> {
        match self.get(id)? {
            D::Typedef { target, .. } | D::Qualifier { target, .. } | D::TypeTag { target, .. } => {
                self.resolved(*target)
            }
            other => Some(other),
        }
    }

    /// Names that a member adds to its struct. (C has each once; libbpf counts offsets wrong otherwise.)
    fn names(&self, member: &MemberDef, names: &mut Vec<Vec<u8>>) {
        if !member.name.is_empty() {
            names.push(btf::essential(&member.name).to_vec());
        } else if let Some(D::Composite { members, .. }) = self.resolved(member.type_id) {
            members.iter().for_each(|m| self.names(m, names));
        }
    }

    fn push(&mut self, definition: D) {
        let weight = |id: u32| {
            self.weight
                .get((id as usize).wrapping_sub(1))
                .copied()
                .unwrap_or(0)
        };
        let weight = 1 + match &definition {
            D::Ptr(to) => weight(*to),
            D::Array(array) => weight(array.element),
            D::Composite { members, .. } => members.iter().map(|m| weight(m.type_id)).sum(),
            D::Typedef { target, .. } | D::Qualifier { target, .. } | D::TypeTag { target, .. } => {
                weight(*target)
            }
            D::FuncProto { returns, parameters } => {
                weight(*returns) + parameters.iter().map(|p| weight(p.type_id)).sum::<u32>()
            }
            _ => 0,
        };
        self.definitions.push(definition);
        self.weight.push(weight);
    }

    fn member(&self, raw: &RawMember, flag: bool) -> MemberDef {
        let type_id = self.earlier(raw.of);
        // libbpf divides by the size of a bit field's type.
        let whole = match self.resolved(type_id) {
            Some(D::Int { .. } | D::Enum { .. }) => 0,
            _ => u32::MAX,
        };
        let bits = if flag && whole == 0 { raw.bits } else { 0 };
        MemberDef {
            name: raw.name.into(),
            type_id,
            raw_offset: raw.offset | bits << 24,
        }
    }
}

fn word(size: u32, raw: u8, offset: u8) -> D {
    let name = if size == 8 { "long" } else { "int" };
    D::Int {
        name: name.into(),
        size,
        raw,
        offset,
        bits: (size * 8).min(128) as u8,
    }
}

/// Definitions in order; ids count from 1.
pub fn definitions(raws: &[Raw]) -> Vec<D> {
    known(raws, usize::MAX)
}

/// The same for a kernel and, on top of it, a module; and how many are the kernel's.
pub fn split_definitions(kernel: &[Raw], module: &[Raw]) -> (Vec<D>, usize) {
    let base = definitions(kernel).len();
    (known(&[kernel, module].concat(), base), base)
}

/// The first `base` refer to one another alone.
fn known(raws: &[Raw], base: usize) -> Vec<D> {
    let mut known = Known::default();
    for start in [word(4, 1, 0), word(8, 0, 0), word(1, 2, 0), D::Ptr(0)] {
        known.push(start);
    }
    let mut anywhere = Vec::new();
    for raw in raws {
        let definition = match raw {
            Raw::Int { size, raw, offset } => word(*size, *raw, *offset),
            Raw::Float => D::Float {
                name: b"double".to_vec(),
                size: 8,
            },
            Raw::Ptr { to, any } => {
                if *any {
                    anywhere.push((known.definitions.len(), *to));
                }
                D::Ptr(known.earlier(*to))
            }
            Raw::Array { of, length } => D::Array(Array {
                element: known.earlier(*of),
                index: 1,
                length: *length,
            }),
            Raw::Composite {
                union,
                name,
                size,
                flag,
                members,
            } => {
                let mut kept = Vec::new();
                let mut names = Vec::new();
                for member in members {
                    let member = known.member(member, *flag);
                    let mut own = Vec::new();
                    known.names(&member, &mut own);
                    if own.iter().all(|n| !names.contains(n)) {
                        names.extend(own);
                        kept.push(member);
                    }
                }
                D::Composite {
                    union: *union,
                    name: (*name).into(),
                    size: *size,
                    flag: *flag,
                    members: kept,
                }
            }
            Raw::Enum {
                wide,
                name,
                size,
                signed,
                values,
            } => D::Enum {
                wide: *wide,
                name: (*name).into(),
                size: *size,
                signed: *signed,
                values: values
                    .iter()
                    .map(|(name, value)| EnumeratorDef {
                        name: (*name).into(),
                        value: *value,
                    })
                    .collect(),
            },
            Raw::Fwd { name, union } => D::Fwd {
                name: (*name).into(),
                union: *union,
            },
            Raw::Typedef { name, to } => D::Typedef {
                name: (*name).into(),
                target: known.earlier(*to),
            },
            Raw::Qualifier { kind, to } => D::Qualifier {
                kind: *kind,
                target: known.earlier(*to),
            },
            Raw::TypeTag { to } => D::TypeTag {
                name: b"a".to_vec(),
                target: known.earlier(*to),
                flag: false,
            },
            Raw::FuncProto { returns, parameters } => D::FuncProto {
                returns: known.earlier(*returns),
                parameters: parameters
                    .iter()
                    .map(|p| ParameterDef {
                        name: Vec::new(),
                        type_id: known.earlier(*p),
                    })
                    .collect(),
            },
        };
        known.push(definition);
    }
    // Pointers to structs may go forwards, too.
    for (at, to) in anywhere {
        let among = if at < base { base } else { usize::MAX };
        let ids: Vec<u32> = (1..)
            .zip(known.definitions.iter().take(among))
            .filter(|(_, d)| matches!(d, D::Composite { .. }))
            .map(|(id, _)| id)
            .collect();
        if let Some(id) = ids.get(to as usize % ids.len().max(1)) {
            known.definitions[at] = D::Ptr(*id);
        }
    }
    known.definitions
}

/// BTF of definitions.
pub fn encode(endian: Endian, definitions: &[D]) -> Vec<u8> {
    let mut builder = Builder::new(endian);
    for definition in definitions {
        builder.add(definition);
    }
    builder.finish()
}

/// BTF of a module whose kernel has the first `base` of the definitions, on top of that one's.
pub fn encode_split((definitions, base): (Vec<D>, usize)) -> (Vec<u8>, Vec<u8>) {
    let kernel = encode(Endian::HOST, &definitions[..base]);
    let whole = encode(Endian::HOST, &definitions);
    let word = |bytes: &[u8], at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let (types, all_types) = (word(&kernel, 12), word(&whole, 12));
    let strings = word(&kernel, 20);
    let own_types = &whole[24 + types..24 + all_types];
    let own_strings = &whole[24 + all_types + strings..];
    let mut module = whole[..8].to_vec();
    for value in [0, own_types.len(), own_types.len(), own_strings.len()] {
        module.extend_from_slice(&(value as u32).to_ne_bytes());
    }
    module.extend_from_slice(own_types);
    module.extend_from_slice(own_strings);
    (kernel, module)
}
