//! What `inspect` finds in real objects.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use bpf_object::{
    CoreKind, Endian, ExternKind, InspectError, MapSource, Pinning, ProgramKind, inspect, inspect_for,
};
use common::{RICH, compile, compile_with};

const MINIMAL: &str = r#"__attribute__((section("xdp"), used)) int pass(void *ctx) { return 2; }"#;

#[test]
fn programs_are_the_functions_of_program_sections() {
    let info = inspect(&compile(RICH)).unwrap();
    let names: Vec<_> = info
        .programs
        .iter()
        .map(|p| (p.name.as_str(), p.section.as_str()))
        .collect();
    assert_eq!(
        names,
        [
            ("on_switch", "tp/sched/sched_switch"),
            ("on_switch_again", "tp/sched/sched_switch"),
            ("optional", "?raw_tp/sys_enter"),
        ]
    );
    let [first, second, third] = info.programs.as_slice() else {
        panic!("three programs")
    };
    assert_eq!(first.kind, ProgramKind::Tracepoint);
    assert_eq!(
        (first.offset, second.offset),
        (0, first.instructions * 8),
        "one after the other"
    );
    assert_eq!((third.autoload, third.instructions), (false, 2));
    assert_eq!(info.license.as_deref(), Some("Dual BSD/GPL"));
    assert!(info.has_btf && info.needs_target_btf());
}

#[test]
fn maps_are_read_from_btf_and_from_data_sections() {
    let info = inspect(&compile(RICH)).unwrap();
    let map = |name: &str| info.map(name).unwrap_or_else(|| panic!("no map {name}"));
    let hists = map("hists");
    assert_eq!(hists.type_name(), "hash");
    assert_eq!(
        (hists.key_size, hists.value_size, hists.max_entries, hists.flags),
        (16, 24, 1024, 1)
    );
    assert_eq!((hists.pinning, hists.source), (Pinning::ByName, MapSource::Btf));
    assert_eq!(
        (map("events").type_name().as_str(), map("events").max_entries),
        ("ringbuf", 4096)
    );
    assert_eq!(
        (map("jumps").type_name().as_str(), map("jumps").value_size),
        ("prog_array", 4)
    );
    for (name, size, read_only) in [(".rodata", 4, true), (".bss", 8, false), (".data", 4, false)] {
        let data = map(name);
        assert_eq!(
            (data.key_size, data.value_size, data.max_entries),
            (4, size, 1),
            "{name}"
        );
        assert_eq!(data.source, MapSource::Data { read_only }, "{name}");
    }
    assert_eq!(info.maps.len(), 6);
}

#[test]
fn maps_name_their_key_and_value_types() {
    let info = inspect(&compile(RICH)).unwrap();
    let hists = info.map("hists").unwrap();
    assert_eq!(
        (hists.key_type.as_deref(), hists.value_type.as_deref()),
        (Some("struct key"), Some("__u64[3]"))
    );
    assert_eq!(info.map("events").unwrap().key_type, None);
}

#[test]
fn subprograms_know_the_programs_that_reach_them() {
    let info = inspect(&compile(
        r#"
        #define NOINLINE __attribute__((noinline))
        #define PROGRAM __attribute__((section("xdp"), used))
        static NOINLINE int deep(int x) { asm volatile(""); return x + 1; }
        NOINLINE int shared(int x) { return deep(x) * 2; }
        static NOINLINE long callback(void *a) { asm volatile(""); return (long)a; }
        NOINLINE __attribute__((visibility("hidden"))) int lonely(int x) { return x; }
        static long (*bpf_loop)(int n, void *f, void *c, long flags) = (void *)181;
        PROGRAM int first(int *c) { return shared(*c); }
        PROGRAM int second(int *c) { return deep(*c) + bpf_loop(3, callback, 0, 0); }
        "#,
    ))
    .unwrap();
    let reaching = |name: &str| -> Vec<&str> {
        info.programs_reaching(name)
            .iter()
            .map(|p| p.name.as_str())
            .collect()
    };
    assert_eq!(reaching("deep"), ["first", "second"]);
    assert_eq!(reaching("shared"), ["first"]);
    assert_eq!(reaching("callback"), ["second"]);
    assert_eq!(reaching("lonely"), [""; 0]);
    let mut local: Vec<_> = info
        .subprograms
        .iter()
        .map(|s| (s.name.as_str(), s.local))
        .collect();
    local.sort_unstable();
    assert_eq!(
        local,
        [
            ("callback", true),
            ("deep", true),
            ("lonely", true),
            ("shared", false)
        ]
    );
}

