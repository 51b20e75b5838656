//! Types spelled as C.
#![allow(clippy::unwrap_used, clippy::panic)]

use btf::{
    Array, Btf, Builder, Definition as D, Endian, EnumeratorDef, Kind, Linkage, MemberDef, ParameterDef,
};

fn name(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn int(text: &str, size: u32) -> D {
    D::Int {
        name: name(text),
        size,
        raw: 0,
        offset: 0,
        bits: (size * 8) as u8,
    }
}

fn member(text: &str, type_id: u32, raw_offset: u32) -> MemberDef {
    MemberDef {
        name: name(text),
        type_id,
        raw_offset,
    }
}

fn composite(text: &str, members: Vec<MemberDef>) -> D {
    D::Composite {
        union: false,
        name: name(text),
        size: 32,
        flag: true,
        members,
    }
}

fn parameter(text: &str, type_id: u32) -> ParameterDef {
    ParameterDef {
        name: name(text),
        type_id,
    }
}

/// Types with known ids.
fn sample() -> Vec<u8> {
    let mut b = Builder::new(Endian::HOST);
    let array = |element, length| {
        D::Array(Array {
            element,
            index: 1,
            length,
        })
    };
    for definition in [
        int("int", 4), // 1
        D::Ptr(1),     // 2
        D::Qualifier {
            kind: Kind::Const,
            target: 1,
        }, // 3
        D::Ptr(3),     // 4
        D::Qualifier {
            kind: Kind::Const,
            target: 2,
        }, // 5
        array(2, 4),   // 6
        D::Ptr(6),     // 7
        D::FuncProto {
            returns: 1,
            parameters: vec![parameter("a", 4), parameter("", 0)],
        }, // 8
        D::Ptr(8),     // 9
        composite("", vec![member("x", 1, 3 << 24), member("y", 1, 3 | 5 << 24)]), // 10
        composite(
            "outer",
            vec![
                member("", 10, 0),
                member("compare", 9, 64),
                member("names", 6, 128),
            ],
        ), // 11
        D::Typedef {
            name: name("outer_t"),
            target: 11,
        }, // 12
        D::Enum {
            wide: false,
            name: name("colour"),
            size: 4,
            signed: true,
            values: vec![EnumeratorDef {
                name: name("RED"),
                value: -1,
            }],
        }, // 13
        D::Func {
            name: name("run"),
            linkage: Linkage::Global,
            prototype: 8,
        }, // 14
        D::Fwd {
            name: name("later"),
            union: true,
        }, // 15
        array(1, 0),   // 16
        array(6, 2),   // 17
        D::TypeTag {
            name: name("user"),
            target: 1,
            flag: false,
        }, // 18
        D::Ptr(18),    // 19
        D::Qualifier {
            kind: Kind::Const,
            target: 21,
        }, // 20
        D::Qualifier {
            kind: Kind::Volatile,
            target: 2,
        }, // 21
    ] {
        b.add(&definition);
    }
    b.finish()
}

#[test]
fn declarations_are_spelled_as_a_programmer_would() {
    let bytes = sample();
    let btf = Btf::parse(bytes.as_slice()).unwrap();
    for (id, expected) in [
        (0, "void n"),
        (1, "int n"),
        (2, "int *n"),
        (4, "const int *n"),
        (5, "int *const n"),
        (6, "int *n[4]"),
        (7, "int *(*n)[4]"),
        (9, "int (*n)(const int *a, ...)"),
        (10, "struct {…} n"),
        (11, "struct outer n"),
        (12, "outer_t n"),
        (13, "enum colour n"),
        (15, "union later n"),
        (16, "int n[]"),
        (17, "int *n[2][4]"),
        (19, "int *n"),
        (99, "? n"),
        (20, "int *const volatile n"),
    ] {
        assert_eq!(btf.c_declaration(id, "n"), expected, "type {id}");
    }
    assert_eq!(btf.c_name(6), "int *[4]");
    assert_eq!(btf.c_name(0), "void");
}

#[test]
fn definitions_are_spelled_with_offsets_and_nested_structs() {
    let bytes = sample();
    let btf = Btf::parse(bytes.as_slice()).unwrap();
    let c = |id: u32| btf.get(id).unwrap().to_c();
    assert_eq!(
        c(11),
        "struct outer {\n    \
             struct {\n        \
                 int x : 3; /* 0 */\n        \
                 int y : 5; /* 0.3 */\n    \
             } /* 32 bytes */; /* 0 */\n    \
             int (*compare)(const int *a, ...); /* 8 */\n    \
             int *names[4]; /* 16 */\n\
         } /* 32 bytes */"
    );
    assert_eq!(c(13), "enum colour {\n    RED = -1,\n}");
    assert_eq!(c(12), "typedef struct outer outer_t");
    assert_eq!(c(14), "int run(const int *a, ...)");
}

#[test]
fn types_that_lead_back_to_themselves_or_branch_without_end_are_cut_short() {
    let mut b = Builder::new(Endian::HOST);
    // A prototype whose parameters are pointers to itself; a struct of structs of itself; a typedef of itself.
    b.add(&D::FuncProto {
        returns: 2,
        parameters: (0..1000).map(|_| parameter("p", 2)).collect(),
    });
    b.add(&D::Ptr(1));
    b.add(&composite("", (0..1000).map(|_| member("", 3, 0)).collect()));
    b.add(&D::Qualifier {
        kind: Kind::Const,
        target: 4,
    });
    b.add(&D::Ptr(5));
    let bytes = b.finish();
    let btf = Btf::parse(bytes.as_slice()).unwrap();
    for id in 1..6 {
        assert!(btf.c_name(id).len() < 600, "type {id}");
        assert!(btf.get(id).unwrap().to_c().len() < 2 << 20, "type {id}");
    }
}
