//! Ways in which what minimize leaves could answer otherwise than the whole.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use btf::co_re::{Outcome, Relocator, Targets};
use btf::{Btf, Definition as D, Endian, RelocationInfo, Source, minimize};
use common::build::{array, declared, int, structure, typedef, with_relocations};
use common::definitions::encode;

const OFFSET: u32 = 0;
const TYPE_ID: u32 = 7;
const TYPE_EXISTS: u32 = 8;
const TYPE_MATCHES: u32 = 12;

/// What is answered by the whole and by what is left of it, which must be the same: `None` is refused.
fn answers(local: &[D], target: &[D], asked: &[(u32, &str, u32)]) -> Vec<Option<Option<u64>>> {
    let (local, relocations) = with_relocations(Endian::HOST, local, asked);
    let local = Btf::parse(local).unwrap();
    let target = Btf::parse(encode(Endian::HOST, target)).unwrap();
    let source = Source {
        btf: &local,
        relocations: &relocations,
    };
    let min = Btf::parse(minimize(&[source], Targets::kernel(&target)).unwrap().bytes).unwrap();
    let ask = |btf: &Btf<'_>| -> Vec<_> {
        let mut relocator = Relocator::new(&local, Targets::kernel(btf));
        let mut value = |r: &RelocationInfo| -> Option<Option<u64>> {
            let outcome: Outcome<'_> = relocator.relocate(r).ok()?;
            Some(if r.kind == TYPE_ID {
                outcome.target.map(|_| 0)
            } else {
                outcome.value
            })
        };
        relocations.iter().map(&mut value).collect()
    };
    let whole = ask(&target);
    assert_eq!(ask(&min), whole);
    whole
}

#[test]
fn a_type_without_a_size_is_refused_by_both() {
    let local = [int(), structure("s", 4, &[("m", 1, 0)]), typedef("t", 2)];
    let target = [int(), declared("s"), typedef("t", 2)];
    assert_eq!(answers(&local, &target, &[(3, "0:0", OFFSET)]), [None]);
}

#[test]
fn a_type_of_2_gib_is_refused_by_both() {
    let local = [int(), structure("s", 4, &[("m", 1, 0)])];
    let target = [int(), structure("s", 1 << 31, &[("m", 1, 0)])];
    assert_eq!(answers(&local, &target, &[(2, "0:0", OFFSET)]), [None]);
}

#[test]
fn parts_of_a_type_are_kept_though_its_shape_was_looked_at_in_part_only() {
    let local = [
        int(),
        array(1, 1),
        D::Ptr(2),
        typedef("t", 3),
        D::Ptr(4),
        typedef("t", 5),
    ];
    let target = [int(), array(1, 2), D::Ptr(2), typedef("t", 3)];
    let asked = [(4, "0", TYPE_MATCHES), (4, "0", TYPE_ID), (4, "0", TYPE_EXISTS)];
    assert_eq!(
        answers(&local, &target, &asked),
        [Some(Some(0)), Some(Some(0)), Some(Some(1))]
    );
}

#[test]
fn a_type_that_matches_nothing_does_not_match_as_a_part_of_another() {
    let local = [
        D::Ptr(0),
        structure("s", 8, &[("m", 1, 0)]),
        D::Ptr(2),
        structure("other", 8, &[("p", 3, 0)]),
        structure("other", 16, &[("q", 2, 0)]),
    ];
    let target = [
        structure("behind", 4, &[]),
        D::Ptr(1),
        structure("s", 8, &[("m", 2, 0)]),
        D::Ptr(3),
        structure("other", 16, &[("p", 4, 0), ("q", 3, 8)]),
    ];
    let asked = [
        (2, "0", TYPE_MATCHES),
        (4, "0", TYPE_MATCHES),
        (5, "0:0:0", OFFSET),
    ];
    assert_eq!(
        answers(&local, &target, &asked),
        [Some(Some(0)), Some(Some(1)), Some(Some(8))]
    );
}

#[test]
fn an_array_without_length_does_not_become_the_last_of_its_struct() {
    let local = [
        int(),
        array(1, 0),
        array(1, 4),
        structure("s", 8, &[("m", 2, 0)]),
        structure("s", 16, &[("m", 3, 0)]),
    ];
    let target = [int(), array(1, 0), structure("s", 8, &[("m", 2, 0), ("n", 1, 0)])];
    let asked = [(4, "0", TYPE_MATCHES), (5, "0:0:2", OFFSET)];
    assert_eq!(answers(&local, &target, &asked), [Some(Some(1)), Some(None)]);
}

#[test]
fn members_that_do_not_match_are_not_kept_for_that() {
    let local = [
        int(),
        D::Ptr(1),
        structure("s", 8, &[("m", 1, 0), ("n", 2, 4), ("o", 1, 8)]),
    ];
    let target = [
        int(),
        structure("s", 16, &[("m", 1, 0), ("n", 1, 4), ("o", 1, 8)]),
    ];
    let (btf, relocations) = with_relocations(
        Endian::HOST,
        &local,
        &[(3, "0", TYPE_MATCHES), (3, "0", TYPE_EXISTS)],
    );
    let local = Btf::parse(btf).unwrap();
    let target = Btf::parse(encode(Endian::HOST, &target)).unwrap();
    let source = Source {
        btf: &local,
        relocations: &relocations,
    };
    let min = Btf::parse(minimize(&[source], Targets::kernel(&target)).unwrap().bytes).unwrap();
    assert_eq!(min.types().map(|t| t.count()).collect::<Vec<_>>(), [0]);
}
