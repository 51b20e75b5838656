//! Types that clang on this machine does not write: as C spells them, as older compilers lay them out.
#![allow(clippy::unwrap_used)]

use bpf_object::globals::{Global, c_type, get, globals, set};
use btf::{
    Array, Btf, Builder, Definition as D, Endian, EnumeratorDef, Kind, Linkage, MemberDef, VariableDef,
};
use rstest::rstest;
use serde_json::{Value, json};

fn encode(endian: Endian, definitions: &[D]) -> Vec<u8> {
    let mut builder = Builder::new(endian);
    for definition in definitions {
        builder.add(definition);
    }
    builder.finish()
}

fn int(name: &str, size: u32, offset: u8, bits: u8) -> D {
    D::Int {
        name: name.into(),
        size,
        raw: 0,
        offset,
        bits,
    }
}

fn array(element: u32, length: u32) -> D {
    D::Array(Array {
        element,
        index: 1,
        length,
    })
}

fn qualifier(kind: Kind, target: u32) -> D {
    D::Qualifier { kind, target }
}

fn function(returns: u32) -> D {
    D::FuncProto {
        returns,
        parameters: Vec::new(),
    }
}

fn composite(union: bool, flag: bool, size: u32, members: &[(&str, u32, u32)]) -> D {
    D::Composite {
        union,
        name: b"s".to_vec(),
        size,
        flag,
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

fn enumeration(wide: bool, size: u32, signed: bool, values: &[(&str, i64)]) -> D {
    D::Enum {
        wide,
        name: b"e".to_vec(),
        size,
        signed,
        values: values
            .iter()
            .map(|(name, value)| EnumeratorDef {
                name: name.as_bytes().to_vec(),
                value: *value,
            })
            .collect(),
    }
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

/// The bytes of a variable of the last type after setting it, and how it is read back.
fn after(endian: Endian, definitions: &[D], size: usize, value: &Value) -> Result<(Vec<u8>, Value), String> {
    let encoded = encode(endian, definitions);
    let btf = Btf::parse(encoded.as_slice()).unwrap();
    let global = global(definitions.len() as u32, size as u64);
    let mut bytes = vec![0u8; size];
    set(&btf, &mut bytes, &global, value).map_err(|error| error.to_string())?;
    let read = get(&btf, &bytes, &global).unwrap();
    Ok((bytes, read))
}

#[rstest]
#[case::pointer(&[D::Ptr(1)], "int *")]
#[case::pointer_to_const(&[qualifier(Kind::Const, 1), D::Ptr(2)], "const int *")]
#[case::const_pointer(&[D::Ptr(1), qualifier(Kind::Const, 2)], "int *const")]
#[case::const_pointer_to_pointer(&[D::Ptr(1), qualifier(Kind::Const, 2), D::Ptr(3)], "int *const *")]
#[case::pointer_to_void(&[D::Ptr(0)], "void *")]
#[case::array_of_pointers(&[D::Ptr(1), array(2, 3)], "int *[3]")]
#[case::pointer_to_array(&[array(1, 3), D::Ptr(2)], "int (*)[3]")]
#[case::array_of_arrays(&[array(1, 3), array(2, 4)], "int[4][3]")]
#[case::open_array(&[array(1, 0)], "int[]")]
#[case::const_array(&[array(1, 2), qualifier(Kind::Const, 2)], "const int[2]")]
#[case::function_pointer(&[function(1), D::Ptr(2)], "int (*)(void)")]
#[case::anonymous_enum(&[D::Enum { wide: false, name: vec![], size: 4, signed: false, values: vec![] }], "enum {…}")]
#[case::union(&[composite(true, false, 0, &[])], "union s")]
#[case::declared_only(&[D::Fwd { name: b"f".to_vec(), union: false }], "struct f")]
#[case::type_tag(&[D::TypeTag { name: b"user".to_vec(), target: 1, flag: false }, D::Ptr(2)], "int *")]
#[case::each_qualifier_once(&[qualifier(Kind::Const, 1), qualifier(Kind::Volatile, 2), qualifier(Kind::Const, 3)],
    "const volatile int")]
#[case::leads_nowhere(&[D::Ptr(99)], "? *")]
#[case::leads_to_itself(&[qualifier(Kind::Const, 2)], "const ?")]
fn types_are_spelt_as_in_c(#[case] more: &[D], #[case] expected: &str) {
    let definitions = [&[int("int", 4, 0, 32)], more].concat();
    let encoded = encode(Endian::Little, &definitions);
    let btf = Btf::parse(encoded.as_slice()).unwrap();
    assert_eq!(c_type(&btf, definitions.len() as u32), expected);
}

#[rstest]
#[case::little(Endian::Little, &[0, 0b0000_0101])]
#[case::big(Endian::Big, &[0, 0b1010_0000])]
fn old_style_bit_fields_say_their_width_in_their_type(#[case] endian: Endian, #[case] bytes: &[u8]) {
    let definitions = [
        int("unsigned int", 4, 0, 3),
        composite(false, false, 2, &[("a", 1, 8)]),
    ];
    let (written, read) = after(endian, &definitions, 2, &json!({"a": 5})).unwrap();
    assert_eq!((written.as_slice(), read), (bytes, json!({"a": 5})));
    let error = after(endian, &definitions, 2, &json!({"a": 8})).unwrap_err();
    assert_eq!(
        error,
        "global x.a (unsigned int): 8 is out of range; give an integer from 0 to 7"
    );
}

#[rstest]
// -1, as a compiler writes it that does not say whether an enum has a sign.
#[case::unmarked_negative_of_one_byte(enumeration(false, 1, false, &[("LAST", 0xffff_ffff)]), json!("LAST"), &[255])]
#[case::marked_negative_of_one_byte(enumeration(false, 1, true, &[("LAST", -1)]), json!("LAST"), &[255])]
#[case::unsigned_of_64_bits(enumeration(true, 8, false, &[("ALL", -1)]), json!("ALL"), &[255; 8])]
#[case::greatest_number_of_64_bits(enumeration(true, 8, false, &[]), json!("18446744073709551615"), &[255; 8])]
#[case::signed_of_64_bits(enumeration(true, 8, true, &[("LAST", -2)]), json!("LAST"),
    &[254, 255, 255, 255, 255, 255, 255, 255])]
