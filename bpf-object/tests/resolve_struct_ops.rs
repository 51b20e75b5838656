//! Tables of kernel operations, laid out for a kernel whose table is another.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/resolving.rs"]
mod resolving;

use bpf_object::{Loader, OwnReason};
use btf::Kind;
use common::compile;
use resolving::Wish;

const TABLE: &str = r#"
struct ops___local {
    int (*first)(int);
    unsigned flags;
    int (*second)(int);
    int (*optional)(int);
    char name[16];
};
#define OPS(name) __attribute__((section("struct_ops/" #name), used)) int name
OPS(one)(void *ctx) { return 1; }
OPS(two)(void *ctx) { return 2; }
OPS(newer)(void *ctx) { return 3; }
OPS(alone)(void *ctx) { return 4; }
__attribute__((section(".struct_ops.link"), used)) struct ops___local table = {
    .first = (void *)one, .second = (void *)two, .optional = (void *)newer, .flags = 0x55, .name = "mine",
};
__attribute__((section("xdp"), used)) int other(void *ctx) { return 2; }
"#;
const KERNEL: &str = r#"
struct ops { char name[16]; unsigned flags; int (*more)(void); int (*second)(int); int (*first)(int); };
struct bpf_struct_ops_ops { long common[2]; struct ops data; } registered;
"#;

#[test]
fn a_table_is_laid_out_as_the_kernel_has_it() {
    let object = compile(TABLE);
    let wish = Wish::on(KERNEL).programs(&["one"]);
    let kernel = wish.kernel.as_ref().unwrap();
    let linked = wish.linked(&object);
    let programs: Vec<_> = linked
        .resolved
        .plan
        .programs
        .iter()
        .map(|p| (p.name.as_str(), p.expected_attach_type, p.wanted))
        .collect();
    assert_eq!(
        programs,
        [("one", 4, true), ("two", 3, false)],
        "the table needs both, and has no use for a newer one"
    );
    let one = linked.plan("one");
    let id = |name: &[u8]| kernel.find(Kind::Struct, name).unwrap().id();
    assert_eq!(one.attach.as_ref().unwrap().type_id, id(b"ops"));
    assert_eq!((one.program_type, one.loader), (27, Loader::Own(OwnReason::Type)));
    let [table] = linked.resolved.plan.struct_ops.as_slice() else {
        panic!()
    };
    assert_eq!((table.name.as_str(), table.link), ("table", true));
    assert_eq!(table.value_type.type_id, id(b"bpf_struct_ops_ops"));
    assert_eq!(table.value.len(), 64);
    assert_eq!(&table.value[16..20], b"mine");
    assert_eq!(table.value[32..36], 0x55u32.to_ne_bytes());
    assert!(table.value[36..].iter().all(|b| *b == 0));
    let mut functions = table.functions.clone();
    functions.sort();
    assert_eq!(functions, [(48, "two".to_owned()), (56, "one".to_owned())]);
}

#[test]
fn what_the_kernel_has_no_place_for_is_named() {
    let object = compile(TABLE);
    let without = Wish::on("struct ops { int x; } o;").programs(&["one"]);
    assert!(
        without
            .refusal(&object)
            .contains("struct_ops table: this kernel has no struct bpf_struct_ops_ops")
    );
    let newer = Wish::on(KERNEL).programs(&["newer"]);
    assert!(
        newer
            .refusal(&object)
            .contains("program newer: this kernel's BTF has no member for it in struct ops")
    );
    let alone = Wish::on(KERNEL).programs(&["alone"]);
    assert!(
        alone
            .refusal(&object)
            .contains("struct_ops alone: the function is in no table")
    );
    let narrow = KERNEL.replace("unsigned flags", "char flags");
    let narrow = Wish::on(&narrow).programs(&["two"]);
    assert!(
        narrow
            .refusal(&object)
            .contains("member \"flags\" is of another size in this kernel")
    );
    let other = Wish::nowhere().programs(&["other"]).linked(&object);
    assert!(other.resolved.plan.struct_ops.is_empty());
}
