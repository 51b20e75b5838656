//! What no kernel has, or none of the corpus: ambiguity, 32 bits, depth, and what hides behind typedefs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use bpf_oracle::libbpf;
use btf::co_re::{Relocator, Targets};
use btf::{Btf, Definition as D, Endian};
use common::alike::{compare, minimized};
use common::build::{
    array, declared, enumeration, enumeration64, int, integer, object, structure, tag, typedef, with_bits,
};
use common::definitions::encode;

const OFFSET: u32 = 0;
const SIZE: u32 = 1;
const EXISTS: u32 = 2;
const SIGNED: u32 = 3;
const LSHIFT: u32 = 4;
const RSHIFT: u32 = 5;
const TYPE_ID: u32 = 7;
const TYPE_EXISTS: u32 = 8;
const TYPE_SIZE: u32 = 9;
const ENUM_EXISTS: u32 = 10;
const ENUM_VALUE: u32 = 11;
const TYPE_MATCHES: u32 = 12;

const LOAD_64: u8 = 0x18;
const LOAD: u8 = 0x61;

const REFUSED: Result<Option<u64>, ()> = Err(());
const POISON: Result<Option<u64>, ()> = Ok(None);

/// Sees that libbpf and the minimized BTF answer alike, and gives the answers.
fn answers(local: &[D], target: &[D], asked: &[(u32, &str, u32)]) -> Vec<Result<Option<u64>, ()>> {
    let bytes = encode(Endian::HOST, target);
    let theirs = libbpf::Btf::new(&bytes).unwrap();
    let target = Btf::parse(bytes).unwrap();
    for code in [LOAD_64, LOAD, 0x62, 0xb7] {
        let parts = object(code, local, asked);
        compare("synthetic", &parts, Targets::kernel(&target), &theirs, &[]);
    }
    let parts = object(LOAD_64, local, asked);
    minimized("synthetic", &parts, Targets::kernel(&target));
    let local = Btf::parse(parts.btf.as_slice()).unwrap();
    let mut relocator = Relocator::new(&local, Targets::kernel(&target));
    let answer = |(_, r)| relocator.relocate(r).map(|o| o.value).map_err(drop);
    parts
        .relocations
        .iter()
        .map(|(s, r)| (s, r))
        .map(answer)
        .collect()
}

#[test]
fn types_of_one_name_are_one_where_they_agree_and_ambiguous_where_they_do_not() {
    let local = [int(), structure("s", 8, &[("a", 1, 0), ("b", 1, 4)])];
    let target = [
        int(),
        structure("s", 16, &[("a", 1, 4), ("b", 1, 8)]),
        structure("s", 32, &[("a", 1, 4), ("b", 1, 12)]),
        structure("s___2", 16, &[("a", 1, 4), ("b", 1, 8)]),
    ];
    let asked = [
        (2, "0:0", OFFSET),
        (2, "0:0", SIZE),
        (2, "0:1", OFFSET),
        (2, "0:1", EXISTS),
        (2, "0:1", SIZE),
        (2, "0", TYPE_SIZE),
        (2, "0", TYPE_EXISTS),
        (2, "0", TYPE_ID),
        (2, "0", TYPE_MATCHES),
    ];
    // Even the existence of a field is ambiguous if the field stands elsewhere.
    assert_eq!(
        answers(&local, &target, &asked),
        [
            Ok(Some(4)),
            Ok(Some(4)),
            REFUSED,
            REFUSED,
            REFUSED,
            REFUSED,
            Ok(Some(1)),
            REFUSED,
            Ok(Some(1))
        ]
    );
}

#[test]
fn a_type_that_answered_is_preferred_by_the_later_relocations_of_the_same_local_type_only() {
    let local = [
        int(),
        structure("s", 8, &[("a", 1, 0), ("only", 1, 4)]),
        structure("s", 8, &[("a", 1, 0)]),
    ];
    let target = [
        int(),
        structure("s", 8, &[("a", 1, 0)]),
        structure("s", 32, &[("a", 1, 4), ("only", 1, 16)]),
    ];
    let first = [
        (2, "0:0", OFFSET),
        (2, "0:1", OFFSET),
        (2, "0:0", OFFSET),
        (3, "0:0", OFFSET),
    ];
    assert_eq!(
        answers(&local, &target, &first),
        [REFUSED, Ok(Some(16)), Ok(Some(4)), REFUSED]
    );
    // What none of them has leaves all of them.
    let none = [(2, "0", TYPE_SIZE), (2, "0:1", EXISTS), (2, "0", TYPE_SIZE)];
    assert_eq!(
        answers(&local, &target, &none),
        [REFUSED, Ok(Some(1)), Ok(Some(32))]
    );
}

