//! Values of `extern … __kconfig` variables, by libbpf's rules (libbpf.c, `bpf_object__process_kconfig_line`,
//! `set_kcfg_value_*`, `bpf_object__resolve_externs`).
#![allow(clippy::unwrap_used)]

mod common;
mod globals_common;

use bpf_object::kconfig::{Facts, Kconfig, KconfigData, KconfigError, MAX_CONFIG, resolve_kconfig};
use btf::{
    Array, Btf, Builder, Definition as D, Endian, EnumeratorDef, Linkage, MemberDef, ParameterDef,
    VariableDef,
};
use globals_common::Fixture;
use rstest::rstest;

const FACTS: Facts = Facts {
    kernel_version: 6 << 16 | 1 << 8 | 7,
    has_syscall_wrapper: Some(true),
    has_bpf_cookie: Some(false),
};

#[derive(Debug, Clone, Copy)]
enum T {
    Bool,
    WideBool,
    Tristate,
    Tristate64,
    OtherEnum,
    Int(u32, bool),
    Chars(u32),
    Ints(u32),
    Bools(u32),
    Struct,
    Func,
}

/// BTF with these externs.
fn btf_of(endian: Endian, externs: &[(&str, T)]) -> Vec<u8> {
    let mut builder = Builder::new(endian);
    let int = |builder: &mut Builder, name: &str, size: u32, raw: u8| {
        builder.add(&D::Int {
            name: name.into(),
            size,
            raw,
            offset: 0,
            bits: (size * 8) as u8,
        })
    };
    let array = |builder: &mut Builder, element, length| {
        builder.add(&D::Array(Array {
            element,
            index: element,
            length,
        }))
    };
    let tristate = |name: &str, wide, size| D::Enum {
        wide,
        name: name.into(),
        size,
        signed: false,
        values: vec![EnumeratorDef {
            name: b"TRI_NO".to_vec(),
            value: 0,
        }],
    };
    let mut variables = Vec::new();
    for (name, of) in externs {
        let target = match *of {
            T::Bool => int(&mut builder, "_Bool", 1, 4),
            T::WideBool => int(&mut builder, "_Bool", 4, 4),
            T::Tristate => builder.add(&tristate("libbpf_tristate", false, 4)),
            T::Tristate64 => builder.add(&tristate("libbpf_tristate", true, 8)),
            T::OtherEnum => builder.add(&tristate("colour", false, 4)),
            T::Int(size, signed) => int(&mut builder, "int_t", size, u8::from(signed)),
            T::Chars(length) => {
                let char = int(&mut builder, "char", 1, 1);
                array(&mut builder, char, length)
            }
            T::Ints(length) => {
                let element = int(&mut builder, "int", 4, 1);
                array(&mut builder, element, length)
            }
            T::Bools(length) => {
                let element = int(&mut builder, "_Bool", 1, 4);
                array(&mut builder, element, length)
            }
            T::Struct => builder.add(&D::Composite {
                union: false,
                name: b"s".to_vec(),
                size: 4,
                flag: false,
                members: Vec::<MemberDef>::new(),
            }),
            T::Func => builder.add(&D::FuncProto {
                returns: 0,
                parameters: Vec::<ParameterDef>::new(),
            }),
        };
        let name = name.as_bytes().to_vec();
        let type_id = match of {
            T::Func => builder.add(&D::Func {
                name,
                linkage: Linkage::Extern,
                prototype: target,
            }),
            _ => builder.add(&D::Var {
                name,
                target,
                linkage: Linkage::Extern,
            }),
        };
        variables.push(VariableDef {
            type_id,
            offset: 0,
            size: 0,
        });
    }
    builder.add(&D::Datasec {
        name: b".kconfig".to_vec(),
        size: 0,
        variables,
    });
    builder.finish()
}

