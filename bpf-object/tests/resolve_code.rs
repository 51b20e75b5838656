//! What becomes of functions: which stay, how they are linked, and their CO-RE relocations.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/resolving.rs"]
mod resolving;

use bpf_object::{ResolveError, inspect};
use common::{compile, compile_with};
use resolving::{Linked, Wish, loads};

const HEAD: &str = r#"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#define NOINLINE __attribute__((noinline))
char LICENSE[] SEC("license") = "GPL";
"#;

fn with_head(source: &str) -> Vec<u8> {
    compile(&format!("{HEAD}{source}"))
}

/// Number of instructions that put a number into a register.
fn holds(linked: &Linked, program: &str, number: i32) -> bool {
    linked.code(program).iter().any(|i| i.imm == number)
}

const SHARED: &str = r#"
static NOINLINE int one(int x) { asm volatile("r0 = 1111"); return x; }
static NOINLINE int two(int x) { asm volatile("r0 = 2222"); return one(x) + 1; }
static NOINLINE int three(int x) { asm volatile("r0 = 3333"); return x; }
static NOINLINE int four(int x) { asm volatile("r0 = 4444"); return x; }
SEC("xdp") int first(int *c) { return two(*c) + three(*c); }
SEC("xdp") int second(int *c) { return one(*c); }
SEC("tp/a/b") int third(int *c) { return four(*c) + one(*c); }
"#;

#[test]
fn subprograms_stay_where_a_chosen_program_reaches_them() {
    let object = with_head(SHARED);
    let linked = Wish::nowhere().programs(&["second", "third"]).linked(&object);
    let kept: Vec<&str> = linked
        .object
        .functions
        .values()
        .map(|f| f.name.as_str())
        .filter(|n| !["second", "third"].contains(n))
        .collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept.contains(&"one") && kept.contains(&"four"), "{kept:?}");
    for (program, inside, outside) in [
        ("second", vec![1111], vec![2222, 3333, 4444]),
        ("third", vec![1111, 4444], vec![2222, 3333]),
    ] {
        assert!(inside.iter().all(|n| holds(&linked, program, *n)), "{program}");
        assert!(!outside.iter().any(|n| holds(&linked, program, *n)), "{program}");
    }
    let all = Wish::nowhere().linked(&object);
    let sizes = |linked: &Linked, program: &str| linked.code(program).len();
    for program in ["second", "third"] {
        assert_eq!(
            sizes(&all, program),
            sizes(&linked, program),
            "the same code, alone or with others"
        );
    }
    // Every call leads to a function's start.
    let code = all.code("first");
    for (at, call) in code.iter().enumerate().filter(|(_, i)| i.code == 0x85) {
        assert_eq!(call.src_reg(), 1);
        let target = i32::try_from(at).unwrap() + 1 + call.imm;
        let starts = all.object.functions[&all.object.programs["first"].function_key()]
            .func_info
            .func_info
            .iter()
            .any(|f| i32::try_from(f.insn_off).unwrap() == target);
        assert!(starts, "a function begins at {target}");
    }
}

/// Two sections of subprograms, in each of which one begins at 0.
const TWO_SECTIONS: &str = r#"
__attribute__((section(".text.a"))) static NOINLINE int left(int x) { asm volatile("r0 = 1111"); return x; }
__attribute__((section(".text.b"))) static NOINLINE int right(int x) { asm volatile("r0 = 2222"); return x; }
SEC("xdp") int both(int *c) { return left(*c) + right(*c); }
"#;