#[test]
fn pointers_of_32_bit_kernels_are_loaded_in_4_bytes() {
    let local = [
        integer("long", 8, 1),
        D::Ptr(0),
        structure("s", 32, &[("p", 2, 0), ("l", 1, 8), ("u", 4, 16)]),
        integer("unsigned long", 8, 0),
    ];
    let target = [
        integer("long", 4, 1),
        D::Ptr(0),
        structure("s", 12, &[("l", 1, 0), ("p", 2, 4), ("u", 4, 8)]),
        integer("unsigned long", 4, 0),
    ];
    let asked = [
        (3, "0:0", OFFSET),
        (3, "0:0", SIZE),
        (3, "0:1", OFFSET),
        (3, "0:2", OFFSET),
        (3, "0", TYPE_SIZE),
    ];
    let expected = [4, 4, 0, 8, 12].map(|v| Ok(Some(v)));
    assert_eq!(answers(&local, &target, &asked), expected);
}

#[test]
fn bit_fields_are_read_with_the_smallest_load_that_holds_them_and_refused_if_there_is_none() {
    let local = [
        int(),
        integer("unsigned char", 1, 0),
        with_bits(
            "s",
            16,
            &[
                ("a", 1, 0, 3),
                ("b", 2, 3, 4),
                ("c", 1, 32, 0),
                ("wide", 1, 64, 30),
            ],
        ),
    ];
    let target = [
        int(),
        integer("unsigned char", 1, 0),
        // `b` lies across bytes, `c` has become a bit field, `wide` reaches over 8 bytes.
        with_bits(
            "s",
            32,
            &[
                ("a", 1, 30, 2),
                ("b", 2, 14, 5),
                ("c", 1, 33, 7),
                ("wide", 1, 110, 40),
            ],
        ),
    ];
    let kinds = [OFFSET, SIZE, EXISTS, SIGNED, LSHIFT, RSHIFT];
    let asked: Vec<_> = ["0:0", "0:1", "0:2", "0:3"]
        .into_iter()
        .flat_map(|access| kinds.map(|kind| (3, access, kind)))
        .collect();
    let answers = answers(&local, &target, &asked);
    let some = |values: [u64; 6]| values.map(|v| Ok(Some(v)));
    assert_eq!(answers[..6], some([0, 4, 1, 1, 32, 62]));
    assert_eq!(answers[6..12], some([0, 4, 1, 0, 45, 59]));
    assert_eq!(answers[12..18], some([4, 4, 1, 1, 56, 57]));
    assert_eq!(
        answers[18..],
        [REFUSED, REFUSED, Ok(Some(1)), REFUSED, REFUSED, REFUSED]
    );
}

#[test]
fn enums_of_4_and_8_bytes_stand_for_one_another() {
    let local = [
        enumeration("e", 4, &[("A", 1), ("B___mine", -2), ("C", 3)]),
        enumeration64("f", &[("A", 1 << 40), ("B", -1)]),
        int(),
        structure("s", 16, &[("e", 1, 0), ("f", 2, 8)]),
    ];
    let target = [
        enumeration64("e", &[("B", i64::MIN), ("A", 1 << 33)]),
        enumeration("f", 4, &[("A___x", 0xffff_ffff), ("B", 7)]),
        int(),
        structure("s", 16, &[("f", 2, 0), ("e", 1, 8)]),
    ];
    let asked = [
        (1, "0", ENUM_VALUE),
        (1, "1", ENUM_VALUE),
        (1, "2", ENUM_VALUE),
        (1, "2", ENUM_EXISTS),
        (2, "0", ENUM_VALUE),
        (2, "1", ENUM_VALUE),
        (1, "0", TYPE_SIZE),
        (1, "0", TYPE_MATCHES),
        (4, "0:0", OFFSET),
        (4, "0:1", SIZE),
        (4, "0", TYPE_MATCHES),
    ];
    assert_eq!(
        answers(&local, &target, &asked),
        [
            Ok(Some(1 << 33)),
            Ok(Some(i64::MIN as u64)),
            POISON,
            Ok(Some(0)),
            // libbpf extends the sign of what has none.
            Ok(Some(u64::MAX)),
            Ok(Some(7)),
            Ok(Some(8)),
            Ok(Some(0)),
            Ok(Some(8)),
            Ok(Some(4)),
            Ok(Some(0)),
        ]
    );
}

