//! Definitions of random types: references made of distances, and nothing that libbpf cannot bear.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use btf::{Array, Builder, Definition as D, Endian, EnumeratorDef, MemberDef, ParameterDef};

use super::random::{Raw, RawMember};

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