#[test]
fn legacy_maps_are_read() {
    let info = inspect(&compile(
        r#"
        struct bpf_map_def { unsigned type, key_size, value_size, max_entries, map_flags; };
        __attribute__((section("maps"), used)) struct bpf_map_def old = { 1, 4, 8, 64, 1 };
        __attribute__((section("xdp"), used)) int pass(void *ctx) { return 2; }
        "#,
    ))
    .unwrap();
    let old = info.map("old").unwrap();
    assert_eq!(
        (old.type_name().as_str(), old.key_size, old.value_size),
        ("hash", 4, 8)
    );
    assert_eq!(
        (old.max_entries, old.flags, old.source),
        (64, 1, MapSource::Legacy)
    );
}

#[test]
fn co_re_relocations_are_spelled_with_names() {
    let info = inspect(&compile(RICH)).unwrap();
    let has = |kind, path: &str, function: &str| {
        assert!(
            info.co_re.iter().any(|r| {
                r.kind == kind && r.field_path == path && r.program.as_deref() == Some(function)
            }),
            "{kind:?} {path} in {function}; there are: {:#?}",
            info.co_re
                .iter()
                .map(bpf_object::CoreRelocation::describe)
                .collect::<Vec<_>>()
        );
    };
    has(CoreKind::FieldByteOffset, "task_struct.tgid", "on_switch");
    has(CoreKind::FieldByteOffset, "task_struct.signal", "helper");
    has(CoreKind::FieldByteOffset, "signal_struct.nr_threads", "helper");
    has(CoreKind::FieldByteOffset, "task_struct.inner", "on_switch_again");
    has(
        CoreKind::FieldByteOffset,
        "task_struct.comm[3]",
        "on_switch_again",
    );
    has(
        CoreKind::FieldExists,
        "task_struct___v46.old_name",
        "on_switch_again",
    );
    has(CoreKind::TypeExists, "signal_struct", "on_switch_again");
    has(CoreKind::TypeSize, "signal_struct", "on_switch_again");
    has(CoreKind::EnumvalValue, "colour.GREEN", "on_switch_again");
}

#[test]
fn a_poisoned_instruction_is_traced_to_field_and_source_line() {
    let info = inspect(&compile(RICH)).unwrap();
    let second = info.program("on_switch_again").unwrap();
    let wanted = info
        .co_re
        .iter()
        .find(|r| r.field_path == "task_struct___v46.old_name" && r.kind == CoreKind::FieldByteOffset)
        .unwrap();
    let instruction = (wanted.instruction_offset - second.offset) / 8;
    let found = info.relocation_at("on_switch_again", instruction).unwrap();
    assert_eq!(found, wanted);
    let message = found.describe_missing();
    assert!(
        message.starts_with("field task_struct___v46.old_name does not exist in this kernel"),
        "{message}"
    );
    // Which of the lines that use the field: the compiler's choice.
    let (_, used) = message.split_once("; used at test.bpf.c:").unwrap();
    assert!(
        used.contains("old->old_name") || used.contains("BPF_CORE_READ(old, old_name)"),
        "{message}"
    );
    assert!(
        found
            .describe()
            .contains("(byte offset) in `on_switch_again` at test.bpf.c:"),
        "{}",
        found.describe()
    );

    let line = found.source_line.clone().unwrap().text;
    assert!(
        info.relocations_at_line(&format!("  {line} "))
            .any(|r| r == wanted)
    );
    assert_eq!(
        info.relocation_at("on_switch_again", second.instructions),
        None,
        "beyond its end"
    );
    assert_eq!(info.relocation_at("no such program", 0), None);
}

#[test]
fn externs_are_told_apart() {
    let info = inspect(&compile(RICH)).unwrap();
    let found: Vec<_> = info
        .externs
        .iter()
        .map(|e| (e.name.as_str(), e.kind, e.weak))
        .collect();
    assert_eq!(
        found,
        [
            ("CONFIG_HZ", ExternKind::Kconfig, true),
            ("bpf_rcu_read_lock", ExternKind::Kfunc, false),
            ("init_task", ExternKind::Ksym, false),
        ]
    );
    let missing = r#"
        extern int nowhere(void);
        __attribute__((section("xdp"), used)) int pass(void *ctx) { return nowhere(); }
    "#;
    let info = inspect(&compile(missing)).unwrap();
    assert_eq!(info.externs.first().map(|e| e.kind), Some(ExternKind::Undefined));
}

