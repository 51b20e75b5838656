//! Globals of hostile BTF: whatever the types are, setting and reading end soon, allocate little and never
//! panic; and what was read can be set.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bpf_object::globals::{Global, c_type, get, globals, set, set_all};
use bpf_object::kconfig::{Facts, Kconfig, resolve_kconfig};
use btf::{
    Array, Btf, Builder, Definition as D, Endian, EnumeratorDef, Kind, Linkage, MemberDef, VariableDef,
};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

fn encode(endian: Endian, definitions: &[D]) -> Vec<u8> {
    let mut builder = Builder::new(endian);
    for definition in definitions {
        builder.add(definition);
    }
    builder.finish()
}

fn int(size: u32, raw: u8) -> D {
    D::Int {
        name: b"int".to_vec(),
        size,
        raw,
        offset: 0,
        bits: (size * 8) as u8,
    }
}

fn composite(union: bool, size: u32, members: &[(&str, u32, u32)]) -> D {
    D::Composite {
        union,
        name: b"s".to_vec(),
        size,
        flag: false,
        members: members
            .iter()
            .map(|(name, type_id, raw_offset)| MemberDef {
                name: name.as_bytes().to_vec(),
                type_id: *type_id,
                raw_offset: *raw_offset,
            })
            .collect(),
    }
}

fn array(element: u32, length: u32) -> D {
    D::Array(Array {
        element,
        index: 1,
        length,
    })
}

fn global(type_id: u32, size: u64) -> Global {
    Global {
        name: "x".into(),
        section: ".rodata".into(),
        offset: Some(0),
        size,
        type_id,
        c_type: "?".into(),
        constant: true,
        folded: false,
    }
}

/// Objects within objects.
fn nested(name: &str, depth: usize, leaf: Value) -> Value {
    (0..depth).fold(leaf, |inner, _| json!({ name: inner }))
}

