//! libbpf's wrappers, with objects compiled here and the running kernel. Needs clang, libbpf's headers,
//! bpftool and root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use bpf_oracle::clang;
use bpf_oracle::libbpf::{
    self, Btf, Insn, Prepared, Tried, attach_each, bpftool_min, calc, candidates, load_each, logged, patch,
    prepare, read_elf, weaken,
};
use object::{Object, ObjectSection};

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
const KIND_STRUCT: u32 = 4;
const LD_IMM64: u8 = 0x18;
const FIELD_BYTE_OFFSET: u32 = 0;
const FIELD_EXISTS: u32 = 2;
const ENUMVAL_VALUE: u32 = 11;
/// The helper that libbpf makes instructions call which it could not relocate.
const INVALID_HELPER: u64 = 195_896_080;

/// Fields at offsets other than these, one that exists and one that does not, and an enum's value: in two
/// programs of one section, and in a function that both call.
const SOURCE: &str = r#"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

struct task_struct { int tgid; int on_fire; } __attribute__((preserve_access_index));
struct task_struct___other { int pid; } __attribute__((preserve_access_index));
enum pid_type { PIDTYPE_TGID = 77, PIDTYPE_NONE };
char LICENSE[] SEC("license") = "GPL";

static __attribute__((noinline)) int helper(struct task_struct___other *task)
{
    return __builtin_preserve_field_info(task->pid, BPF_FIELD_BYTE_OFFSET);
}

SEC("raw_tp/sys_enter")
int first(void *ctx)
{
    struct task_struct *task = 0;
    int sum = __builtin_preserve_field_info(task->tgid, BPF_FIELD_BYTE_OFFSET);
    sum += bpf_core_field_exists(task->tgid);
    sum += bpf_core_field_exists(task->on_fire);
    sum += bpf_core_enum_value(enum pid_type, PIDTYPE_TGID);
    return sum + helper((void *)task);
}

SEC("raw_tp/sys_enter")
int second(void *ctx)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    bpf_printk("second");
    return helper((void *)task) + __builtin_preserve_field_info(task->on_fire, BPF_FIELD_BYTE_OFFSET);
}
"#;

/// An object of that target.
fn compile(source: &str, target: &str) -> Vec<u8> {
    clang::compile(source, &["-target", target, "-g"]).unwrap()
}

/// The code of a section before relocation, from that offset.
fn code(object: &[u8], section: &str, offset: u32) -> Vec<Insn> {
    let file = object::File::parse(object).unwrap();
    let data = file.section_by_name(section).unwrap().data().unwrap().to_vec();
    let (insns, _) = data[offset as usize..].as_chunks::<8>();
    insns.to_vec()
}

/// The same as libbpf relocated it, in any one program.
fn relocated<'a>(programs: &'a [Prepared], section: &str, offset: u32) -> &'a [Insn] {
    let offset = u64::from(offset);
    for program in programs {
        let past = offset.wrapping_sub(program.section_offset) / 8;
        if program.section == section && past < program.own as u64 {
            return &program.insns[past as usize..program.own];
        }
        for function in program.subprograms.iter().filter(|_| section == ".text") {
            if offset >= function.section_offset {
                let past = (offset - function.section_offset) / 8;
                return &program.insns[function.start + past as usize..];
            }
        }
    }
    panic!("no instruction at {section}+{offset}");
}

/// What an instruction is set to.
fn value(insns: &[Insn]) -> u64 {
    let imm = |insn: &Insn| u32::from_ne_bytes(insn[4..].try_into().unwrap());
    let high = if insns[0][0] == LD_IMM64 {
        imm(&insns[1])
    } else {
        0
    };
    u64::from(high) << 32 | u64::from(imm(&insns[0]))
}