fn enums_of_any_size_and_sign(#[case] definition: D, #[case] value: Value, #[case] bytes: &[u8]) {
    let (written, read) = after(Endian::Little, &[definition], bytes.len(), &value).unwrap();
    assert_eq!((written.as_slice(), read), (bytes, value));
}

#[rstest]
#[case::enumerator_too_wide_for_its_bit_field(
    vec![enumeration(false, 4, false, &[("WIDE", 7)]), composite(false, true, 4, &[("a", 1, 2 << 24)])],
    json!({"a": "WIDE"}),
    "global x.a (enum e:2): \"WIDE\" is out of range; give one of WIDE, or an integer from 0 to 3"
)]
#[case::flexible_array(
    vec![int("int", 4, 0, 32), array(1, 0), composite(false, false, 4, &[("n", 1, 0), ("rest", 2, 32)])],
    json!({"n": 1, "rest": []}),
    "global x.rest (int[]) cannot be set: it is an array without a length"
)]
#[case::function_pointer(
    vec![function(0), D::Ptr(1)],
    json!(0),
    "global x (void (*)(void)) cannot be set: it is a pointer, and addresses are known in the running kernel only"
)]
#[case::declared_only(
    vec![D::Fwd { name: b"f".to_vec(), union: false }],
    json!({}),
    "global x (struct f) cannot be set: its struct or union is declared and not defined in the object"
)]
#[case::long_double(
    vec![D::Float { name: b"long double".to_vec(), size: 16 }],
    json!(1.5),
    "global x (long double) cannot be set: it is a floating-point number of 16 bytes, only 4 and 8 are known"
)]
#[case::member_beyond_the_end(
    vec![int("int", 4, 0, 32), composite(false, false, 4, &[("a", 1, 32)])],
    json!({"a": 1}),
    "global x.a (int) cannot be set: the object is malformed: it goes on beyond the end of its variable; build \
     or upload it again"
)]
fn what_cannot_be_set_says_why(#[case] definitions: Vec<D>, #[case] value: Value, #[case] message: &str) {
    let size = match definitions.last() {
        Some(D::Float { .. }) => 16,
        Some(D::Ptr(_)) => 8,
        _ => 4,
    };
    assert_eq!(
        after(Endian::Little, &definitions, size, &value),
        Err(message.into())
    );
}

#[test]
fn without_a_symbol_the_place_is_that_of_btf_if_a_linker_has_written_it() {
    for (size, expected) in [(0, None), (16, Some(12))] {
        let encoded = encode(
            Endian::Little,
            &[
                int("int", 4, 0, 32),
                D::Var {
                    name: b"x".to_vec(),
                    target: 1,
                    linkage: Linkage::Static,
                },
                D::Datasec {
                    name: b".rodata".to_vec(),
                    size,
                    variables: vec![VariableDef {
                        type_id: 2,
                        offset: 12,
                        size: 4,
                    }],
                },
            ],
        );
        let btf = Btf::parse(encoded.as_slice()).unwrap();
        let without = globals(&btf, &|_, _| None).unwrap();
        assert_eq!((without[0].offset, without[0].size), (expected, 4));
        let with = globals(&btf, &|_, _| Some((8, 4))).unwrap();
        assert_eq!(with[0].offset, Some(8));
        assert!(
            with[0].is_settable(),
            "no qualifiers, as in objects that are not from C"
        );
    }
}