#[rstest]
#[case::struct_of_itself(vec![composite(false, 4, &[("a", 1, 0)])], nested("a", 100, json!(1)))]
#[case::struct_of_arrays_of_itself(
    vec![composite(false, 4, &[("a", 2, 0), ("b", 2, 0)]), array(1, 1 << 31)],
    json!({"a": [{"a": [{"b": [{}]}]}], "b": []})
)]
#[case::anonymous_struct_of_itself(vec![composite(false, 4, &[("", 1, 0), ("", 1, 0), ("", 1, 0)])], json!({"x": 1}))]
#[case::anonymous_union_of_itself(vec![composite(true, 4, &[("", 1, 0), ("", 1, 0)])], json!({"x": 1}))]
#[case::array_of_itself(vec![array(1, 2)], json!([[[[]]]]))]
#[case::array_of_two_billion(vec![int(1, 0), array(1, 1 << 31)], json!([1, 2, 3]))]
#[case::two_billion_of_nothing(vec![composite(false, 0, &[]), array(1, u32::MAX)], json!([{}, {}]))]
#[case::array_whose_size_overflows(vec![int(8, 0), array(1, 1 << 31)], json!([]))]
#[case::arrays_of_nothing_of_arrays(
    vec![composite(false, 0, &[]), array(1, u32::MAX), array(2, u32::MAX), array(3, u32::MAX)],
    json!([[[{}]]])
)]
#[case::typedef_of_itself(vec![D::Typedef { name: b"t".to_vec(), target: 1 }], json!(1))]
#[case::const_and_volatile_of_each_other(
    vec![D::Qualifier { kind: Kind::Const, target: 2 }, D::Qualifier { kind: Kind::Volatile, target: 1 }],
    json!(1)
)]
#[case::type_that_is_not_there(vec![D::Typedef { name: b"t".to_vec(), target: 77 }], json!(1))]
#[case::void(vec![D::Qualifier { kind: Kind::Const, target: 0 }], json!(1))]
#[case::variable_of_a_section(
    vec![D::Datasec { name: b".rodata".to_vec(), size: 4, variables: vec![] }],
    json!(1)
)]
#[case::member_beyond_its_struct(vec![composite(false, 4, &[("a", 2, 1 << 30)]), int(4, 0)], json!({"a": 1}))]
#[case::array_within_a_byte(vec![composite(false, 4, &[("a", 3, 3)]), int(1, 0), array(2, 2)], json!({"a": [1]}))]
#[case::integer_of_three_bytes(vec![int(3, 0)], json!(1))]
#[case::integer_of_more_bits_than_bytes(
    vec![D::Int { name: b"i".to_vec(), size: 1, raw: 0, offset: 250, bits: 250 }],
    json!(1)
)]
#[case::bit_field_wider_than_its_type(
    vec![
        D::Composite {
            union: false, name: vec![], size: 4, flag: true,
            members: vec![MemberDef { name: b"a".to_vec(), type_id: 2, raw_offset: 255 << 24 }],
        },
        int(4, 0),
    ],
    json!({"a": 1})
)]
#[case::bit_field_that_is_a_struct(
    vec![D::Composite {
        union: false, name: vec![], size: 4, flag: true,
        members: vec![MemberDef { name: b"a".to_vec(), type_id: 1, raw_offset: 3 << 24 }],
    }],
    json!({"a": {}})
)]
#[case::enum_of_three_bytes(
    vec![D::Enum { wide: false, name: vec![], size: 3, signed: true, values: vec![] }],
    json!(1)
)]
#[case::float_of_16_bytes(vec![D::Float { name: b"f".to_vec(), size: 16 }], json!(1.5))]
fn hostile_types_are_refused_soon(#[case] definitions: Vec<D>, #[case] value: Value) {
    let encoded = encode(Endian::Little, &definitions);
    let btf = Btf::parse(encoded.as_slice()).unwrap();
    let started = Instant::now();
    // The last definition is the outermost where there are several; the first where it refers to later ones.
    for type_id in [1, definitions.len() as u32] {
        let mut bytes = vec![0u8; 4096];
        let global = global(type_id, 4096);
        let _ = c_type(&btf, type_id);
        let _ = get(&btf, &bytes, &global);
        if let Err(error) = set(&btf, &mut bytes, &global, &value) {
            assert!(error.to_string().len() < 4096);
            assert!(bytes.iter().all(|b| *b == 0));
        }
    }
    // A bound on hanging, not on speed.
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_struct_of_all_members_it_can_have_is_searched_within_bounds() {
    // 2,000 anonymous members that are the next struct, 32 deep: endless if walked whole.
    let levels = 32u32;
    let mut definitions: Vec<D> = (1..=levels)
        .map(|level| D::Composite {
            union: false,
            name: vec![],
            size: 4,
            flag: false,
            members: vec![
                MemberDef {
                    name: vec![],
                    type_id: level + 1,
                    raw_offset: 0
                };
                2000
            ],
        })
        .collect();
    definitions.push(int(4, 1));
    let encoded = encode(Endian::Big, &definitions);
    let btf = Btf::parse(encoded.as_slice()).unwrap();
    let mut bytes = vec![0u8; 4];
    let global = global(1, 4);
    let error = set(&btf, &mut bytes, &global, &json!({"a": 1})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "global x (struct {…}) cannot be set: its type and value take too many steps; make its type or value \
         simpler"
    );
    assert_eq!(get(&btf, &bytes, &global), None);
    let values: BTreeMap<String, Value> = [("x".to_owned(), json!([]))].into();
    let mut sections = [(".rodata".to_owned(), bytes)].into();
    assert_eq!(
        set_all(&btf, &mut sections, &[global], &values)
            .unwrap_err()
            .len(),
        1
    );
}

#[test]
fn externs_of_types_that_are_not_supported_are_named_up_to_a_bound() {
    let count = 1000;
    let mut definitions = vec![D::Float {
        name: b"float".to_vec(),
        size: 4,
    }];
    definitions.extend((0..count).map(|i| D::Var {
        name: format!("CONFIG_{i}").into_bytes(),
        target: 1,
        linkage: Linkage::Extern,
    }));
    definitions.push(D::Datasec {
        name: b".kconfig".to_vec(),
        size: 0,
        variables: (0..count)
            .map(|i| VariableDef {
                type_id: i + 2,
                offset: 0,
                size: 4,
            })
            .collect(),
    });
    let encoded = encode(Endian::Little, &definitions);
    let btf = Btf::parse(encoded.as_slice()).unwrap();
    let errors = resolve_kconfig(&btf, None, &Facts::default(), &|_| false).unwrap_err();
    assert_eq!(errors.len(), 64);
}

// === any types, any values ===

fn name() -> impl Strategy<Value = Vec<u8>> {
    "[a-c]{0,1}".prop_map(String::into_bytes)
}

fn size() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => prop::sample::select(vec![1u32, 2, 4, 8, 16]),
        1 => 0u32..80,
        1 => any::<u32>(),
    ]
}

