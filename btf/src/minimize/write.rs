//! Writes what is kept: types by their order in the kernel, equal ones once.

use std::collections::HashMap;

use super::equal::Equal;
use super::keep::{Keep, Kept, Key, asked_by};
use crate::builder::{Builder, Definition as D, EnumeratorDef, MemberDef, ParameterDef};
use crate::kind::Kind;
use crate::size::is_long;
use crate::types::Array;

pub(crate) fn write(kept: &Kept<'_>) -> Vec<u8> {
    let equal = Equal::new(kept);
    let written = kept.types.keys().copied().filter(|key| equal.is_written(*key));
    let ids: HashMap<u32, u32> = written.filter_map(|key| equal.of(key)).zip(1..).collect();
    let id = |key: Key| equal.of(key).and_then(|n| ids.get(&n).copied()).unwrap_or(0);
    let kernel = kept.targets.kernel;
    let mut builder = Builder::new(kernel.endian());
    let mut has_long = false;
    for (key, keep) in &kept.types {
        if !equal.is_written(*key) {
            continue;
        }
        let Some(definition) = define(kept, *key, keep, &id) else {
            continue;
        };
        has_long |= matches!(&definition, D::Int { name, .. } if is_long(name));
        builder.add(&definition);
    }
    // Readers take the size of a pointer from that of `long`, and for 8 bytes without one.
    if kernel.pointer_size() != 8 && !has_long {
        builder.add(&D::Int {
            name: b"long".to_vec(),
            size: kernel.pointer_size(),
            raw: 1,
            offset: 0,
            bits: 32,
        });
    }
    builder.finish()
}

/// What is left of a type, with the ids of the types that it refers to.
pub(super) fn define(kept: &Kept<'_>, key: Key, keep: &Keep, id: &dyn Fn(Key) -> u32) -> Option<D> {
    let t = kept.get(key)?;
    let to = |target: u32| kept.key(key, target).map_or(0, id);
    let own_name = t.name_bytes().to_vec();
    let name = if keep.named { own_name.clone() } else { Vec::new() };
    // Enums and declarations are compared by their names wherever they are met. A module's that the
    // kernel's are asked for must not stand beside those, though; without a name it goes for any.
    let compared = if !keep.named && key.module.is_some() && kept.asked.contains(&asked_by(&t)) {
        Vec::new()
    } else {
        own_name
    };
    Some(match t.kind() {
        Kind::Ptr => D::Ptr(if keep.parts { to(t.size_or_type()) } else { 0 }),
        Kind::Array => {
            let array = t.array()?;
            D::Array(Array {
                element: to(array.element),
                index: 0,
                length: array.length,
            })
        }
        Kind::Struct | Kind::Union => D::Composite {
            union: t.kind() == Kind::Union,
            name,
            size: t.own_size()?,
            flag: t.flag(),
            members: keep
                .items
                .iter()
                .filter_map(|index| t.member(*index))
                .map(|m| MemberDef {
                    name: m.name_bytes().to_vec(),
                    type_id: to(m.type_id),
                    raw_offset: m.bit_offset | m.bit_size << 24,
                })
                .collect(),
        },
        Kind::Enum | Kind::Enum64 => D::Enum {
            wide: t.kind() == Kind::Enum64,
            name: compared,
            size: t.own_size()?,
            signed: t.flag(),
            values: keep
                .items
                .iter()
                .filter_map(|index| t.enumerator(*index))
                .map(|e| EnumeratorDef {
                    name: e.name_bytes().to_vec(),
                    value: e.value,
                })
                .collect(),
        },
        Kind::Typedef => D::Typedef {
            name,
            target: to(t.size_or_type()),
        },
        Kind::FuncProto => D::FuncProto {
            returns: to(t.size_or_type()),
            parameters: t
                .parameters()
                .map(|p| ParameterDef {
                    name: Vec::new(),
                    type_id: to(p.type_id),
                })
                .collect(),
        },
        Kind::Fwd => D::Fwd {
            name: compared,
            union: t.flag(),
        },
        // Their names are too few to matter.
        Kind::Int | Kind::Float => t.definition()?,
        Kind::TypeTag | Kind::Volatile | Kind::Const | Kind::Restrict => D::Typedef {
            name,
            target: to(t.size_or_type()),
        },
        // No relocation leads here.
        _ => D::Fwd { name, union: false },
    })
}
