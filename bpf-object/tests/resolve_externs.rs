//! Kernel configuration, symbols and functions, as the object's instructions get them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/resolving.rs"]
mod resolving;

use std::sync::Arc;

use bpf_object::kconfig::KconfigData;
use bpf_object::{KernelBtfUse, Loader, OwnReason, ResolveError};
use btf::co_re::Module;
use btf::{Btf, Builder, Definition, Kind, Linkage};
use common::compile;
use resolving::{Wish, calls, kconfig, loads};

const HEAD: &str = r#"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "GPL";
"#;

fn with_head(source: &str) -> Vec<u8> {
    compile(&format!("{HEAD}{source}"))
}

const KCONFIG: &str = r#"
extern int LINUX_KERNEL_VERSION __kconfig;
extern unsigned long CONFIG_HZ __kconfig;
extern _Bool CONFIG_OPTIONAL __kconfig __weak;
extern int CONFIG_MISSING __kconfig;
extern char CONFIG_NAME[8] __kconfig __weak;
SEC("tp/a/b") int version(void *c) { return LINUX_KERNEL_VERSION + CONFIG_HZ + CONFIG_OPTIONAL + CONFIG_NAME[3]; }
SEC("tp/a/b") int strict(void *c) { return CONFIG_MISSING; }
"#;

fn values() -> KconfigData {
    let mut bytes = 250u64.to_ne_bytes().to_vec();
    bytes.extend(0x0006_0c00u32.to_ne_bytes());
    kconfig(bytes, &[("LINUX_KERNEL_VERSION", 8, 4), ("CONFIG_HZ", 0, 8)])
}

#[test]
fn configuration_becomes_read_only_data() {
    let object = with_head(KCONFIG);
    let mut wish = Wish::nowhere().programs(&["version"]);
    wish.kconfig = Some(values());
    let linked = wish.linked(&object);
    let fd = linked.fd(".rodata.kconfig");
    let found = loads(linked.code("version"));
    assert!(
        found.iter().all(|(meaning, map, _)| (*meaning, *map) == (2, fd)),
        "{found:?}"
    );
    let offsets: Vec<i32> = found.iter().map(|l| l.2).collect();
    assert!(offsets.contains(&0) && offsets.contains(&8), "{offsets:?}");
    let map = &linked.object.maps[".rodata.kconfig"];
    assert!(
        offsets
            .iter()
            .all(|o| usize::try_from(*o).unwrap() < map.data().len())
    );
    assert_eq!(map.data()[..12], values().bytes, "as given");
    assert!(
        map.data()[12..].iter().all(|b| *b == 0),
        "weak ones without a value are zero"
    );
    assert!(map.map_flags() & 0x80 != 0, "BPF_F_RDONLY_PROG");
    let btf = Btf::parse(common::btf_of(&linked.resolved.elf)).unwrap();
    let section = btf.find(Kind::Datasec, b".rodata.kconfig").unwrap();
    assert_eq!(section.own_size(), Some(u32::try_from(map.data().len()).unwrap()));
    for variable in section.variables() {
        let t = btf.get(variable.type_id).unwrap();
        assert_eq!(t.linkage(), Some(Linkage::Global), "{}", t.name());
        assert_eq!(Some(variable.size), btf.size(variable.type_id), "{}", t.name());
    }
    assert!(!linked.resolved.holds_addresses);
}

#[test]
fn configuration_that_is_missing_is_named_where_a_program_needs_it() {
    let object = with_head(KCONFIG);
    let mut wish = Wish::nowhere();
    wish.kconfig = Some(values());
    let message = wish.refusal(&object);
    assert!(
        message.starts_with("program strict needs CONFIG_MISSING of the kernel's configuration"),
        "{message}"
    );
    wish.kconfig = None;
    let message = wish.programs(&["version"]).refusal(&object);
    assert!(
        message.contains("LINUX_KERNEL_VERSION") && message.contains("CONFIG_HZ"),
        "{message}"
    );
}