#[test]
fn subprograms_at_equal_offsets_of_two_sections_are_not_mixed_up() {
    let object = with_head(TWO_SECTIONS);
    let mut raw = aya_obj::Object::parse(&object).unwrap();
    let text = raw.functions.keys().map(|(s, _)| *s).collect();
    raw.relocate_calls(&text).unwrap();
    let mixed = &raw.functions[&raw.programs["both"].function_key()].instructions;
    let found = |number| mixed.iter().any(|i| i.imm == number);
    assert!(
        !(found(1111) && found(2222)),
        "aya tells them apart by now: the care for it can go"
    );

    let linked = Wish::nowhere().linked(&object);
    assert!(holds(&linked, "both", 1111) && holds(&linked, "both", 2222));
    let called: Vec<i32> = linked
        .code("both")
        .iter()
        .zip(0..)
        .filter(|(i, _)| i.code == 0x85)
        .map(|(i, at)| at + 1 + i.imm)
        .collect();
    assert_eq!(called.len(), 2);
    assert_ne!(called[0], called[1], "each call leads to its own");
}

#[test]
fn functions_handed_to_helpers_stay_functions() {
    let linked = Wish::nowhere().linked(&with_head(
        r#"
        static int NOINLINE called(int i) { asm volatile("r0 = 1111"); return i; }
        static long each(__u32 i, void *ctx) { return called(i); }
        static long other(__u32 i, void *ctx) { asm volatile("r0 = 2222"); return 0; }
        SEC("tp/a/b") int walk(void *ctx) { return bpf_loop(3, each, 0, 0) + bpf_loop(4, other, 0, 0); }
        "#,
    ));
    let functions: Vec<_> = loads(linked.code("walk"))
        .into_iter()
        .filter(|l| l.0 == 4)
        .collect();
    assert_eq!(functions.len(), 2, "BPF_PSEUDO_FUNC: {functions:?}");
    assert!(functions.iter().all(|l| l.1 > 0), "{functions:?}");
    assert!(holds(&linked, "walk", 1111) && holds(&linked, "walk", 2222));
}

#[test]
fn hidden_functions_are_static_to_the_kernel() {
    let object = with_head(
        r#"
        struct big { int a[8]; };
        __weak __hidden NOINLINE int sum(struct big *b) { asm volatile(""); return b->a[0] + b->a[7]; }
        NOINLINE int shown(int x) { asm volatile(""); return x; }
        SEC("tp/a/b") int run(void *ctx) { struct big b = {{1}}; return sum(&b) + shown(2); }
        "#,
    );
    let linked = Wish::nowhere().linked(&object);
    let btf = common::btf_of(&linked.resolved.elf);
    let btf = btf::Btf::parse(btf).unwrap();
    let linkage = |name: &str| {
        btf.find(btf::Kind::Func, name.as_bytes())
            .unwrap()
            .linkage()
            .unwrap()
    };
    assert_eq!(linkage("sum"), btf::Linkage::Static);
    assert_eq!(linkage("shown"), btf::Linkage::Global);
    assert_eq!(linkage("run"), btf::Linkage::Global);
}

const FIELDS: &str = r#"
struct inner { int deep; } __attribute__((preserve_access_index));
struct task { int tgid; struct inner in; int gone; } __attribute__((preserve_access_index));
static NOINLINE int helper(struct task *t) { return t->in.deep; }
SEC("tp/a/b") int reads(struct task *t) { return t->tgid + helper(t); }
SEC("tp/a/b") int misses(struct task *t) { if (bpf_core_field_exists(t->gone)) return t->gone; return helper(t); }
SEC("tp/a/b") int falls(struct task *t) { return t->gone; }
SEC("tp/a/b") int plain(void *c) { return 0; }
SEC("?tp/a/b") int ids(void *c) { return bpf_core_type_id_kernel(struct task); }
"#;
const FIELDS_KERNEL: &str = r#"
struct inner { long pad; int deep; };
struct task { long pad[4]; struct inner in; int tgid; } the_task;
"#;

