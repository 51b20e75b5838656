//! Global variables of a real object: what there is, what fits, and what is said of what does not.

#![allow(clippy::unwrap_used)]

mod common;
mod globals_common;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bpf_object::globals::{GlobalError, get, set, set_all, value_of_text};
use globals_common::{Fixture, SOURCE};
use rstest::rstest;
use serde_json::{Value, json};

static LITTLE: LazyLock<Fixture> = LazyLock::new(|| build("bpfel"));
static BIG: LazyLock<Fixture> = LazyLock::new(|| build("bpfeb"));

fn build(target: &str) -> Fixture {
    Fixture::read(&common::compile_with(SOURCE, &["-target", target, "-g"]))
}

/// The variable after setting it, and its bytes.
fn after(fixture: &Fixture, name: &str, value: &Value) -> Result<(Value, Vec<u8>), GlobalError> {
    let (btf, global) = (fixture.btf(), fixture.global(name));
    let mut bytes = fixture.sections[&global.section].clone();
    let before = bytes.clone();
    let result = set(&btf, &mut bytes, global, value);
    if let Err(error) = result {
        assert_eq!(bytes, before, "an error leaves nothing behind");
        return Err(error);
    }
    let range = global.offset.unwrap() as usize..(global.offset.unwrap() + global.size) as usize;
    for (at, (old, new)) in before.iter().zip(&bytes).enumerate() {
        assert!(
            old == new || range.contains(&at),
            "byte {at} is another variable's"
        );
    }
    Ok((get(&btf, &bytes, global).unwrap(), bytes[range].to_vec()))
}

#[test]
fn variables_are_listed_with_their_c_types() {
    let listed: BTreeMap<&str, (&str, &str, u64, bool)> = LITTLE
        .globals
        .iter()
        .map(|g| {
            (
                g.name.as_str(),
                (g.section.as_str(), g.c_type.as_str(), g.size, g.is_settable()),
            )
        })
        .collect();
    for (name, section, c_type, size, settable) in [
        ("use_fancy_helper", ".rodata", "const volatile _Bool", 1, true),
        ("fallback_value", ".rodata", "const volatile __u32", 4, true),
        ("u128", ".rodata", "const volatile wide_t", 16, true),
        ("comm", ".rodata", "const volatile char[16]", 16, true),
        ("grid", ".rodata", "const volatile char[2][4]", 8, true),
        ("colour", ".rodata", "const volatile enum colour", 4, true),
        ("precise", ".rodata", "const volatile double", 8, true),
        ("numbers", ".rodata", "const volatile __u32[4]", 16, true),
        ("config", ".rodata", "const volatile struct config", 72, true),
        ("hidden", ".rodata", "const volatile int", 4, true),
        (
            "fixed_pointer",
            ".rodata",
            "const volatile void *const volatile",
            8,
            true,
        ),
        ("apart", ".rodata.apart", "const volatile int", 4, true),
        ("folded", ".rodata", "const int", 4, false),
        ("table", ".rodata", "const __u8[4]", 4, false),
        ("pointer", ".bss", "const volatile void *", 8, false),
        ("seen", ".bss", "__u64", 8, false),
        ("started", ".data", "int", 4, false),
    ] {
        assert_eq!(
            listed.get(name),
            Some(&(section, c_type, size, settable)),
            "{name}"
        );
    }
    assert!(!listed.contains_key("LICENSE"), "a section that is no data");
}