#[test]
fn a_program_is_not_blamed_for_configuration_that_only_another_needs() {
    let object = with_head(
        r#"
        extern int CONFIG_ONE __kconfig;
        extern int CONFIG_TWO __kconfig;
        extern int CONFIG_THREE __kconfig;
        static __attribute__((noinline)) int sub(int x) { return x + CONFIG_TWO; }
        SEC("tp/a/b") int first(void *c) { return sub(CONFIG_ONE); }
        SEC("tp/a/b") int second(void *c) { return CONFIG_THREE; }
        "#,
    );
    for (program, names) in [("first", "CONFIG_ONE, CONFIG_TWO"), ("second", "CONFIG_THREE")] {
        let message = Wish::nowhere().programs(&[program]).refusal(&object);
        let expected = format!("program {program} needs {names} of the kernel's configuration");
        assert!(message.starts_with(&expected), "{message}");
    }
    let message = Wish::nowhere().refusal(&object);
    assert!(!message.contains("CONFIG_THREE"), "{message}");
}

const KSYMS: &str = r#"
extern const void bpf_link_fops __ksym;
extern const void maybe __ksym __weak;
SEC("tp/a/b") int addresses(void *c) { return (long)&bpf_link_fops == 5 || &maybe; }
"#;

#[test]
fn symbols_without_a_type_become_addresses() {
    let object = with_head(KSYMS);
    let mut wish = Wish::nowhere();
    let message = wish.refusal(&object);
    assert!(
        message.contains("symbol bpf_link_fops, which this kernel does not have in /proc/kallsyms"),
        "{message}"
    );
    wish.ksyms.insert("bpf_link_fops".into(), 0);
    let message = wish.refusal(&object);
    assert!(
        message.contains("addresses are hidden") && message.contains("CAP_SYSLOG"),
        "{message}"
    );
    wish.ksyms.insert("bpf_link_fops".into(), 0xffff_ffff_8123_4560);
    let linked = wish.linked(&object);
    let found = loads(linked.code("addresses"));
    assert!(
        found.contains(&(0, 0x8123_4560u32.cast_signed(), -1)),
        "{found:?}"
    );
    assert!(found.contains(&(0, 0, 0)), "the weak one is 0: {found:?}");
    assert!(linked.resolved.holds_addresses);
}

const TYPED: &str = r#"
struct rq { int cpu; };
extern struct rq runqueues __ksym;
extern const int gone __ksym __weak;
extern int kfunc_plain(int x) __ksym;
extern int kfunc_module(long x, int y) __ksym;
extern int kfunc_gone(int x) __ksym __weak;
extern int kfunc_two___old(int x) __ksym __weak;
extern int kfunc_two___new(int x, int y) __ksym __weak;
SEC("tp/a/b") int variable(void *c) { return (long)&runqueues == 5 || &gone; }
SEC("tp/a/b") int plain(void *c) { return kfunc_plain(1); }
SEC("tp/a/b") int guarded(void *c) { return kfunc_gone ? kfunc_gone(1) : 7; }
SEC("tp/a/b") int flavours(void *c) { return kfunc_two___new ? kfunc_two___new(1, 2) : kfunc_two___old ? kfunc_two___old(3) : 0; }
SEC("tp/a/b") int module(void *c) { return kfunc_module(1, 2); }
"#;
const TYPED_KERNEL: &str = r#"
struct rq { long more; int cpu; } runqueues;
int kfunc_plain(int x) { return x; }
int kfunc_two(int x, int y) { return x; }
"#;