fn resolve(
    endian: Endian,
    externs: &[(&str, T)],
    config: Option<&str>,
    facts: &Facts,
    weak: bool,
) -> Result<KconfigData, Vec<String>> {
    let encoded = btf_of(endian, externs);
    let btf = Btf::parse(encoded.as_slice()).unwrap();
    let config = config.map(|text| Kconfig::parse(text.as_bytes()));
    resolve_kconfig(&btf, config.as_ref(), facts, &|_| weak)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

/// The bytes of one strong extern `CONFIG_X` after this line.
fn value_of(of: T, line: &str) -> Result<Vec<u8>, String> {
    resolve(Endian::Little, &[("CONFIG_X", of)], Some(line), &FACTS, false)
        .map(|data| data.bytes)
        .map_err(|errors| errors.join("; "))
}

#[rstest]
#[case::yes_bool(T::Bool, "CONFIG_X=y", &[1])]
#[case::no_bool(T::Bool, "CONFIG_X=n", &[0])]
#[case::only_the_first_character_counts(T::Bool, "CONFIG_X=yes", &[1])]
#[case::yes(T::Tristate, "CONFIG_X=y", &[1, 0, 0, 0])]
#[case::module(T::Tristate, "CONFIG_X=m", &[2, 0, 0, 0])]
#[case::no(T::Tristate, "CONFIG_X=n", &[0, 0, 0, 0])]
#[case::module_of_64_bits(T::Tristate64, "CONFIG_X=m", &[2, 0, 0, 0, 0, 0, 0, 0])]
#[case::character(T::Int(1, true), "CONFIG_X=m", b"m")]
#[case::number_in_a_char(T::Int(1, true), "CONFIG_X=-128", &[128])]
#[case::number(T::Int(4, true), "CONFIG_X=250", &[250, 0, 0, 0])]
#[case::negative(T::Int(4, true), "CONFIG_X=-1", &[255, 255, 255, 255])]
#[case::hex(T::Int(8, false), "CONFIG_X=0xffffffff81000000", &[0, 0, 0, 0x81, 255, 255, 255, 255])]
#[case::octal(T::Int(2, false), "CONFIG_X=0777", &[0xff, 1])]
#[case::greatest_unsigned(T::Int(2, false), "CONFIG_X=65535", &[255, 255])]
#[case::negative_in_unsigned_64(T::Int(8, false), "CONFIG_X=-1", &[255; 8])]
#[case::beyond_signed_64(T::Int(8, true), "CONFIG_X=18446744073709551615", &[255; 8])]
#[case::text(T::Chars(4), "CONFIG_X=\"ab\"", b"ab\0\0")]
#[case::longest_text(T::Chars(4), "CONFIG_X=\"abc\"", b"abc\0")]
#[case::cut_text(T::Chars(4), "CONFIG_X=\"abcdef\"", b"abc\0")]
#[case::empty_text(T::Chars(1), "CONFIG_X=\"\"", b"\0")]
#[case::text_with_quotes_and_signs(T::Chars(8), "CONFIG_X=\"a\"=b\"", b"a\"=b\0\0\0\0")]
#[case::the_first_of_two_lines_counts(T::Int(1, false), "CONFIG_X=1\nCONFIG_X=2", &[1])]
#[case::other_lines_say_nothing(
    T::Bool,
    "#\n# CONFIG_Y is not set\nnonsense\n CONFIG_X=n\nCONFIG_XY=n\n\nCONFIG_X=y\n",
    &[1]
)]
fn values_are_written_as_libbpf_writes_them(#[case] of: T, #[case] config: &str, #[case] bytes: &[u8]) {
    assert_eq!(value_of(of, config).as_deref(), Ok(bytes));
}