#[rstest]
#[case::the_seed_pair_bool("use_fancy_helper", json!(true))]
#[case::the_seed_pair_number("fallback_value", json!(4_294_967_295u32))]
#[case::least_s8("s8", json!(-128))]
#[case::greatest_u8("u8", json!(255))]
#[case::least_s16("s16", json!(-32768))]
#[case::greatest_u16("u16", json!(65535))]
#[case::least_s32("s32", json!(i32::MIN))]
#[case::least_s64("s64", json!(i64::MIN))]
#[case::greatest_that_kubernetes_keeps("u64", json!(i64::MAX))]
#[case::beyond_that_as_text("u64", json!("18446744073709551615"))]
#[case::greatest_u128("u128", json!("340282366920938463463374607431768211455"))]
#[case::least_s128("s128", json!("-170141183460469231731687303715884105728"))]
#[case::character("letter", json!("z"))]
#[case::unprintable_character("letter", json!(-3))]
#[case::text("comm", json!("nginx"))]
#[case::longest_text("comm", json!("fifteen letters"))]
#[case::empty_text("comm", json!(""))]
#[case::texts("grid", json!(["abc", "d"]))]
#[case::bytes("mac", json!([1, 2, 3, 4, 5, 255]))]
#[case::enumerator("colour", json!("RED"))]
#[case::negative_enumerator("colour", json!("BLUE"))]
#[case::number_that_is_no_enumerator("colour", json!(12))]
#[case::enumerator_of_64_bits("big", json!("HUGE_ONE"))]
#[case::float("ratio", json!(0.1))]
#[case::double("precise", json!(-2.25e300))]
#[case::array("numbers", json!([9, 8, 7, 6]))]
#[case::in_a_section_of_its_own("apart", json!(-1))]
#[case::static_variable("hidden", json!(12))]
#[case::everything_of_a_struct("config", json!({
    "sample_every": 10, "colour": "GREEN", "whole": 77, "level": 7, "bias": -16, "loud": true, "shade": "GREEN",
    "name": "eth0", "address": {"v6": [254, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]},
    "ports": [{"number": 80, "open": true}, {"number": 443, "open": false},
              {"number": 0, "open": false}, {"number": 1, "open": true}],
}))]
fn what_is_set_is_read_back_in_either_byte_order(#[case] name: &str, #[case] value: Value) {
    for fixture in [&*LITTLE, &*BIG] {
        let (read, _) = after(fixture, name, &value).unwrap();
        assert_eq!(read, value);
    }
}

#[rstest]
#[case::hex_text("u64", json!("0xff"), json!(255))]
#[case::decimal_text("s16", json!("-12"), json!(-12))]
#[case::greatest_u64_as_number("u64", json!(u64::MAX), json!("18446744073709551615"))]
#[case::number_of_a_character("letter", json!(65), json!("A"))]
#[case::number_of_an_enumerator("colour", json!(7), json!("GREEN"))]
#[case::text_number_of_an_enumerator("colour", json!("0x7"), json!("GREEN"))]
#[case::negative_number_of_an_enumerator("colour", json!(-3), json!("BLUE"))]
#[case::integer_for_a_float("precise", json!(3), json!(3.0))]
#[case::rest_of_an_array_is_zero("numbers", json!([9]), json!([9, 0, 0, 0]))]
#[case::empty_list("numbers", json!([]), json!([0, 0, 0, 0]))]
#[case::characters_as_a_list("comm", json!(["a", 98]), json!("ab"))]
#[case::rest_of_texts("grid", json!(["x"]), json!(["x", ""]))]
fn other_ways_to_write_a_value(#[case] name: &str, #[case] value: Value, #[case] read: Value) {
    for fixture in [&*LITTLE, &*BIG] {
        assert_eq!(after(fixture, name, &value).unwrap().0, read);
    }
}

#[test]
fn bytes_are_those_that_the_compiler_would_write() {
    let (_, bytes) = after(&LITTLE, "u128", &json!("0x102")).unwrap();
    assert_eq!(bytes, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let (_, bytes) = after(&BIG, "s16", &json!(-2)).unwrap();
    assert_eq!(bytes, [0xff, 0xfe]);
    let (_, bytes) = after(&LITTLE, "ratio", &json!(1.5)).unwrap();
    assert_eq!(bytes, 1.5f32.to_le_bytes());
    // The whole struct against one that clang has laid out.
    let value = json!({"sample_every": 1, "colour": "BLUE", "low": 2, "high": 3, "level": 5, "bias": -7,
        "loud": true, "shade": 1, "name": "abc", "address": {"v4": 9}, "ports": [{"number": 80, "open": true}]});
    let written = SOURCE.replace(
        ".sample_every = 3, .ports = { { 1, true }, { 2, true } }",
        ".sample_every = 1, .colour = BLUE, .low = 2, .high = 3, .level = 5, .bias = -7, .loud = true, \
         .shade = 1, .name = \"abc\", .address = { .v4 = 9 }, .ports = { { 80, true } }",
    );
    for (target, fixture) in [("bpfel", &*LITTLE), ("bpfeb", &*BIG)] {
        let expected = Fixture::read(&common::compile_with(&written, &["-target", target, "-g"]));
        let global = expected.global("config");
        let at = global.offset.unwrap() as usize;
        let bytes = &expected.sections[".rodata"][at..at + global.size as usize];
        assert_eq!(after(fixture, "config", &value).unwrap().1, bytes, "{target}");
    }
}

#[test]
fn members_that_are_not_named_keep_what_the_source_says() {
    let (read, _) = after(&LITTLE, "config", &json!({"ports": [{"number": 80}], "high": 1})).unwrap();
    assert_eq!(read["sample_every"], 3);
    assert_eq!(read["ports"][0], json!({"number": 80, "open": true}));
    assert_eq!(
        read["ports"][1],
        json!({"number": 0, "open": false}),
        "the rest of an array is zero"
    );
    assert_eq!(read["whole"], json!(1u64 << 32));
    let (unchanged, _) = after(&LITTLE, "config", &json!({})).unwrap();
    assert_eq!(unchanged["ports"][1], json!({"number": 2, "open": true}));
}

#[rstest]
#[case::number_for_bool("use_fancy_helper", json!(1),
    "global use_fancy_helper (const volatile _Bool): 1 does not fit; give true or false")]