/// A kernel, and a module with one function on top of it.
fn kernel_with_module() -> Wish {
    let mut wish = Wish::on(TYPED_KERNEL);
    let base = Arc::new(Btf::parse(common::btf_of(&compile(TYPED_KERNEL))).unwrap());
    let int = base.find(Kind::Int, b"int").unwrap().id();
    // Strings of a module begin where the kernel's end, and so do its types.
    let mut builder = Builder::new(base.endian());
    let parameter = |name: &str| btf::ParameterDef {
        name: name.into(),
        type_id: int,
    };
    builder.add(&Definition::FuncProto {
        returns: int,
        parameters: vec![parameter("x"), parameter("y")],
    });
    builder.add(&Definition::Func {
        name: b"kfunc_module".to_vec(),
        linkage: Linkage::Static,
        prototype: base.len(),
    });
    let mut bytes = builder.finish();
    let shift = u32::try_from(base.strings().len()).unwrap();
    // Names of the two types and of both parameters.
    for at in [24, 36, 44, 52] {
        let raw: [u8; 4] = bytes[at..at + 4].try_into().unwrap();
        let name = u32::from_ne_bytes(raw);
        let moved = if name == 0 { 0 } else { name + shift };
        bytes[at..at + 4].copy_from_slice(&moved.to_ne_bytes());
    }
    wish.modules.push(Module {
        name: "zram".into(),
        btf: Btf::parse_split(bytes, base).unwrap(),
    });
    wish
}

#[test]
fn typed_symbols_and_functions_become_ids_of_the_kernel() {
    let object = with_head(TYPED);
    let wish = kernel_with_module();
    let linked = wish.linked(&object);
    let kernel = wish.kernel.as_ref().unwrap();
    let id = |kind, name: &[u8]| kernel.find(kind, name).unwrap().id().cast_signed();

    let found = loads(linked.code("variable"));
    assert!(found.contains(&(3, id(Kind::Var, b"runqueues"), 0)), "{found:?}");
    assert!(found.contains(&(0, 0, 0)), "the weak one is 0: {found:?}");
    assert_eq!(
        calls(linked.code("plain")),
        [(2, 0, id(Kind::Func, b"kfunc_plain"))]
    );
    assert_eq!(
        linked.plan("plain").needs_kernel_btf,
        Some(KernelBtfUse::Kfunc("kfunc_plain".into()))
    );
    assert_eq!(linked.plan("plain").loader, Loader::Aya);
    assert!(linked.resolved.holds_addresses);

    let guarded = linked.plan("guarded");
    assert_eq!(
        loads(linked.code("guarded"))[0],
        (0, 0, 0),
        "its address is 0, so it is not called"
    );
    let [poisoned] = guarded.poisoned.as_slice() else {
        panic!("{guarded:?}")
    };
    assert!(
        poisoned
            .message
            .contains("kernel function kfunc_gone does not exist"),
        "{poisoned:?}"
    );
    assert_eq!(calls(linked.code("guarded"))[0].0, 0);

    // Of two flavours the one whose prototype is the kernel's.
    let two = id(Kind::Func, b"kfunc_two");
    let found = loads(linked.code("flavours"));
    assert!(
        found.contains(&(3, two, 0)) && found.contains(&(0, 0, 0)),
        "{found:?}"
    );
    assert_eq!(
        calls(linked.code("flavours"))
            .iter()
            .filter(|c| c.2 == two)
            .count(),
        1
    );

    let module = linked.plan("module");
    assert_eq!(
        calls(linked.code("module")),
        [(2, 1, i32::try_from(kernel.len()).unwrap() + 1)]
    );
    assert_eq!(
        (module.loader, module.modules.as_slice()),
        (Loader::Own(OwnReason::ModuleBtf), &[1][..])
    );
    assert_eq!(linked.resolved.plan.modules, ["zram"]);

    let btf = Btf::parse(common::btf_of(&linked.resolved.elf)).unwrap();
    let section = btf.find(Kind::Datasec, b".ksyms").unwrap();
    assert_eq!(section.own_size(), Some(section.count() * 4));
    for variable in section.variables() {
        let t = btf.get(variable.type_id).unwrap();
        assert_eq!(
            (t.kind(), t.linkage()),
            (Kind::Var, Some(Linkage::Global)),
            "{}",
            t.name()
        );
        assert_eq!(btf.size(variable.type_id), Some(4), "{}", t.name());
    }
    for function in btf.types().filter(|t| t.kind() == Kind::Func) {
        assert_ne!(function.linkage(), Some(Linkage::Extern), "{}", function.name());
    }
}

