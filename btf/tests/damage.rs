//! What fuzzing found: odd and damaged BTF is read, found and cut down as is said of it.
#![allow(clippy::unwrap_used, clippy::panic)]

use btf::co_re::{CoreError, Relocator, Targets};
use btf::{
    Btf, Builder, Definition as D, Endian, EnumeratorDef, Kind, MemberDef, ParameterDef, RelocationInfo,
    Source, minimize,
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

#[test]
fn chains_of_equal_pointers_are_written_in_time() {
    // Two chains that are equal from their ends on: 20,000 pointers each.
    let length = 20_000u32;
    let chain = |first: u32| (1..length).map(move |i| D::Ptr(first + i)).chain([D::Ptr(0)]);
    let named = |name: &str, target| D::Typedef {
        name: name.into(),
        target,
    };
    let mut types = vec![named("a", 3), named("b", 3 + length)];
    types.extend(chain(3).chain(chain(3 + length)));
    let (bytes, _) = btf(&types, &[]);
    let kernel = Btf::parse(bytes).unwrap();
    let (bytes, relocations) = btf(
        &[named("a", 3), named("b", 3), D::Ptr(0)],
        &[
            (FIELD_OFFSET, 1, "0"),
            (TYPE_EXISTS, 1, "0"),
            (FIELD_OFFSET, 2, "0"),
            (TYPE_EXISTS, 2, "0"),
        ],
    );
    let object = Btf::parse(bytes.as_slice()).unwrap();
    let source = Source {
        btf: &object,
        relocations: &relocations,
    };
    let started = std::time::Instant::now();
    let min = minimize(&[source], Targets::kernel(&kernel)).unwrap();
    // What is left: void, the two names, one chain.
    assert_eq!(Btf::parse(min.bytes).unwrap().len(), 1 + 2 + length);
    // A bound on hanging, not on speed.
    assert!(started.elapsed() < std::time::Duration::from_secs(20));
}

#[test]
fn a_type_that_stands_for_others_may_turn_out_equal_to_another() {
    let prototype = |parameters: &[u32]| D::FuncProto {
        returns: 0,
        parameters: parameters
            .iter()
            .map(|id| ParameterDef {
                name: Vec::new(),
                type_id: *id,
            })
            .collect(),
    };
    // Pointers to pointers to pointers; that 7 and 8 are equal is seen before that both are equal to 6.
    let types = [
        D::Ptr(0),
        D::Ptr(0),
        D::Ptr(1),
        D::Ptr(2),
        D::Typedef {
            name: b"run".to_vec(),
            target: 9,
        },
        D::Ptr(3),
        D::Ptr(4),
        D::Ptr(4),
        prototype(&[6, 7, 8]),
    ];
    let (bytes, relocations) = btf(&types, &[(TYPE_EXISTS, 5, "0")]);
    let btf = Btf::parse(bytes.as_slice()).unwrap();
    let source = Source {
        btf: &btf,
        relocations: &relocations,
    };
    let min = minimize(&[source], Targets::kernel(&btf)).unwrap();
    let small = Btf::parse(min.bytes).unwrap();
    let mut relocator = Relocator::new(&btf, Targets::kernel(&small));
    assert_eq!(relocator.relocate(&relocations[0]).unwrap().value, Some(1));
    let run = small.find(Kind::FuncProto, b"").unwrap();
    let parameters: Vec<u32> = run.parameters().map(|p| p.type_id).collect();
    assert_eq!(parameters, [parameters[0]; 3]);
    assert_eq!(small.len(), 1 + 3 + 2);
}

#[test]
fn many_relocations_with_many_candidates_are_given_up_before_they_take_all_memory() {
    let many = 10_000;
    let kernel: Vec<D> = std::iter::once(int("int"))
        .chain((0..many).map(|i| structure("s", &[("x", 1, i * 8)])))
        .collect();
    let (bytes, _) = btf(&kernel, &[]);
    let kernel = Btf::parse(bytes).unwrap();
    let asked = vec![(FIELD_OFFSET, 2, "0"); many as usize];
    let (bytes, relocations) = btf(&[int("int"), structure("s", &[])], &asked);
    let object = Btf::parse(bytes.as_slice()).unwrap();
    let source = Source {
        btf: &object,
        relocations: &relocations,
    };
    let targets = Targets::kernel(&kernel);
    assert_eq!(minimize(&[source], targets), Err(CoreError::TooComplex));
    let mut relocator = Relocator::new(&object, targets);
    let last = relocations.iter().find_map(|r| relocator.relocate(r).err());
    assert_eq!(last, Some(CoreError::TooComplex));
}

#[test]
fn what_many_relocations_refer_to_is_followed_once() {
    let length = 50_000u32;
    let mut types = vec![D::Typedef {
        name: b"a".to_vec(),
        target: 2,
    }];
    types.extend((3..length).map(D::Ptr));
    types.push(D::Ptr(0));
    let (bytes, _) = btf(&types, &[]);
    let kernel = Btf::parse(bytes).unwrap();
    let mut asked = vec![(TYPE_EXISTS, 1, "0"); 20_000];
    asked.push((FIELD_OFFSET, 1, "0"));
    let (bytes, relocations) = btf(&[types[0].clone(), D::Ptr(0)], &asked);
    let object = Btf::parse(bytes.as_slice()).unwrap();
    let source = Source {
        btf: &object,
        relocations: &relocations,
    };
    let started = std::time::Instant::now();
    let min = minimize(&[source], Targets::kernel(&kernel)).unwrap();
    assert_eq!((min.found, min.missing), (1, 20_000));
    // A bound on hanging, not on speed.
    assert!(started.elapsed() < std::time::Duration::from_secs(20));
}