#[case::text_for_bool("use_fancy_helper", json!("yes"),
    "global use_fancy_helper (const volatile _Bool): \"yes\" does not fit; give true or false")]
#[case::below_range("fallback_value", json!(-1),
    "global fallback_value (const volatile __u32): -1 is out of range; give an integer from 0 to 4294967295")]
#[case::above_range("s8", json!("0x80"),
    "global s8 (const volatile __s8): \"0x80\" is out of range; give an integer from -128 to 127")]
#[case::more_than_128_bits("u128", json!("0x100000000000000000000000000000000"),
    "global u128 (const volatile wide_t): \"0x100000000000000000000000000000000\" is out of range; give an \
     integer from 0 to 340282366920938463463374607431768211455, above 9223372036854775807 as a string")]
#[case::float_for_integer("fallback_value", json!(5.0),
    "global fallback_value (const volatile __u32): 5.0 is a floating-point number; write 5; it takes an \
     integer from 0 to 4294967295")]
#[case::integer_that_json_rounds("u64", serde_json::from_str("18446744073709551616").unwrap(),
    "global u64 (const volatile __u64): 1.8446744073709552e+19 is a floating-point number; write an integer, \
     and one beyond 64 bits as a string; it takes an integer from 0 to 18446744073709551615, above \
     9223372036854775807 as a string")]
#[case::octal("u8", json!("010"),
    "global u8 (const volatile __u8): \"010\" is not an integer, decimal without leading zeros or 0x…; give \
     an integer from 0 to 255")]
#[case::null("u8", json!(null),
    "global u8 (const volatile __u8): null is no value; give an integer from 0 to 255, or leave it out to \
     keep what the source says")]
#[case::two_characters("letter", json!("ab"),
    "global letter (const volatile char): \"ab\" does not fit; give a string of one character or an integer \
     from -128 to 127")]
#[case::unknown_enumerator("colour", json!("GREEM"),
    "global colour (const volatile enum colour) has no enumerator \"GREEM\"; did you mean GREEN?")]
#[case::unlike_any_enumerator("colour", json!("ULTRAVIOLET"),
    "global colour (const volatile enum colour) has no enumerator \"ULTRAVIOLET\"; it has RED, GREEN and BLUE")]
#[case::bool_for_enum("colour", json!(true),
    "global colour (const volatile enum colour): true does not fit; give one of RED, GREEN and BLUE, or an \
     integer from 0 to 4294967295")]
#[case::text_for_float("ratio", json!("0.5"),
    "global ratio (const volatile float): \"0.5\" does not fit; give a number")]
#[case::double_for_float("ratio", json!(1e300),
    "global ratio (const volatile float): 1e+300 is out of range; give a number")]
#[case::text_without_room_for_nul("comm", json!("sixteen  letters"),
    "global comm (const volatile char[16]): the text has 16 bytes; it has room for 15 and the NUL that ends it")]
#[case::nul("comm", json!("a\0b"),
    "global comm (const volatile char[16]): the text has a NUL at byte 1, where C would end it; give a list \
     of numbers")]
#[case::text_for_bytes("mac", json!("00:11"),
    "global mac (const volatile __u8[6]): \"00:11\" does not fit; give a list of at most 6 const volatile __u8")]