#[test]
fn relocations_take_the_kernels_offsets_and_what_is_missing_is_named() {
    let linked = Wish::on(FIELDS_KERNEL).linked(&with_head(FIELDS));
    let offsets = |program: &str| -> Vec<i16> {
        linked
            .code(program)
            .iter()
            .filter(|i| i.code == 0x61)
            .map(|i| i.off)
            .collect()
    };
    let mut found = offsets("reads");
    found.sort_unstable();
    assert_eq!(found, [40, 48], "in.deep and tgid");
    assert!(linked.plan("reads").poisoned.is_empty());
    for program in ["misses", "falls"] {
        let poisoned = &linked.plan(program).poisoned;
        assert_eq!(poisoned.len(), 1, "{program}: {poisoned:?}");
        let place = usize::try_from(poisoned[0].instruction).unwrap();
        let instruction = linked.code(program)[place];
        assert_eq!(
            (instruction.code, instruction.imm),
            (0x85, 0x0bad_2310),
            "{program}"
        );
        assert!(
            poisoned[0]
                .message
                .starts_with("field task.gone does not exist in this kernel; used at"),
            "{poisoned:?}"
        );
        assert_eq!(poisoned[0].function, program);
    }
    assert!(!linked.resolved.holds_addresses, "offsets alone may be kept");
}

#[test]
fn the_place_of_a_poisoned_instruction_counts_the_functions_before_it() {
    let linked = Wish::on(FIELDS_KERNEL).linked(&with_head(
        r#"
        struct task { int tgid; int gone; } __attribute__((preserve_access_index));
        static NOINLINE int second(struct task *t) { asm volatile(""); return t->gone; }
        static NOINLINE int first(struct task *t) { return t->tgid + second(t); }
        SEC("tp/a/b") int run(struct task *t) { return first(t); }
        "#,
    ));
    let poisoned = &linked.plan("run").poisoned;
    let [only] = poisoned.as_slice() else {
        panic!("{poisoned:?}")
    };
    assert_eq!(only.function, "second");
    let instruction = linked.code("run")[usize::try_from(only.instruction).unwrap()];
    assert_eq!((instruction.code, instruction.imm), (0x85, 0x0bad_2310));
}

#[test]
fn relocations_need_types_only_in_functions_that_stay() {
    let object = with_head(FIELDS);
    assert_eq!(
        Wish::nowhere()
            .programs(&["plain"])
            .linked(&object)
            .code("plain")
            .len(),
        2
    );
    let message = Wish::nowhere().programs(&["reads"]).refusal(&object);
    assert!(
        message.starts_with("program reads reads field ")
            && message.contains("there is no BTF of this kernel"),
        "{message}"
    );
    let mut supplied = Wish::nowhere().programs(&["reads"]);
    supplied.supplied = Wish::on(FIELDS_KERNEL).kernel;
    assert_eq!(supplied.linked(&object).resolved.plan.programs.len(), 1);

    let own = Wish::on(FIELDS_KERNEL).programs(&["ids"]);
    let linked = own.linked(&object);
    let id = own
        .kernel
        .as_ref()
        .unwrap()
        .find(btf::Kind::Struct, b"task")
        .unwrap()
        .id();
    assert!(holds(&linked, "ids", id.cast_signed()), "the kernel's id");
    assert!(linked.resolved.holds_addresses && linked.plan("ids").needs_kernel_btf.is_some());
    supplied.programs = own.programs.clone();
    assert!(matches!(
        supplied.resolve(&object),
        Err(ResolveError::NeedsKernelBtf { supplied: true, .. })
    ));
}

#[test]
fn types_cut_down_for_the_object_give_the_same_as_all_of_the_kernels() {
    let object = with_head(FIELDS);
    let own = btf::Btf::parse(common::btf_of(&object)).unwrap();
    let ext = common::section_of(&object, ".BTF.ext");
    let relocations: Vec<_> = btf::BtfExt::parse(&ext)
        .unwrap()
        .relocations()
        .unwrap()
        .map(|r| r.unwrap().1)
        .collect();
    let whole = Wish::on(FIELDS_KERNEL);
    let source = btf::Source {
        btf: &own,
        relocations: &relocations,
    };
    let targets = btf::co_re::Targets::kernel(whole.kernel.as_ref().unwrap());
    let small = btf::minimize(&[source], targets).unwrap();
    let mut cut = Wish::nowhere();
    cut.supplied = Some(btf::Btf::parse(small.bytes).unwrap());
    let (cut, whole) = (cut.resolve(&object).unwrap(), whole.resolve(&object).unwrap());
    assert!(cut == whole, "the same file and the same plan");
}