#[rstest]
#[case::module_for_bool(
    T::Bool,
    "CONFIG_X=m",
    "CONFIG_X=m does not fit extern CONFIG_X (_Bool); declare it as enum libbpf_tristate or a char"
)]
#[case::number_for_bool(
    T::Bool,
    "CONFIG_X=1",
    "CONFIG_X=1 does not fit extern CONFIG_X (_Bool); declare it as an integer"
)]
#[case::number_for_tristate(
    T::Tristate,
    "CONFIG_X=1",
    "CONFIG_X=1 does not fit extern CONFIG_X (enum libbpf_tristate); declare it as an integer"
)]
#[case::number_for_text(
    T::Chars(4),
    "CONFIG_X=1",
    "CONFIG_X=1 does not fit extern CONFIG_X (char[4]); declare it as an integer"
)]
#[case::yes_for_int(
    T::Int(4, true),
    "CONFIG_X=y",
    "CONFIG_X=y does not fit extern CONFIG_X (int_t); declare it as a bool, enum libbpf_tristate or a char"
)]
#[case::yes_for_text(
    T::Chars(4),
    "CONFIG_X=y",
    "CONFIG_X=y does not fit extern CONFIG_X (char[4]); declare it as a bool, enum libbpf_tristate or a char"
)]
#[case::text_for_int(
    T::Int(4, true),
    "CONFIG_X=\"a\"",
    "CONFIG_X=\"a\" does not fit extern CONFIG_X (int_t); declare it as an array of char"
)]
#[case::above_signed(
    T::Int(1, true),
    "CONFIG_X=128",
    "CONFIG_X=128 is out of range for extern CONFIG_X (int_t); declare it as a wider integer"
)]
#[case::below_signed(
    T::Int(2, true),
    "CONFIG_X=-32769",
    "CONFIG_X=-32769 is out of range for extern CONFIG_X (int_t); declare it as a wider integer"
)]
#[case::above_unsigned(
    T::Int(4, false),
    "CONFIG_X=0x100000000",
    "CONFIG_X=0x100000000 is out of range for extern CONFIG_X (int_t); declare it as a wider integer"
)]
#[case::negative_unsigned(
    T::Int(4, false),
    "CONFIG_X=-1",
    "CONFIG_X=-1 is out of range for extern CONFIG_X (int_t); declare it as a wider integer"
)]
#[case::no_number(
    T::Int(4, false),
    "CONFIG_X=abc",
    "CONFIG_X=abc in the kernel's configuration is no value: it is no integer; mend the file on the node"
)]
#[case::too_large(
    T::Int(8, false),
    "CONFIG_X=18446744073709551616",
    "CONFIG_X=18446744073709551616 in the kernel's configuration is no value: it has more than 64 bits; mend \
     the file on the node"
)]
#[case::open_text(
    T::Chars(4),
    "CONFIG_X=\"a",
    "CONFIG_X=\"a in the kernel's configuration is no value: its text has no quote at its end; mend the file \
     on the node"
)]
#[case::half_a_quote(
    T::Chars(4),
    "CONFIG_X=\"",
    "CONFIG_X=\" in the kernel's configuration is no value: its text has no quote at its end; mend the file \
     on the node"
)]
#[case::line_without_value(
    T::Bool,
    "CONFIG_Y=\nCONFIG_X=y",
    "the kernel's configuration is damaged: line 1 has no value: \"CONFIG_Y=\"; mend the file on the node"
)]
#[case::cut_off_line(
    T::Bool,
    "CONFIG_X=y\nCONFIG_Z",
    "the kernel's configuration is damaged: line 2 has no value: \"CONFIG_Z\"; mend the file on the node"
)]
#[case::not_set(
    T::Bool,
    "# CONFIG_X is not set",
    "the kernel's configuration does not set CONFIG_X; declare it `__weak` in the object if it does without, \
     or give the variant a `kernelConfig` requirement, so that such nodes use another"
)]
#[case::wide_bool(
    T::WideBool,
    "",
    "extern CONFIG_X has the type _Bool; `__kconfig` externs are bool, enum libbpf_tristate, integers of 1, 2, 4 or 8 \
     bytes, and arrays of char"
)]
#[case::integer_of_16_bytes(
    T::Int(16, true),
    "",
    "extern CONFIG_X has the type int_t; `__kconfig` externs are bool, enum libbpf_tristate, integers of 1, 2, 4 or 8 \
     bytes, and arrays of char"
)]
#[case::array_of_int(
    T::Ints(4),
    "",
    "extern CONFIG_X has the type int[4]; `__kconfig` externs are bool, enum libbpf_tristate, integers of 1, 2, 4 or \
     8 bytes, and arrays of char"
)]
#[case::structure(
    T::Struct,
    "",
    "extern CONFIG_X has the type struct s; `__kconfig` externs are bool, enum libbpf_tristate, integers of 1, 2, 4 or \
     8 bytes, and arrays of char"
)]
#[case::function(
    T::Func,
    "",
    "extern CONFIG_X has the type void (void); `__kconfig` externs are bool, enum libbpf_tristate, integers of 1, 2, 4 or \
     8 bytes, and arrays of char"
)]
fn what_libbpf_refuses_is_refused_with_the_reason(
    #[case] of: T,
    #[case] config: &str,
    #[case] message: &str,
) {
    assert_eq!(value_of(of, config), Err(message.into()));
}