#[case::list_too_long("numbers", json!([1, 2, 3, 4, 5]),
    "global numbers (const volatile __u32[4]): the list has 5 elements, the array 4")]
#[case::element("numbers", json!([1, 2, "x"]),
    "global numbers[2] (const volatile __u32): \"x\" is not an integer, decimal without leading zeros or \
     0x…; give an integer from 0 to 4294967295")]
#[case::path("config", json!({"ports": [{}, {"number": 65536}]}),
    "global config.ports[1].number (__u16): 65536 is out of range; give an integer from 0 to 65535")]
#[case::bit_field("config", json!({"level": 8}),
    "global config.level (unsigned int:3): 8 is out of range; give an integer from 0 to 7")]
#[case::signed_bit_field("config", json!({"bias": 16}),
    "global config.bias (int:5): 16 is out of range; give an integer from -16 to 15")]
#[case::unknown_member("config", json!({"sample_evry": 1}),
    "global config (const volatile struct config) has no member \"sample_evry\"; did you mean sample_every?")]
#[case::unlike_any_member("config", json!({"x_y_z_unlike": 1}),
    "global config (const volatile struct config) has no member \"x_y_z_unlike\"; it has sample_every, \
     colour, ports, whole, low, high, level, bias, loud, shade, name, address and 1 more")]
#[case::list_for_struct("config", json!([1]),
    "global config (const volatile struct config): a list does not fit; give an object with some members of \
     sample_every, colour, ports, whole, low, high, level, bias, loud, shade, name, address and 1 more")]
#[case::two_of_an_anonymous_union("config", json!({"whole": 1, "low": 2}),
    "global config (const volatile struct config): members of a union share their bytes, so exactly one can \
     be given, not \"whole\" and \"low\"")]
#[case::two_of_a_union("config", json!({"address": {"v4": 1, "v6": []}}),
    "global config.address (union {…}): members of a union share their bytes, so exactly one can be given, \
     not \"v4\" and \"v6\"")]
#[case::none_of_a_union("config", json!({"address": {}}),
    "global config.address (union {…}): members of a union share their bytes, so exactly one can be given, \
     not none")]
#[case::pointer_member("config", json!({"next": 0}),
    "global config.next (void *) cannot be set: it is a pointer, and addresses are known in the running \
     kernel only")]
#[case::pointer("fixed_pointer", json!(0),
    "global fixed_pointer (const volatile void *const volatile) cannot be set: it is a pointer, and \
     addresses are known in the running kernel only")]
#[case::changes_at_run_time("seen", json!(0),
    "global seen (__u64) in .bss is not const: only `const volatile` variables can be set before load; \
     declare it so, or keep what changes while the program runs in a map")]
#[case::initialised("started", json!(0),
    "global started (int) in .data is not const: only `const volatile` variables can be set before load; \
     declare it so, or keep what changes while the program runs in a map")]
#[case::folded("folded", json!(0),
    "global folded (const int) is const without volatile: its value is compiled into the code, and another \
     one would have no effect; declare it `const volatile`")]
#[case::folded_table("table", json!([]),
    "global table (const __u8[4]) is const without volatile: its value is compiled into the code, and \
     another one would have no effect; declare it `const volatile`")]
fn a_refusal_names_the_variable_its_type_and_what_would_fit(
    #[case] name: &str,
    #[case] value: Value,
    #[case] message: &str,
) {
    let fixture = &*LITTLE;
    let (btf, global) = (fixture.btf(), fixture.global(name));
    let mut bytes = fixture.sections.get(&global.section).cloned().unwrap_or_default();
    let before = bytes.clone();
    let error = set(&btf, &mut bytes, global, &value).unwrap_err();
    assert_eq!(error.to_string(), message);
    assert_eq!(bytes, before);
}

fn values(of: &[(&str, Value)]) -> BTreeMap<String, Value> {
    of.iter().map(|(k, v)| ((*k).into(), v.clone())).collect()
}

#[test]
fn many_values_are_set_in_all_their_sections() {
    let mut sections = LITTLE.sections.clone();
    let wanted = values(&[
        ("use_fancy_helper", json!(true)),
        ("fallback_value", json!(100)),
        ("apart", json!(-5)),
    ]);
    set_all(&LITTLE.btf(), &mut sections, &LITTLE.globals, &wanted).unwrap();
    for (name, value) in wanted {
        let global = LITTLE.global(&name);
        assert_eq!(
            get(&LITTLE.btf(), &sections[&global.section], global),
            Some(value)
        );
    }
}