#[test]
fn declarations_and_tags_behind_typedefs_are_looked_through() {
    let local = [
        int(),
        structure("hidden", 4, &[("x", 1, 0)]),
        typedef("hidden_t", 2),
        declared("opaque"),
        typedef("opaque_t", 4),
        structure("s", 8, &[("p", 8, 0)]),
        typedef("tagged_t", 8),
        D::Ptr(1),
    ];
    let target = [
        int(),
        declared("hidden"),
        typedef("hidden_t", 2),
        tag("rcu", 8),
        D::Ptr(4),
        structure("s", 16, &[("p", 5, 8)]),
        typedef("tagged_t", 5),
        typedef("number", 1),
        structure("opaque", 4, &[]),
        typedef("opaque_t", 9),
    ];
    let asked = [
        (2, "0", TYPE_EXISTS),
        (3, "0", TYPE_EXISTS),
        (3, "0", TYPE_MATCHES),
        (3, "0", TYPE_SIZE),
        (5, "0", TYPE_EXISTS),
        (5, "0", TYPE_MATCHES),
        (6, "0:0", OFFSET),
        (6, "0", TYPE_MATCHES),
        (7, "0", TYPE_EXISTS),
        (7, "0", TYPE_MATCHES),
    ];
    let (yes, no) = (Ok(Some(1)), Ok(Some(0)));
    assert_eq!(
        answers(&local, &target, &asked),
        [no, no, no, no, no, no, Ok(Some(8)), yes, yes, yes]
    );
    // Its size is asked, and it is declared there as it is here.
    let local = [declared("hidden"), typedef("hidden_t", 1)];
    assert_eq!(answers(&local, &local.clone(), &[(2, "0", TYPE_SIZE)]), [REFUSED]);
}

#[test]
fn accesses_go_64_steps_deep_and_no_deeper() {
    let chain = |depth: u32, name: &dyn Fn(u32) -> String| -> Vec<D> {
        let mut types = vec![int()];
        for at in 1..depth {
            types.push(structure(&name(at), 8, &[("m", at, 4)]));
        }
        types
    };
    let named = chain(80, &|at| format!("s{at}"));
    let path = |steps: usize| vec!["0"; steps].join(":");
    let (fits, deeper) = (path(64), path(65));
    let asked = [
        (64, fits.as_str(), OFFSET),
        (70, fits.as_str(), OFFSET),
        (70, &deeper, OFFSET),
    ];
    assert_eq!(
        answers(&named, &named.clone(), &asked),
        [Ok(Some(63 * 4)), Ok(Some(63 * 4)), REFUSED]
    );
    // Anonymous ones that are searched for the member, and count as steps.
    let anonymous = |depth: u32| {
        let mut types = vec![int(), structure("", 8, &[("m", 1, 4)])];
        for at in 2..depth {
            types.push(structure("", 8, &[("", at, 4)]));
        }
        types.push(structure("s", 8, &[("", depth, 4)]));
        types
    };
    let local = [int(), structure("s", 4, &[("m", 1, 0)])];
    let asked = [(2, "0:0", OFFSET)];
    assert_eq!(answers(&local, &anonymous(60), &asked), [Ok(Some(60 * 4))]);
    assert_eq!(answers(&local, &anonymous(70), &asked), [REFUSED]);
}

#[test]
fn arrays_end_where_they_end_but_for_one_without_length_at_the_end_of_its_struct() {
    let local = [
        int(),
        array(1, 8),
        array(1, 0),
        array(2, 4),
        structure("s", 64, &[("a", 2, 0), ("b", 4, 0), ("last", 3, 64)]),
    ];
    let target = [
        int(),
        array(1, 4),
        array(1, 0),
        array(1, 32),
        structure("s", 64, &[("last", 3, 0), ("b", 4, 32), ("a", 3, 160)]),
    ];
    let asked = [
        (5, "0:0:0", OFFSET),
        (5, "0:0:7", OFFSET),
        (5, "0:0:8", OFFSET),
        (5, "0:1:1", OFFSET),
        (5, "0:1:1:1", OFFSET),
        (5, "0:2", OFFSET),
        (5, "0:2:0", EXISTS),
        (5, "2:0:1", OFFSET),
    ];
    assert_eq!(
        answers(&local, &target, &asked),
        [
            Ok(Some(160)),
            Ok(Some(188)),
            REFUSED,
            // An array of arrays is one of the innermost elements there.
            POISON,
            POISON,
            Ok(Some(0)),
            Ok(Some(0)),
            Ok(Some(2 * 64 + 164)),
        ]
    );
}