#[rstest]
#[case(T::OtherEnum)]
#[case(T::Bools(4))]
#[case(T::Chars(0))]
#[case(T::Int(3, false))]
#[case(T::Int(0, false))]
fn other_types_are_refused(#[case] of: T) {
    let message = value_of(of, "CONFIG_X=y").unwrap_err();
    assert!(message.starts_with("extern CONFIG_X has the type "), "{message}");
}

#[test]
fn externs_are_laid_out_by_falling_alignment_then_rising_size_then_name() {
    let externs = [
        ("CONFIG_BOOL", T::Bool),
        ("CONFIG_TEXT", T::Chars(5)),
        ("LINUX_KERNEL_VERSION", T::Int(4, true)),
        ("CONFIG_LONG", T::Int(8, false)),
        ("CONFIG_B", T::Int(2, false)),
        ("CONFIG_A", T::Int(2, false)),
        ("CONFIG_TRI", T::Tristate),
        ("CONFIG_CHAR", T::Int(1, true)),
    ];
    let config = "CONFIG_BOOL=y\nCONFIG_TEXT=\"abcd\"\nCONFIG_LONG=0x0102030405060708\nCONFIG_B=0x0b0c\n\
                  CONFIG_A=10\nCONFIG_TRI=m\nCONFIG_CHAR=y\n";
    let place = |data: &KconfigData| -> Vec<(String, u32, u32)> {
        data.entries
            .iter()
            .map(|e| (e.name.clone(), e.offset, e.size))
            .collect()
    };
    let data = resolve(Endian::Little, &externs, Some(config), &FACTS, false).unwrap();
    let expected = [
        ("CONFIG_LONG", 0, 8),
        ("CONFIG_TRI", 8, 4),
        ("LINUX_KERNEL_VERSION", 12, 4),
        ("CONFIG_A", 16, 2),
        ("CONFIG_B", 18, 2),
        ("CONFIG_BOOL", 20, 1),
        ("CONFIG_CHAR", 21, 1),
        ("CONFIG_TEXT", 22, 5),
    ]
    .map(|(name, offset, size)| (name.to_owned(), offset, size));
    assert_eq!(place(&data), expected);
    assert_eq!(
        data.bytes,
        b"\x08\x07\x06\x05\x04\x03\x02\x01\x02\0\0\0\x07\x01\x06\0\x0a\0\x0c\x0b\x01yabcd\0"
    );
    let big = resolve(Endian::Big, &externs, Some(config), &FACTS, false).unwrap();
    assert_eq!(place(&big), expected);
    assert_eq!(
        big.bytes,
        b"\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\x02\0\x06\x01\x07\0\x0a\x0b\x0c\x01yabcd\0"
    );
}

#[test]
fn a_cut_text_is_reported() {
    let data = resolve(
        Endian::Little,
        &[("CONFIG_X", T::Chars(4))],
        Some("CONFIG_X=\"abcdef\""),
        &FACTS,
        false,
    )
    .unwrap();
    assert_eq!(
        data.shortened[0].to_string(),
        "CONFIG_X has 6 bytes in the kernel's configuration, of which the extern has room for 3"
    );
}