#[test]
fn all_refusals_come_at_once_and_nothing_is_set() {
    let mut sections = LITTLE.sections.clone();
    let wanted = values(&[
        ("fallback_valeu", json!(1)),
        ("apart", json!(7)),
        ("s8", json!(1000)),
        ("unlike_any_of_them", json!(1)),
    ]);
    let errors = set_all(&LITTLE.btf(), &mut sections, &LITTLE.globals, &wanted).unwrap_err();
    let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        messages,
        [
            "the object has no global variable \"fallback_valeu\"; did you mean fallback_value?",
            "global s8 (const volatile __s8): 1000 is out of range; give an integer from -128 to 127",
            "the object has no global variable \"unlike_any_of_them\"; it has apart, big, colour, comm, config, \
             fallback_value, fixed_pointer, grid and 16 more",
        ]
    );
    assert_eq!(sections, LITTLE.sections);
}

#[test]
fn refusals_are_bounded() {
    let mut sections = LITTLE.sections.clone();
    let wanted = (0..100).map(|n| (format!("missing_{n}"), json!(n))).collect();
    let errors = set_all(&LITTLE.btf(), &mut sections, &LITTLE.globals, &wanted).unwrap_err();
    assert_eq!(errors.len(), 65);
    assert_eq!(
        errors.last().unwrap().to_string(),
        "36 more globals are refused; mend these first"
    );
}

#[test]
fn two_variables_of_one_name_are_told_apart_by_nobody() {
    let mut globals = LITTLE.globals.clone();
    let mut twin = LITTLE.global("apart").clone();
    twin.section = ".rodata".into();
    globals.push(twin);
    let mut sections = LITTLE.sections.clone();
    let errors = set_all(
        &LITTLE.btf(),
        &mut sections,
        &globals,
        &values(&[("apart", json!(1))]),
    )
    .unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        "the object has 2 global variables named \"apart\" (in .rodata and .rodata.apart), and which one is \
         meant cannot be told; rename one"
    );
}

#[rstest]
#[case::beyond_its_section(Some(1 << 20), 4, "it ends at byte 1048580 of .rodata, which has 8")]
#[case::across_its_end(Some(6), 4, "it ends at byte 10 of .rodata, which has 8")]
#[case::offset_that_overflows(
    Some(u64::MAX),
    4,
    "it ends at byte 18446744073709551615 of .rodata, which has 8"
)]
#[case::no_symbol(None, 4, "its symbol table does not have it")]
#[case::smaller_than_its_type(Some(0), 2, "its type has 4 bytes, the variable 2")]
fn a_variable_without_a_place_is_refused(
    #[case] offset: Option<u64>,
    #[case] size: u64,
    #[case] detail: &str,
) {
    let mut global = LITTLE.global("fallback_value").clone();
    (global.offset, global.size) = (offset, size);
    let mut bytes = [0u8; 8];
    let error = set(&LITTLE.btf(), &mut bytes, &global, &json!(1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "global fallback_value (const volatile __u32) has no place in the object: {detail}; build or \
             upload the object again"
        )
    );
    assert_eq!(get(&LITTLE.btf(), &bytes, &global), None);
}

#[rstest]
#[case::bool("use_fancy_helper", "true\n", json!(true))]
#[case::no_bool("use_fancy_helper", "yes", json!("yes"))]
#[case::integer("u64", " 18446744073709551615\n", json!("18446744073709551615"))]
#[case::enumerator("colour", "RED\n", json!("RED"))]
#[case::text_that_looks_like_a_number("comm", "12\n", json!("12"))]
#[case::text_with_spaces("comm", " a ", json!(" a "))]
#[case::float("ratio", "0.5", json!(0.5))]
#[case::object("config", "{\"level\": 3}", json!({"level": 3}))]
fn text_of_a_config_map_becomes_the_value_of_its_type(
    #[case] name: &str,
    #[case] text: &str,
    #[case] expected: Value,
) {
    assert_eq!(value_of_text(&LITTLE.btf(), LITTLE.global(name), text), expected);
}