#[test]
fn functions_and_lines_keep_their_types_and_sources() {
    let linked = Wish::nowhere().linked(&with_head(SHARED));
    let again = inspect(&linked.resolved.elf).unwrap();
    assert_eq!(again.programs.len(), 3);
    assert!(again.co_re.is_empty());
    for (program, functions) in [("first", 4), ("second", 2), ("third", 3)] {
        let function = &linked.object.functions[&linked.object.programs[program].function_key()];
        assert_eq!(function.func_info.func_info.len(), functions, "{program}");
        assert!(function.line_info.line_info.len() >= functions, "{program}");
        let mut last = None;
        for line in &function.line_info.line_info {
            assert!(last < Some(line.insn_off), "{program}: lines ascend");
            last = Some(line.insn_off);
        }
    }
}

#[test]
fn the_licence_is_what_the_object_says_and_none_is_none() {
    let linked = Wish::nowhere().linked(&with_head(SHARED));
    assert_eq!(linked.object.license.to_str(), Ok("GPL"));
    let bare = compile_with(
        r#"__attribute__((section("xdp"), used)) int p(void *c) { return 2; }"#,
        &["-target", "bpf"],
    );
    let linked = Wish::nowhere().linked(&bare);
    assert_eq!(
        linked.object.license.to_str(),
        Ok("none"),
        "not GPL, as aya would take it for"
    );
    assert_eq!(linked.resolved.plan.license, "");
}

#[test]
fn objects_of_the_other_byte_order_are_resolved_too() {
    let big = compile_with(&format!("{HEAD}{SHARED}"), &["-target", "bpfeb", "-g"]);
    let resolved = Wish::nowhere().resolve(&big).unwrap();
    let info = bpf_object::inspect_for(&resolved.elf, btf::Endian::Big).unwrap();
    assert_eq!(info.programs.len(), 3);
    let names: Vec<_> = info
        .programs_reaching("one")
        .iter()
        .map(|p| p.name.clone())
        .collect();
    assert_eq!(names.len(), 3);
}

#[test]
fn more_functions_than_the_kernel_takes_are_refused() {
    let mut source = String::from(HEAD);
    for i in 0..300 {
        source.push_str(&format!(
            "static NOINLINE int f{i}(int x) {{ asm volatile(\"r0 = {i}\"); return x; }}\n"
        ));
    }
    source.push_str("SEC(\"xdp\") int all(int *c) { int r = 0;");
    for i in 0..300 {
        source.push_str(&format!(" r = f{i}(r);"));
    }
    source.push_str(" return r; }\n");
    let message = Wish::nowhere().refusal(&compile(&source));
    assert!(
        message.contains("program all: it has 257 functions, at most 256"),
        "{message}"
    );
}

#[test]
fn an_exception_callback_is_refused_where_its_program_is_chosen() {
    let object = with_head(
        r#"
        extern void bpf_throw(__u64 cookie) __ksym __weak;
        NOINLINE int handler(__u64 cookie) { return 77; }
        SEC("tc") __attribute__((btf_decl_tag("exception_callback:handler")))
        int throws(struct __sk_buff *c) { bpf_throw(3); return 0; }
        SEC("tc") int plain(void *c) { return 0; }
        "#,
    );
    let message = Wish::nowhere().refusal(&object);
    assert!(
        message.contains("throws: the exception callback handler is not supported"),
        "{message}"
    );
    assert!(Wish::nowhere().programs(&["plain"]).resolve(&object).is_ok());
}