fn definition() -> impl Strategy<Value = D> {
    let id = || 0u32..24;
    let offset = || prop_oneof![3 => (0u32..20).prop_map(|n| n * 8), 1 => any::<u32>()];
    let member = (
        name(),
        id(),
        offset(),
        prop_oneof![3 => Just(0u32), 1 => 0u32..256],
    );
    prop_oneof![
        4 => (name(), size(), 0u8..8, prop_oneof![3 => Just(None), 1 => any::<(u8, u8)>().prop_map(Some)]).prop_map(
            |(name, size, raw, odd)| {
                let (offset, bits) = odd.unwrap_or((0, size.saturating_mul(8).min(128) as u8));
                D::Int { name: if raw & 2 != 0 { b"char".to_vec() } else { name }, size, raw, offset, bits }
            }
        ),
        1 => id().prop_map(D::Ptr),
        3 => (id(), prop_oneof![4 => 0u32..6, 1 => any::<u32>()])
            .prop_map(|(element, length)| array(element, length)),
        4 => (any::<bool>(), size(), any::<bool>(), prop::collection::vec(member, 0..5)).prop_map(
            |(union, size, flag, members)| D::Composite {
                union,
                name: b"s".to_vec(),
                size,
                flag,
                members: members
                    .into_iter()
                    .map(|(name, type_id, offset, bits)| MemberDef {
                        name,
                        type_id,
                        raw_offset: if flag { bits << 24 | offset & 0xff_ffff } else { offset },
                    })
                    .collect(),
            }
        ),
        2 => (any::<bool>(), any::<bool>(), size(), prop::collection::vec((name(), any::<i64>()), 0..4)).prop_map(
            |(wide, signed, size, values)| D::Enum {
                wide,
                name: b"libbpf_tristate".to_vec(),
                size,
                signed,
                values: values
                    .into_iter()
                    .map(|(name, value)| EnumeratorDef { name, value: if wide { value } else { value % 9 } })
                    .collect(),
            }
        ),
        1 => size().prop_map(|size| D::Float { name: b"f".to_vec(), size }),
        1 => (name(), id()).prop_map(|(name, target)| D::Typedef { name, target }),
        1 => id().prop_map(|target| D::Qualifier { kind: Kind::Const, target }),
        1 => id().prop_map(|target| D::Qualifier { kind: Kind::Volatile, target }),
        1 => (name(), id()).prop_map(|(name, target)| D::TypeTag { name, target, flag: false }),
        1 => (id(), any::<bool>()).prop_map(|(target, external)| D::Var {
            name: b"CONFIG_X".to_vec(),
            target,
            linkage: if external { Linkage::Extern } else { Linkage::Global },
        }),
        1 => (any::<bool>(), prop::collection::vec((id(), any::<u32>(), size()), 0..5)).prop_map(
            |(kconfig, variables)| D::Datasec {
                name: if kconfig { b".kconfig".to_vec() } else { b".rodata".to_vec() },
                size: 64,
                variables: variables
                    .into_iter()
                    .map(|(type_id, offset, size)| VariableDef { type_id, offset, size })
                    .collect(),
            }
        ),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3i64..300).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "(-?0?x?[0-9a-f]{0,40}|[a-c]|.{0,8})".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-d]?", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_value_for_any_type_is_set_or_leaves_nothing_behind(
        little in any::<bool>(),
        definitions in prop::collection::vec(definition(), 1..24),
        value in value(),
        type_id in 0u32..26,
        fill in any::<u8>(),
    ) {
        let encoded = encode(if little { Endian::Little } else { Endian::Big }, &definitions);
        let btf = Btf::parse(encoded.as_slice()).unwrap();
        let global = global(type_id, 96);
        let mut bytes = vec![fill; 96];
        if set(&btf, &mut bytes, &global, &value).is_err() {
            prop_assert!(bytes.iter().all(|b| *b == fill));
        }
        let _ = get(&btf, &bytes, &global);
        let listed = globals(&btf, &|_, _| None).unwrap();
        let values = listed.iter().map(|g| (g.name.clone(), value.clone())).collect();
        let _ = set_all(&btf, &mut [(".rodata".to_owned(), bytes)].into(), &listed, &values);
        let config = Kconfig::parse(b"CONFIG_X=m\n");
        let _ = resolve_kconfig(&btf, Some(&config), &Facts::default(), &|_| little);
    }
}

