//! What is written is read back the same, in both byte orders, and survives damage.
#![allow(clippy::unwrap_used, clippy::panic)]

use btf::{
    Array, Btf, Builder, Definition as D, Endian, EnumeratorDef, Kind, Linkage, MemberDef, ParameterDef,
    VariableDef,
};
use proptest::prelude::*;

fn name() -> impl Strategy<Value = Vec<u8>> {
    "[a-z_]{0,12}".prop_map(String::into_bytes)
}

fn linkage() -> impl Strategy<Value = Linkage> {
    prop::sample::select(vec![Linkage::Static, Linkage::Global, Linkage::Extern])
}

fn definition() -> impl Strategy<Value = D> {
    let id = 0u32..40;
    let members = || {
        prop::collection::vec((name(), 0u32..40, any::<u32>()), 0..8).prop_map(|members| {
            members
                .into_iter()
                .map(|(name, type_id, raw_offset)| MemberDef {
                    name,
                    type_id,
                    raw_offset,
                })
                .collect()
        })
    };
    let values = |range: std::ops::Range<i64>| {
        prop::collection::vec((name(), range), 0..8).prop_map(|values| {
            values
                .into_iter()
                .map(|(name, value)| EnumeratorDef { name, value })
                .collect::<Vec<_>>()
        })
    };
    prop_oneof![
        (name(), any::<u32>(), 0u8..16, any::<u8>(), any::<u8>()).prop_map(
            |(name, size, raw, offset, bits)| {
                D::Int {
                    name,
                    size,
                    raw,
                    offset,
                    bits,
                }
            }
        ),
        id.clone().prop_map(D::Ptr),
        (id.clone(), id.clone(), any::<u32>()).prop_map(|(element, index, length)| D::Array(Array {
            element,
            index,
            length
        })),
        (any::<bool>(), name(), any::<u32>(), any::<bool>(), members()).prop_map(
            |(union, name, size, flag, members)| D::Composite {
                union,
                name,
                size,
                flag,
                members
            }
        ),
        (name(), values(-(1 << 31)..1 << 31)).prop_map(|(name, values)| D::Enum {
            wide: false,
            name,
            size: 4,
            signed: true,
            values
        }),
        (name(), values(0..1 << 32)).prop_map(|(name, values)| D::Enum {
            wide: false,
            name,
            size: 4,
            signed: false,
            values
        }),
        (name(), any::<bool>(), values(i64::MIN..i64::MAX)).prop_map(|(name, signed, values)| D::Enum {
            wide: true,
            name,
            size: 8,
            signed,
            values
        }),
        (name(), any::<bool>()).prop_map(|(name, union)| D::Fwd { name, union }),
        (name(), id.clone()).prop_map(|(name, target)| D::Typedef { name, target }),
        (
            prop::sample::select(vec![Kind::Const, Kind::Volatile, Kind::Restrict]),
            id.clone()
        )
            .prop_map(|(kind, target)| D::Qualifier { kind, target }),
        (name(), linkage(), id.clone()).prop_map(|(name, linkage, prototype)| D::Func {
            name,
            linkage,
            prototype
        }),
        (id.clone(), prop::collection::vec((name(), 0u32..40), 0..6)).prop_map(|(returns, parameters)| {
            D::FuncProto {
                returns,
                parameters: parameters
                    .into_iter()
                    .map(|(name, type_id)| ParameterDef { name, type_id })
                    .collect(),
            }
        }),
        (name(), id.clone(), linkage()).prop_map(|(name, target, linkage)| D::Var {
            name,
            target,
            linkage
        }),
        (
            name(),
            any::<u32>(),
            prop::collection::vec((0u32..40, any::<u32>(), any::<u32>()), 0..6)
        )
            .prop_map(|(name, size, variables)| D::Datasec {
                name,
                size,
                variables: variables
                    .into_iter()
                    .map(|(type_id, offset, size)| VariableDef {
                        type_id,
                        offset,
                        size
                    })
                    .collect(),
            }),
        (name(), any::<u32>()).prop_map(|(name, size)| D::Float { name, size }),
        (name(), id.clone(), any::<i32>(), any::<bool>()).prop_map(|(name, target, component, flag)| {
            D::DeclTag {
                name,
                target,
                component,
                flag,
            }
        }),
        (name(), id, any::<bool>()).prop_map(|(name, target, flag)| D::TypeTag { name, target, flag }),
    ]
}

fn encode(endian: Endian, definitions: &[D]) -> Vec<u8> {
    let mut builder = Builder::new(endian);
    for (index, definition) in definitions.iter().enumerate() {
        assert_eq!(builder.add(definition), index as u32 + 1);
    }
    builder.finish()
}