#[test]
fn programs_have_their_functions_behind_them() {
    let programs = prepare(&compile(SOURCE, "bpf"), None).unwrap();
    assert_eq!(
        programs.iter().map(|p| &*p.name).collect::<Vec<_>>(),
        ["first", "second"]
    );
    assert_eq!(programs[0].section_offset, 0);
    assert_eq!(programs[1].section_offset, programs[0].own as u64 * 8);
    for program in &programs {
        assert_eq!(program.section, "raw_tp/sys_enter");
        assert_eq!(program.subprograms.len(), 1, "{program:?}");
        let function = program.subprograms[0];
        assert_eq!((function.start, function.section_offset), (program.own, 0));
        assert!(program.insns.len() > program.own);
    }
}

#[test]
fn each_step_comes_to_what_prepare_does() {
    let object = compile(SOURCE, "bpf");
    let elf = read_elf(&object).unwrap();
    let vmlinux = Btf::new(&std::fs::read(VMLINUX).unwrap()).unwrap();
    let programs = prepare(&object, None).unwrap();
    let task = vmlinux.find("task_struct", KIND_STRUCT).unwrap();
    let mut seen = Vec::new();
    for (index, (section, relo)) in elf.relos.iter().enumerate() {
        let mut cands = candidates(&elf.btf, relo.type_id, &vmlinux, &[]).unwrap();
        let outcome = calc("p", &elf.btf, relo, index, &mut cands).unwrap();
        seen.push((relo.kind, outcome.poison, outcome.target.is_some()));

        let before = code(&object, section, relo.insn_off);
        let slots = if before[0][0] == LD_IMM64 { 2 } else { 1 };
        let patched = patch(&before[..slots], 0, relo, index, &outcome).unwrap();
        assert_eq!(patched, relocated(&programs, section, relo.insn_off)[..slots]);
        let written = if outcome.poison {
            INVALID_HELPER
        } else {
            outcome.new_val
        };
        assert_eq!(value(&patched), written);

        let Some(target) = &outcome.target else { continue };
        assert_eq!(target.origin, 0);
        match relo.kind {
            FIELD_BYTE_OFFSET => {
                assert_eq!(target.spec.root_type_id, task);
                assert_eq!(u64::from(target.spec.bit_offset), outcome.new_val * 8);
                assert!(outcome.new_val > 100, "not where this object has it: {outcome:?}");
                let field = target.spec.accessors[1].name.as_deref();
                assert_eq!(field, outcome.local.accessors[1].name.as_deref());
            }
            ENUMVAL_VALUE => assert_eq!((outcome.orig_val, outcome.new_val), (77, 1)),
            _ => assert_eq!(outcome.new_val, 1),
        }
    }
    seen.sort_unstable();
    let expected = [
        // The function's, the first program's, and the second's of a field that is not there.
        (FIELD_BYTE_OFFSET, false, true),
        (FIELD_BYTE_OFFSET, false, true),
        (FIELD_BYTE_OFFSET, true, false),
        (FIELD_EXISTS, false, false),
        (FIELD_EXISTS, false, true),
        (ENUMVAL_VALUE, false, true),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn an_object_that_wants_too_much_can_be_prepared_all_the_same() {
    let more = r#"
extern const void no_such_symbol __ksym;
extern void no_such_function(void) __ksym;
extern int CONFIG_NO_SUCH_SETTING __kconfig;
SEC("raw_tp/sys_enter")
int third(void *ctx)
{
    no_such_function();
    return (long)&no_such_symbol + CONFIG_NO_SUCH_SETTING;
}"#;
    let object = compile(&(SOURCE.to_owned() + more), "bpf");
    let error = prepare(&object, None).unwrap_err();
    assert!(
        error.log.contains("not resolved") || error.log.contains("not found"),
        "{error}"
    );
    let programs = prepare(&weaken(&object).unwrap(), None).unwrap();
    assert_eq!(programs[..2], prepare(&compile(SOURCE, "bpf"), None).unwrap());
    assert_eq!(programs[2].name, "third");
    assert!(weaken(b"nonsense").is_err());
}

#[test]
fn the_other_byte_order_has_the_same_relocations() {
    let same = read_elf(&compile(SOURCE, "bpf")).unwrap();
    let other = if cfg!(target_endian = "little") {
        "bpfeb"
    } else {
        "bpfel"
    };
    let other = read_elf(&compile(SOURCE, other)).unwrap();
    assert_eq!(same.relos, other.relos);
    assert_ne!(same.btf.bytes(), other.btf.bytes());
    assert_ne!(same.ext, other.ext);
}

#[test]
fn another_btf_by_path_gives_the_same_as_its_minimum() {
    let object = compile(SOURCE, "bpf");
    let dir = tempfile::tempdir().unwrap();
    let (path, min) = (dir.path().join("test.bpf.o"), dir.path().join("min.btf"));
    std::fs::write(&path, &object).unwrap();
    std::fs::write(&min, bpftool_min(&[&path], Path::new(VMLINUX)).unwrap()).unwrap();
    assert!(min.metadata().unwrap().len() < 10_000);
    assert_eq!(
        prepare(&object, Some(&min)).unwrap(),
        prepare(&object, None).unwrap()
    );

    let none = dir.path().join("none.btf");
    let error = prepare(&object, Some(&none)).unwrap_err();
    assert_eq!((error.call, error.errno), ("bpf_object__prepare", -2));
    assert!(error.log.contains("failed to parse target BTF"), "{error}");
    assert!(
        bpftool_min(&[&path], &none)
            .unwrap_err()
            .contains("bpftool: exit")
    );
}

#[test]
fn what_the_running_kernel_accepts() {
    let object = compile(SOURCE, "bpf");
    let mut seen = Vec::new();
    let loaded = load_each(&object, None, |object| {
        seen.push(object.programs().iter().map(|p| p.autoload).collect::<Vec<_>>());
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, [[true, false], [false, true]]);
    assert_eq!(loaded[0], ("first".to_owned(), Ok(())));
    // Its invalid instruction can be reached.
    let (name, refused) = &loaded[1];
    let refused = refused.as_ref().unwrap_err();
    assert_eq!((name.as_str(), refused.call), ("second", "bpf_object__load"));
    assert!(refused.log.contains("on_fire"), "{refused}");
}

#[test]
fn where_the_running_kernel_has_programs_attached() {
    let source = r#"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_STACK_TRACE); __uint(key_size, 4); } stacks SEC(".maps");
SEC("raw_tp/sys_enter") int there(void *ctx) { return 0; }
SEC("raw_tp/no_such_tracepoint") int nowhere(void *ctx) { return 0; }
SEC("perf_event") int anywhere(void *ctx) { return bpf_get_stackid(ctx, &stacks, 0) < 0; }
char LICENSE[] SEC("license") = "GPL";
"#;
    let object = compile(source, "bpf");
    let sizes = libbpf::Object::open(&object, None).unwrap().missing_sizes();
    let stacks = (sizes[0].map.as_str(), sizes[0].max_entries, sizes[0].value_size);
    assert_eq!((stacks, sizes.len()), (("stacks", Some(1024), Some(1016)), 1));
    let set = |object: &mut libbpf::Object| object.set_sizes(&sizes);
    let tried = attach_each(&object, None, set, |object, _, at| object.attach(at)).unwrap();
    let errno = |tried: &Tried| match &tried.attached {
        Some(Err(error)) => error.errno,
        Some(Ok(())) => 0,
        None => panic!("{tried:?}"),
    };
    let found: Vec<_> = tried
        .iter()
        .map(|t| (t.program.name.as_str(), errno(t)))
        .collect();
    let expected = [
        ("there", 0),
        ("nowhere", -2),
        ("anywhere", libbpf::Error::NO_TARGET),
    ];
    assert_eq!(found, expected, "{tried:?}");
}

#[test]
fn errors_have_the_log() {
    let error = load_each(b"nonsense", None, |_| Ok(())).unwrap_err();
    assert_eq!(error.call, "bpf_object__open_mem");
    assert!(error.errno < 0 && error.log.contains("ELF"), "{error}");
    let error = Btf::new(b"nonsense").unwrap_err();
    assert_eq!(error.errno, -22);
    let (_, log) = logged(|| prepare(&compile(SOURCE, "bpf"), None));
    assert!(
        log.contains("matching candidate #0 <byte_off>"),
        "with debug messages"
    );
}