#[test]
fn what_the_kernel_lacks_is_refused_with_its_name_and_only_where_it_is_used() {
    let object = with_head(TYPED);
    let wish = Wish::on(TYPED_KERNEL);
    let message = wish.refusal(&object);
    assert!(
        message.contains("program module needs the kernel's function kfunc_module"),
        "{message}"
    );
    assert_eq!(
        wish.programs(&["plain"])
            .linked(&object)
            .resolved
            .plan
            .programs
            .len(),
        1
    );
    let other = Wish::on("int kfunc_plain(int x, int y) { return x; }").programs(&["plain"]);
    let message = other.refusal(&object);
    assert!(
        message.contains("of the type that the object declares"),
        "{message}"
    );
    let none = Wish::nowhere().programs(&["plain"]);
    assert!(matches!(
        none.resolve(&object),
        Err(ResolveError::NeedsKernelBtf {
            used: KernelBtfUse::Kfunc(_),
            ..
        })
    ));
    let guarded = Wish::nowhere().programs(&["guarded"]);
    assert_eq!(
        guarded.linked(&object).plan("guarded").poisoned.len(),
        1,
        "weak ones do without"
    );
}

#[test]
fn without_btf_an_extern_of_the_kernel_is_refused_with_what_the_compiler_left_out() {
    let source = format!(
        r#"{HEAD}
        extern void bpf_rcu_read_lock(void) __ksym;
        SEC("tp/a/b") int locks(void *c) {{ bpf_rcu_read_lock(); return 0; }}
        "#
    );
    let object = common::compile_with(&source, &["-target", "bpf"]);
    let message = Wish::nowhere().refusal(&object);
    assert!(
        message.contains("program locks uses bpf_rcu_read_lock") && message.contains("with -g"),
        "{message}"
    );
    assert!(!message.contains("__ksym"), "it is declared so: {message}");
}

#[test]
fn a_symbol_that_nothing_defines_is_refused() {
    let object = compile(
        r#"
        extern int nowhere(void);
        __attribute__((section("xdp"), used)) int uses(void *ctx) { return nowhere(); }
        __attribute__((section("xdp"), used)) int fine(void *ctx) { return 2; }
        "#,
    );
    let message = Wish::nowhere().refusal(&object);
    assert!(
        message.contains("program uses uses nowhere, which nothing defines"),
        "{message}"
    );
    assert_eq!(
        Wish::nowhere()
            .programs(&["fine"])
            .linked(&object)
            .code("fine")
            .len(),
        2
    );
}

/// Constants without a name: the compiler gives them a section without a variable, which kernels before 5.12 refuse.
#[test]
fn no_section_without_a_variable_reaches_the_kernel() {
    let object = with_head(
        r#"
struct place { __u32 a, b, c; };
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, struct place);
	__type(value, __u64);
} places SEC(".maps");
static __attribute__((noinline)) int find(struct place *at) { return bpf_map_lookup_elem(&places, at) != 0; }
SEC("tp/a/b") int one(void *c) { struct place at = {.a = 7, .c = 2}; return find(&at); }
"#,
    );
    let empty = |elf: &[u8]| {
        let btf = Btf::parse(common::btf_of(elf)).unwrap();
        let sections = btf.types().filter(|t| t.kind() == Kind::Datasec);
        sections.filter(|t| t.count() == 0).count()
    };
    assert_eq!(empty(&object), 1, "the compiler writes one");
    let linked = Wish::nowhere().linked(&object);
    assert_eq!(empty(&linked.resolved.elf), 0);
    let length = |elf: &[u8]| Btf::parse(common::btf_of(elf)).unwrap().len();
    assert_eq!(length(&linked.resolved.elf), length(&object), "ids stay");
}