/// Reads everything that can be asked of BTF.
fn read_all(btf: &Btf<'_>) {
    for t in btf.types() {
        let _ = (t.definition(), t.resolved(), btf.size(t.id()), t.name());
        let _ = btf.candidates(t.name_bytes()).count();
        let _ = btf.find(t.kind(), t.name_bytes());
    }
    let _ = btf.pointer_size();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_written_is_read_back(
        little in any::<bool>(),
        definitions in prop::collection::vec(definition(), 0..40),
    ) {
        let endian = if little { Endian::Little } else { Endian::Big };
        let bytes = encode(endian, &definitions);
        let btf = Btf::parse(bytes.as_slice()).unwrap();
        prop_assert_eq!(btf.endian(), endian);
        let read: Vec<D> = btf.types().map(|t| t.definition().unwrap()).collect();
        prop_assert_eq!(&read, &definitions);
        prop_assert_eq!(encode(endian, &read), bytes);
    }

    #[test]
    fn every_name_is_found_with_all_that_bear_it_in_order(
        definitions in prop::collection::vec(definition(), 0..40),
    ) {
        let bytes = encode(Endian::HOST, &definitions);
        let btf = Btf::parse(bytes.as_slice()).unwrap();
        for t in btf.types().filter(|t| !t.name_bytes().is_empty()) {
            let looked_up = |k| !matches!(k, Kind::Func | Kind::Var | Kind::Datasec | Kind::DeclTag | Kind::TypeTag);
            let name = btf::essential(t.name_bytes());
            let expected: Vec<u32> = btf
                .types()
                .filter(|o| looked_up(o.kind()) && btf::essential(o.name_bytes()) == name)
                .map(|o| o.id())
                .collect();
            prop_assert_eq!(btf.candidates(name).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn damaged_bytes_are_survived(
        definitions in prop::collection::vec(definition(), 1..20),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..16),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        let mut bytes = encode(Endian::HOST, &definitions);
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.map_or(bytes.len(), |c| c.index(bytes.len())));
        if let Ok(btf) = Btf::parse(bytes.as_slice()) {
            read_all(&btf);
        }
    }
}

#[test]
fn split_btf_goes_on_where_its_base_ends() {
    let int = D::Int {
        name: b"int".to_vec(),
        size: 4,
        raw: 1,
        offset: 0,
        bits: 32,
    };
    let base = encode(Endian::HOST, std::slice::from_ref(&int));
    let base = std::sync::Arc::new(Btf::parse(base).unwrap());
    // A module's BTF by hand: one typedef of the base's int, named by its own first string.
    let own = base.strings().len() as u32;
    let mut module = Vec::new();
    module.extend_from_slice(&0xeb9fu16.to_ne_bytes());
    module.extend_from_slice(&[1, 0]);
    for word in [24u32, 0, 12, 12, 5, own, 8 << 24, 1] {
        module.extend_from_slice(&word.to_ne_bytes());
    }
    module.extend_from_slice(b"u_t_\0");
    let split = Btf::parse_split(module, base.clone()).unwrap();
    assert_eq!((split.first_id(), split.len()), (2, 3));
    let typedef = split.get(2).unwrap();
    assert_eq!((typedef.name(), typedef.target()), ("u_t_", Some(1)));
    assert_eq!(typedef.resolved().unwrap().name(), "int");
    assert_eq!(split.size(2), Some(4));
    assert_eq!(
        split.candidates(b"int").count(),
        0,
        "the base is searched by itself"
    );
    assert_eq!(split.find(Kind::Int, b"int").unwrap().id(), 1);
    assert_eq!(split.types().count(), 1);
}

#[test]
fn a_longer_header_is_read_and_a_shorter_refused() {
    let mut bytes = encode(Endian::HOST, &[D::Ptr(0)]);
    let newer = {
        let mut newer = bytes.clone();
        newer[4..8].copy_from_slice(&32u32.to_ne_bytes());
        newer.splice(24..24, [0u8; 8]);
        newer
    };
    assert_eq!(Btf::parse(newer.as_slice()).unwrap().len(), 2);
    bytes[4..8].copy_from_slice(&20u32.to_ne_bytes());
    assert!(Btf::parse(bytes.as_slice()).is_err());
}

#[test]
fn the_kernels_own_btf_is_read() {
    let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else {
        return;
    };
    let btf = Btf::parse(bytes).unwrap();
    let task = btf.find(Kind::Struct, b"task_struct").unwrap();
    assert!(task.members().any(|m| m.name() == "comm"));
    assert_eq!(btf.pointer_size(), 8);
    for t in btf.types() {
        assert!(t.definition().is_some(), "{t:?}");
    }
}