// === what is read can be set: types as compilers lay them out ===

/// Adds a type with room for every value; gives its id and size.
fn laid_out(builder: &mut Builder, shape: &Shape) -> (u32, u32) {
    match shape {
        Shape::Int(size, signed) => (builder.add(&int(*size, u8::from(*signed))), *size),
        Shape::Char => (
            builder.add(&D::Int {
                name: b"char".to_vec(),
                size: 1,
                raw: 1,
                offset: 0,
                bits: 8,
            }),
            1,
        ),
        Shape::Double => {
            let name = b"double".to_vec();
            (builder.add(&D::Float { name, size: 8 }), 8)
        }
        Shape::Enum(signed) => {
            let values = [("A", 1), ("B", 0x7f)].map(|(name, value)| EnumeratorDef {
                name: name.into(),
                value,
            });
            let wide = false;
            (
                builder.add(&D::Enum {
                    wide,
                    name: b"e".to_vec(),
                    size: 4,
                    signed: *signed,
                    values: values.into(),
                }),
                4,
            )
        }
        Shape::Array(of, length) => {
            let (element, size) = laid_out(builder, of);
            (builder.add(&array(element, *length)), size * length)
        }
        Shape::Composite(union, parts) => {
            let (mut members, mut end) = (Vec::new(), 0);
            for (index, part) in parts.iter().enumerate() {
                let (type_id, size) = laid_out(builder, part);
                members.push(MemberDef {
                    name: format!("m{index}").into_bytes(),
                    type_id,
                    raw_offset: if *union { 0 } else { end * 8 },
                });
                end = if *union { end.max(size) } else { end + size };
            }
            let (union, name, size) = (*union, b"c".to_vec(), end);
            (
                builder.add(&D::Composite {
                    union,
                    name,
                    size,
                    flag: false,
                    members,
                }),
                end,
            )
        }
    }
}

#[derive(Debug, Clone)]
enum Shape {
    Int(u32, bool),
    Char,
    Double,
    Enum(bool),
    Array(Box<Shape>, u32),
    Composite(bool, Vec<Shape>),
}

/// A float that is not finite is left out of what is read.
fn has_float(shape: &Shape) -> bool {
    match shape {
        Shape::Double => true,
        Shape::Array(of, _) => has_float(of),
        Shape::Composite(_, parts) => parts.iter().any(has_float),
        Shape::Int(..) | Shape::Char | Shape::Enum(_) => false,
    }
}

fn shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        (prop::sample::select(vec![1u32, 2, 4, 8, 16]), any::<bool>()).prop_map(|(n, s)| Shape::Int(n, s)),
        Just(Shape::Char),
        Just(Shape::Double),
        any::<bool>().prop_map(Shape::Enum),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            (inner.clone(), 1u32..5).prop_map(|(of, length)| Shape::Array(Box::new(of), length)),
            (any::<bool>(), prop::collection::vec(inner, 1..4))
                .prop_map(|(u, parts)| Shape::Composite(u, parts)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_read_can_be_set_and_gives_the_same_bytes(
        little in any::<bool>(),
        shape in shape(),
        seed in prop::collection::vec(prop_oneof![2 => Just(0u8), 1 => any::<u8>(), 1 => 32u8..127], 1..64),
    ) {
        let mut builder = Builder::new(if little { Endian::Little } else { Endian::Big });
        let (type_id, size) = laid_out(&mut builder, &shape);
        let encoded = builder.finish();
        let btf = Btf::parse(encoded.as_slice()).unwrap();
        let global = global(type_id, size.into());
        let bytes: Vec<u8> = seed.iter().copied().cycle().take(size as usize).collect();
        // A float that is not finite has no JSON.
        let Some(read) = get(&btf, &bytes, &global) else {
            return Ok(());
        };
        let mut written = bytes.clone();
        set(&btf, &mut written, &global, &read).unwrap();
        prop_assert_eq!(&written, &bytes, "{}", read);
        // Nothing that has a value depends on what was there before.
        if !has_float(&shape) {
            let mut other = vec![0u8; size as usize];
            set(&btf, &mut other, &global, &read).unwrap();
            prop_assert_eq!(get(&btf, &other, &global), Some(read));
        }
    }
}
