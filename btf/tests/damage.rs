//! What fuzzing found: odd and damaged BTF is read, found and cut down as is said of it.
#![allow(clippy::unwrap_used, clippy::panic)]

use btf::co_re::{Relocator, Targets};
use btf::{
    Btf, Builder, Definition as D, Endian, EnumeratorDef, Kind, MemberDef, RelocationInfo, Source, minimize,
};

fn int(name: &str) -> D {
    D::Int {
        name: name.into(),
        size: 4,
        raw: 1,
        offset: 0,
        bits: 32,
    }
}

fn structure(name: &str, members: &[(&str, u32, u32)]) -> D {
    D::Composite {
        union: false,
        name: name.into(),
        size: 16,
        flag: false,
        members: members
            .iter()
            .map(|(name, type_id, raw_offset)| MemberDef {
                name: (*name).into(),
                type_id: *type_id,
                raw_offset: *raw_offset,
            })
            .collect(),
    }
}

/// BTF with these types, and relocations of (kind, type, access) in it.
fn btf(types: &[D], relocations: &[(u32, u32, &str)]) -> (Vec<u8>, Vec<RelocationInfo>) {
    let mut builder = Builder::new(Endian::Little);
    for definition in types {
        builder.add(definition);
    }
    let relocations = relocations
        .iter()
        .map(|(kind, type_id, access)| RelocationInfo {
            instruction_offset: 0,
            type_id: *type_id,
            access: builder.string(access.as_bytes()),
            kind: *kind,
        })
        .collect();
    (builder.finish(), relocations)
}

const FIELD_OFFSET: u32 = 0;
const TYPE_EXISTS: u32 = 8;
const ENUM_VALUE: u32 = 11;

#[test]
fn types_that_no_table_has_are_found_by_kind_and_name() {
    let tag = D::TypeTag {
        name: b"rcu".to_vec(),
        target: 1,
        flag: false,
    };
    let (bytes, _) = btf(&[int("int"), D::Ptr(1), structure("", &[]), tag], &[]);
    let btf = Btf::parse(bytes).unwrap();
    for (kind, name, id) in [
        (Kind::Int, "int", 1),
        (Kind::Ptr, "", 2),
        (Kind::Struct, "", 3),
        (Kind::TypeTag, "rcu", 4),
    ] {
        assert_eq!(
            btf.find(kind, name.as_bytes()).map(|t| t.id()),
            Some(id),
            "{kind} {name}"
        );
    }
    assert!(btf.find(Kind::Union, b"").is_none());
}

#[test]
fn types_of_several_kinds_and_one_name_are_all_kept() {
    let types = [
        int("int"),
        structure("level", &[("x", 1, 32)]),
        D::Enum {
            wide: false,
            name: b"level".to_vec(),
            size: 4,
            signed: false,
            values: vec![EnumeratorDef {
                name: b"HIGH".to_vec(),
                value: 7,
            }],
        },
        D::Typedef {
            name: b"level".to_vec(),
            target: 2,
        },
    ];
    let asked = [
        (FIELD_OFFSET, 2, "0:0"),
        (ENUM_VALUE, 3, "0"),
        (TYPE_EXISTS, 4, "0"),
    ];
    let (bytes, relocations) = btf(&types, &asked);
    let btf = Btf::parse(bytes.as_slice()).unwrap();
    assert_eq!(btf.candidates_of(&[b"level", b"level"]), [[2, 3, 4]; 2]);
    let source = Source {
        btf: &btf,
        relocations: &relocations,
    };
    let min = minimize(&[source], Targets::kernel(&btf)).unwrap();
    assert_eq!((min.found, min.missing), (3, 0));
    let small = Btf::parse(min.bytes).unwrap();
    let mut relocator = Relocator::new(&btf, Targets::kernel(&small));
    let values: Vec<_> = relocations
        .iter()
        .map(|r| relocator.relocate(r).unwrap().value)
        .collect();
    assert_eq!(values, [Some(4), Some(7), Some(1)]);
}

#[test]
fn a_relocation_that_its_own_object_does_not_bear_is_missing_and_not_found() {
    // The field is there, and its type is not.
    let types = [structure("s", &[("x", 77, 0)])];
    let (bytes, relocations) = btf(&types, &[(FIELD_OFFSET, 1, "0:0")]);
    let object = Btf::parse(bytes.as_slice()).unwrap();
    let (bytes, _) = btf(&[structure("s", &[("x", 2, 0)]), int("int")], &[]);
    let kernel = Btf::parse(bytes).unwrap();
    let source = Source {
        btf: &object,
        relocations: &relocations,
    };
    let min = minimize(&[source], Targets::kernel(&kernel)).unwrap();
    assert_eq!((min.found, min.missing), (0, 1));
}