#[test]
fn an_object_without_debug_information_has_its_programs() {
    let info = inspect(&compile_with(MINIMAL, &["-target", "bpf"])).unwrap();
    assert_eq!(
        (info.programs.len(), info.has_btf, info.license),
        (1, false, None)
    );
}

#[test]
fn an_object_at_an_odd_address_reads_the_same() {
    let object = compile(RICH);
    let mut shifted = vec![0u8];
    shifted.extend_from_slice(&object);
    assert_eq!(inspect(&shifted[1..]), inspect(&object));
}

#[test]
fn what_is_no_program_is_refused_with_a_way_out() {
    let text_only = compile("int lonely(void *ctx) { return 0; }");
    let static_program =
        compile(r#"__attribute__((section("xdp"), used)) static int pass(void *c) { return 2; }"#);
    let host = compile_with("int f(void) { return 0; }", &[]);
    let host_32 = compile_with("int f(void) { return 0; }", &["-target", "i386-linux-gnu"]);
    let big = compile_with(MINIMAL, &["-target", "bpfeb", "-g"]);
    let no_btf_maps = compile_with(
        r#"__attribute__((section(".maps"), used)) int m; __attribute__((section("xdp"), used)) int p(void *c) { return m; }"#,
        &["-target", "bpf"],
    );
    let cases: [(&str, &[u8], &str); 11] = [
        ("empty", b"", "not an ELF object but an empty file"),
        (
            "C source",
            b"#include <linux/bpf.h>\nint x;",
            r##"but text that begins with "#include <linux/bpf.h>""##,
        ),
        ("base64", b"f0VMRgIBAQAAAAAAAAAA", "takes it in binaryData"),
        ("gzip", b"\x1f\x8b\x08\x00", "a gzip archive"),
        (
            "bytes",
            b"\x00\x01\x02\x03\x04",
            "data that begins with 00 01 02 03",
        ),
        ("text only", &text_only, "only subprograms go: lonely"),
        ("static", &static_program, "is static; drop `static`"),
        (
            "host",
            &host,
            "not for eBPF; compile it with `clang -O2 -g -target bpf`",
        ),
        ("32 bit", &host_32, "a 32-bit processor"),
        (
            "big-endian",
            &big,
            "is big-endian, the node is little-endian; compile it with `-target bpfel`",
        ),
        ("maps without BTF", &no_btf_maps, "compile it with -g"),
    ];
    for (name, bytes, message) in cases {
        let error = inspect_for(bytes, Endian::Little).unwrap_err();
        assert!(error.to_string().contains(message), "{name}: {error}");
    }
    assert_eq!(inspect_for(&big, Endian::Big).unwrap().programs.len(), 1);
}

#[test]
fn an_object_that_would_allocate_much_is_refused() {
    let mut object = compile(
        "int big[4] __attribute__((used)); __attribute__((section(\"xdp\"), used)) int p(void *c) { return 2; }",
    );
    let headers = usize::try_from(u64::from_ne_bytes(object[40..48].try_into().unwrap())).unwrap();
    let bss = (0..usize::from(object[60]))
        .map(|i| headers + i * 64)
        .find(|h| object[h + 4..h + 8] == 8u32.to_ne_bytes())
        .unwrap();
    object[bss + 32..bss + 40].copy_from_slice(&(1u64 << 60).to_ne_bytes());
    let error = inspect(&object).unwrap_err();
    assert!(matches!(error, InspectError::TooLarge { .. }), "{error}");
    let huge = vec![0u8; bpf_object::MAX_OBJECT_SIZE + 1];
    assert!(matches!(inspect(&huge), Err(InspectError::TooLarge { .. })));
}

#[test]
fn a_map_with_a_member_that_no_map_has_is_refused_as_libbpf_does() {
    let object = compile(
        r#"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entires, 16);
    __type(key, int);
    __type(value, int);
} counts SEC(".maps");
SEC("xdp") int run(void *ctx) { int k = 0; return bpf_map_lookup_elem(&counts, &k) ? 1 : 2; }
"#,
    );
    let message = inspect(&object).unwrap_err().to_string();
    assert!(
        message.contains(
            "map \"counts\": member \"max_entires\" is none that a map has; write one of type, max_entries, "
        ),
        "{message}"
    );
}
