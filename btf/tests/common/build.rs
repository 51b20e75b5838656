//! BTF by hand, in few words.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;

use btf::co_re::{Relocator, Targets};
use btf::{Array, Btf, Builder, Definition as D, Endian, EnumeratorDef, MemberDef, RelocationInfo};

use super::Parts;
use super::records::instruction;

pub fn integer(name: &str, size: u32, raw: u8) -> D {
    D::Int {
        name: name.into(),
        size,
        raw,
        offset: 0,
        bits: (size * 8) as u8,
    }
}

pub fn int() -> D {
    integer("int", 4, 1)
}

/// Members with their types and offsets in bytes.
pub fn structure(name: &str, size: u32, members: &[(&str, u32, u32)]) -> D {
    let members: Vec<_> = members
        .iter()
        .map(|(name, id, byte)| (*name, *id, byte * 8, 0))
        .collect();
    with_bits(name, size, &members)
}

/// Members with their types, offsets and widths in bits.
pub fn with_bits(name: &str, size: u32, members: &[(&str, u32, u32, u32)]) -> D {
    D::Composite {
        union: false,
        name: name.into(),
        size,
        flag: members.iter().any(|m| m.3 != 0),
        members: members
            .iter()
            .map(|(name, type_id, bit, width)| MemberDef {
                name: (*name).into(),
                type_id: *type_id,
                raw_offset: bit | width << 24,
            })
            .collect(),
    }
}

fn values(values: &[(&str, i64)]) -> Vec<EnumeratorDef> {
    values
        .iter()
        .map(|(name, value)| EnumeratorDef {
            name: (*name).into(),
            value: *value,
        })
        .collect()
}

pub fn enumeration(name: &str, size: u32, enumerators: &[(&str, i64)]) -> D {
    D::Enum {
        wide: false,
        name: name.into(),
        size,
        signed: enumerators.iter().any(|(_, value)| *value < 0),
        values: values(enumerators),
    }
}

pub fn enumeration64(name: &str, enumerators: &[(&str, i64)]) -> D {
    D::Enum {
        wide: true,
        name: name.into(),
        size: 8,
        signed: enumerators.iter().any(|(_, value)| *value < 0),
        values: values(enumerators),
    }
}

pub fn typedef(name: &str, target: u32) -> D {
    D::Typedef {
        name: name.into(),
        target,
    }
}

pub fn declared(name: &str) -> D {
    D::Fwd {
        name: name.into(),
        union: false,
    }
}

pub fn array(element: u32, length: u32) -> D {
    D::Array(Array {
        element,
        index: 1,
        length,
    })
}

pub fn tag(name: &str, target: u32) -> D {
    D::TypeTag {
        name: name.into(),
        target,
        flag: false,
    }
}

/// BTF with relocations: each a type, an access and a kind.
pub fn with_relocations(
    endian: Endian,
    definitions: &[D],
    asked: &[(u32, &str, u32)],
) -> (Vec<u8>, Vec<RelocationInfo>) {
    let mut builder = Builder::new(endian);
    for definition in definitions {
        builder.add(definition);
    }
    let relocations = (0..)
        .zip(asked)
        .map(|(index, (type_id, access, kind))| RelocationInfo {
            instruction_offset: index * 16,
            type_id: *type_id,
            access: builder.string(access.as_bytes()),
            kind: *kind,
        })
        .collect();
    (builder.finish(), relocations)
}

/// The same as an object, whose instructions are all of one operation code.
pub fn object(code: u8, definitions: &[D], asked: &[(u32, &str, u32)]) -> Parts {
    let (btf, relocations) = with_relocations(Endian::HOST, definitions, asked);
    let local = Btf::parse(btf.as_slice()).unwrap();
    let mut relocator = Relocator::new(&local, Targets::kernel(&local));
    let code = relocations
        .iter()
        .flat_map(|r| instruction(code, relocator.relocate(r).ok().as_ref()))
        .collect();
    drop(relocator);
    drop(local);
    Parts {
        btf,
        relocations: relocations.into_iter().map(|r| ("code".to_owned(), r)).collect(),
        code: HashMap::from([("code".to_owned(), code)]),
    }
}