#[test]
fn weak_externs_that_are_not_set_are_zero_and_strong_ones_are_all_named() {
    let externs = [
        ("CONFIG_A", T::Bool),
        ("CONFIG_B", T::Chars(3)),
        ("CONFIG_C", T::Int(8, true)),
    ];
    let weak = resolve(Endian::Little, &externs, Some("CONFIG_A=y"), &FACTS, true).unwrap();
    assert_eq!(weak.bytes, [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    let set: Vec<bool> = weak.entries.iter().map(|e| e.is_set).collect();
    assert_eq!(set, [false, true, false]);
    assert_eq!(
        resolve(Endian::Little, &externs, Some("CONFIG_A=y"), &FACTS, false),
        Err(vec![
            "the kernel's configuration does not set CONFIG_C and CONFIG_B; declare them `__weak` in the object \
             if it does without, or give the variant a `kernelConfig` requirement, so that such nodes use another"
                .into()
        ])
    );
}

#[test]
fn without_a_configuration_even_weak_options_have_no_value() {
    for weak in [true, false] {
        assert_eq!(
            resolve(Endian::Little, &[("CONFIG_A", T::Bool)], None, &FACTS, weak),
            Err(vec![
                "the object takes CONFIG_A from the kernel's configuration, and the node has neither \
                 /boot/config-<release> nor /proc/config.gz; give the node the file of its kernel, or select a \
                 variant without `__kconfig` externs there"
                    .into()
            ])
        );
    }
    let facts_only = [
        ("LINUX_KERNEL_VERSION", T::Int(4, false)),
        ("LINUX_HAS_BPF_COOKIE", T::Bool),
    ];
    assert!(resolve(Endian::Little, &facts_only, None, &FACTS, false).is_ok());
    assert_eq!(
        resolve(Endian::Little, &[], None, &FACTS, false),
        Ok(KconfigData::default())
    );
}

const UNKNOWN: Facts = Facts {
    kernel_version: 0,
    has_syscall_wrapper: None,
    has_bpf_cookie: None,
};

#[rstest]
#[case::version("LINUX_KERNEL_VERSION", T::Int(4, true), FACTS, false, Ok(vec![7, 1, 6, 0]))]
#[case::version_in_64_bits("LINUX_KERNEL_VERSION", T::Int(8, false), FACTS, false, Ok(vec![7, 1, 6, 0, 0, 0, 0, 0]))]
#[case::version_in_16_bits(
    "LINUX_KERNEL_VERSION",
    T::Int(2, false),
    FACTS,
    false,
    Err(
        "LINUX_KERNEL_VERSION=393479 is out of range for extern LINUX_KERNEL_VERSION (int_t); declare it as a \
         wider integer"
    )
)]
#[case::version_as_bool(
    "LINUX_KERNEL_VERSION",
    T::Bool,
    FACTS,
    false,
    Err(
        "LINUX_KERNEL_VERSION=393479 does not fit extern LINUX_KERNEL_VERSION (_Bool); declare it as an integer"
    )
)]
#[case::version_unknown_even_if_weak(
    "LINUX_KERNEL_VERSION",
    T::Int(4, true),
    UNKNOWN,
    true,
    Err("extern LINUX_KERNEL_VERSION cannot be given a value: the node's kernel version is not known")
)]
#[case::wrapper("LINUX_HAS_SYSCALL_WRAPPER", T::Bool, FACTS, false, Ok(vec![1]))]
#[case::cookie_as_int("LINUX_HAS_BPF_COOKIE", T::Int(4, true), FACTS, false, Ok(vec![0, 0, 0, 0]))]
#[case::cookie_as_tristate(
    "LINUX_HAS_BPF_COOKIE",
    T::Tristate,
    FACTS,
    false,
    Err(
        "LINUX_HAS_BPF_COOKIE=0 does not fit extern LINUX_HAS_BPF_COOKIE (enum libbpf_tristate); declare it as \
         an integer or a bool"
    )
)]
#[case::fact_unknown(
    "LINUX_HAS_SYSCALL_WRAPPER",
    T::Bool,
    UNKNOWN,
    false,
    Err(
        "extern LINUX_HAS_SYSCALL_WRAPPER cannot be given a value: whether the kernel has syscall wrappers could \
         not be probed on this node; declare it `__weak` if the object does without"
    )
)]
#[case::fact_unknown_and_weak("LINUX_HAS_SYSCALL_WRAPPER", T::Bool, UNKNOWN, true, Ok(vec![0]))]
#[case::weak_fact_of_later("LINUX_HAS_WINGS", T::Bool, FACTS, true, Ok(vec![0]))]
#[case::strong_fact_of_later(
    "LINUX_HAS_WINGS",
    T::Bool,
    FACTS,
    false,
    Err(
        "extern LINUX_HAS_WINGS is not known: `__kconfig` externs are CONFIG_…, LINUX_KERNEL_VERSION, \
         LINUX_HAS_SYSCALL_WRAPPER and LINUX_HAS_BPF_COOKIE; correct its name, or declare it `__weak` to read 0"
    )
)]
#[case::other_name_even_if_weak(
    "HZ",
    T::Int(4, true),
    FACTS,
    true,
    Err(
        "extern HZ is not known: `__kconfig` externs are CONFIG_…, LINUX_KERNEL_VERSION, \
         LINUX_HAS_SYSCALL_WRAPPER and LINUX_HAS_BPF_COOKIE; correct its name"
    )
)]
fn facts_are_no_options(
    #[case] name: &str,
    #[case] of: T,
    #[case] facts: Facts,
    #[case] weak: bool,
    #[case] expected: Result<Vec<u8>, &str>,
) {
    let result = resolve(Endian::Little, &[(name, of)], Some(""), &facts, weak);
    let result = result.map(|data| data.bytes).map_err(|errors| errors.join("; "));
    assert_eq!(result, expected.map_err(str::to_owned));
}

#[test]
fn sizes_are_bounded() {
    assert_eq!(
        value_of(T::Chars(1 << 31), "CONFIG_X=\"a\""),
        Err("the object's `__kconfig` externs have 2147483648 bytes, at most 1048576 are supported; drop some".into())
    );
    let mut large = vec![b'#'; MAX_CONFIG];
    large.extend_from_slice(b"\nCONFIG_X=y\n");
    let config = Kconfig::parse(&large);
    assert_eq!((config.len(), config.get("CONFIG_X")), (0, None));
    let encoded = btf_of(Endian::Little, &[("CONFIG_X", T::Bool)]);
    let btf = Btf::parse(encoded.as_slice()).unwrap();
    let errors = resolve_kconfig(&btf, Some(&config), &FACTS, &|_| true).unwrap_err();
    assert!(matches!(errors.as_slice(), [KconfigError::BadConfig(line)] if line.cut_off));
    assert_eq!(
        errors[0].to_string(),
        "the kernel's configuration is damaged: it is larger than 8388608 bytes, which end in line 1; mend the \
         file on the node"
    );
}

#[test]
fn options_are_looked_up_by_name() {
    let config =
        Kconfig::parse(b"CONFIG_B=m\n# CONFIG_C is not set\nCONFIG_A=\"x y\"\nCONFIG_B=y\nCONFIG_D=\xff\n");
    assert_eq!(config.get("CONFIG_A"), Some("\"x y\""));
    assert_eq!(config.get("CONFIG_B"), Some("m"));
    assert_eq!(config.get("CONFIG_C"), None);
    assert_eq!(config.get("CONFIG_D"), None, "no text");
    assert_eq!((config.len(), config.is_empty()), (3, false));
}

#[test]
fn externs_of_a_real_object_get_their_values() {
    let source = r#"
        #include <stdbool.h>
        #include <linux/bpf.h>
        #include <bpf/bpf_helpers.h>
        extern int LINUX_KERNEL_VERSION __kconfig;
        extern bool LINUX_HAS_BPF_COOKIE __kconfig __weak;
        extern enum libbpf_tristate CONFIG_VETH __kconfig;
        extern char CONFIG_DEFAULT_HOSTNAME[8] __kconfig __weak;
        extern unsigned long CONFIG_HZ __kconfig;
        extern bool CONFIG_ABSENT __kconfig __weak;
        SEC("tp/sched/sched_switch")
        int on_switch(void *ctx)
        {
            return LINUX_KERNEL_VERSION + LINUX_HAS_BPF_COOKIE + CONFIG_VETH + CONFIG_DEFAULT_HOSTNAME[1] + CONFIG_HZ
                + CONFIG_ABSENT;
        }
    "#;
    let fixture = Fixture::read(&common::compile_with(source, &["-target", "bpfel", "-g"]));
    let config = Kconfig::parse(b"CONFIG_HZ=250\nCONFIG_VETH=m\nCONFIG_DEFAULT_HOSTNAME=\"(none)\"\n");
    let weak = |name: &str| !matches!(name, "LINUX_KERNEL_VERSION" | "CONFIG_VETH" | "CONFIG_HZ");
    let data = resolve_kconfig(&fixture.btf(), Some(&config), &FACTS, &weak).unwrap();
    let places: Vec<(&str, u32, bool)> = data
        .entries
        .iter()
        .map(|e| (e.name.as_str(), e.offset, e.is_set))
        .collect();
    assert_eq!(
        places,
        [
            ("CONFIG_HZ", 0, true),
            ("CONFIG_VETH", 8, true),
            ("LINUX_KERNEL_VERSION", 12, true),
            ("CONFIG_ABSENT", 16, false),
            ("LINUX_HAS_BPF_COOKIE", 17, true),
            ("CONFIG_DEFAULT_HOSTNAME", 18, true),
        ]
    );
    assert_eq!(
        data.bytes,
        b"\xfa\0\0\0\0\0\0\0\x02\0\0\0\x07\x01\x06\0\0\0(none)\0\0"
    );
}
