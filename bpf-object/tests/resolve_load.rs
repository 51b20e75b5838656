//! Resolved objects are loaded by aya into the running kernel, and do there what their source says.
//! Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/resolving.rs"]
mod resolving;

use aya::programs::{Program, ProgramError, TestRun, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use bpf_object::MapSize;
use btf::Btf;
use common::compile;
use resolving::{Wish, kconfig};

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

/// On the running kernel.
fn here() -> Wish {
    let bytes = std::fs::read("/sys/kernel/btf/vmlinux").expect("the running kernel has BTF");
    Wish {
        kernel: Some(Btf::parse(bytes).unwrap()),
        ..Wish::nowhere()
    }
}

/// Opened by aya and its maps created, without aya looking at any BTF but the object's.
fn open(elf: &[u8]) -> Ebpf {
    EbpfLoader::new()
        .btf(None)
        .load(elf)
        .unwrap_or_else(|e| panic!("aya: {e:?}"))
}

fn load(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::KProbe(p) => p.load(),
        Program::UProbe(p) => p.load(),
        Program::TracePoint(p) => p.load(),
        Program::RawTracePoint(p) => p.load(),
        Program::SocketFilter(p) => p.load(),
        Program::Xdp(p) => p.load(),
        Program::SchedClassifier(p) => p.load(),
        Program::CgroupSkb(p) => p.load(),
        Program::CgroupSock(p) => p.load(),
        Program::CgroupSockAddr(p) => p.load(),
        Program::CgroupSysctl(p) => p.load(),
        Program::CgroupDevice(p) => p.load(),
        Program::CgroupSockopt(p) => p.load(),
        Program::SockOps(p) => p.load(),
        Program::SkLookup(p) => p.load(),
        Program::PerfEvent(p) => p.load(),
        Program::FlowDissector(p) => p.load(),
        other => panic!("no load for {other:?}"),
    }
}

/// Loads all programs; each has BTF in the kernel.
fn load_all(ebpf: &mut Ebpf) {
    for (name, program) in ebpf.programs_mut() {
        load(program).unwrap_or_else(|e| panic!("{name}: {e} {e:?}"));
        let info = program.info().unwrap();
        assert!(
            info.btf_id().is_some(),
            "{name}: the kernel took the object's BTF"
        );
    }
}

/// What an XDP program returns for a packet of zeros.
fn run(ebpf: &Ebpf, program: &str) -> u32 {
    let Some(Program::Xdp(program)) = ebpf.program(program) else {
        panic!("{program} is no XDP program")
    };
    let data = [0u8; 64];
    let options = TestRunOptions {
        data_in: Some(&data),
        ..TestRunOptions::default()
    };
    program.test_run(options).unwrap().return_value
}

#[test]
fn kinds_under_all_their_names_load() {
    let sections = [
        "socket",
        "socket/filter",
        "kprobe/vfs_read",
        "ksyscall/nanosleep",
        "uprobe/libc.so.6:malloc",
        "tc",
        "tcx/ingress",
        "tp/sched/sched_switch",
        "xdp",
        "xdp/firewall",
        "xdp.frags",
        "xdp/devmap",
        "perf_event",
        "cgroup_skb/ingress",
        "cgroup/skb",
        "cgroup/sock",
        "cgroup/post_bind4",
        "sockops",
        "cgroup/dev",
        "?raw_tp/sched_switch",
        "usdt/libc.so.6:libc:setjmp",
        "cgroup/connect4",
        "cgroup/sysctl",
        "cgroup/getsockopt",
        "sk_lookup",
        "flow_dissector",
        "uretprobe",
    ];
    let mut source = String::from(HEAD);
    for (place, section) in sections.iter().enumerate() {
        source.push_str(&format!(
            "SEC(\"{section}\") int p{place}(void *ctx) {{ return 1; }}\n"
        ));
    }
    let names: Vec<String> = (0..sections.len()).map(|p| format!("p{p}")).collect();
    let mut wish = here().programs(&names.iter().map(String::as_str).collect::<Vec<_>>());
    wish.syscall_prefix = Some("__x64_sys_");
    let resolved = wish.resolve(&compile(&source)).unwrap();
    let mut ebpf = open(&resolved.elf);
    load_all(&mut ebpf);
    assert_eq!(ebpf.programs().count(), sections.len());
}

#[test]
fn subprograms_of_two_sections_callbacks_and_hidden_functions_work() {
    let object = with_head(
        r#"
        struct big { int a[8]; };
        __attribute__((section(".text.a"))) static NOINLINE int left(int x) { asm volatile(""); return x + 1; }
        __attribute__((section(".text.b"))) static NOINLINE int right(int x) { asm volatile(""); return x * 10; }
        __weak __hidden NOINLINE int sum(struct big *b) { asm volatile(""); return b->a[0] + b->a[7]; }
        NOINLINE int shown(int x) { asm volatile(""); return right(x) + 5; }
        static long each(__u32 i, int *total) { *total += left(i); return 0; }
        SEC("xdp") int both(void *c) { return left(5) + right(7); }
        SEC("xdp") int whole(void *c) { struct big b = {{20, 0, 0, 0, 0, 0, 0, 22}}; return sum(&b); }
        SEC("xdp") int chain(void *c) { return shown(3); }
        SEC("xdp") int loops(void *c) { int total = 0; bpf_loop(4, each, &total, 0); return total; }
        "#,
    );
    for chosen in [&["both", "whole", "chain", "loops"][..], &["loops"], &["whole"]] {
        let resolved = here().programs(chosen).resolve(&object).unwrap();
        let mut ebpf = open(&resolved.elf);
        load_all(&mut ebpf);
        for (program, value) in [("both", 76), ("whole", 42), ("chain", 35), ("loops", 10)] {
            if chosen.contains(&program) {
                assert_eq!(run(&ebpf, program), value, "{program} of {chosen:?}");
            }
        }
    }
}

#[test]
fn configuration_and_variables_have_their_values() {
    let object = with_head(
        r#"
        extern int LINUX_KERNEL_VERSION __kconfig;
        extern unsigned long CONFIG_HZ __kconfig __weak;
        extern _Bool CONFIG_NOT_THERE __kconfig __weak;
        const volatile int limit = 5;
        int counter = 7;
        static int hidden_counter = 2;
        long zeroed[4];
        SEC("xdp") int version(void *c) { return LINUX_KERNEL_VERSION; }
        SEC("xdp") int hz(void *c) { return CONFIG_HZ + CONFIG_NOT_THERE; }
        SEC("xdp") int data(void *c) { zeroed[3] += 100; return limit * 1000 + counter * 10 + hidden_counter + zeroed[3]; }
        "#,
    );
    let mut wish = here();
    let mut bytes = 250u64.to_ne_bytes().to_vec();
    bytes.extend(0x0006_120fu32.to_ne_bytes());
    wish.kconfig = Some(kconfig(
        bytes,
        &[("LINUX_KERNEL_VERSION", 8, 4), ("CONFIG_HZ", 0, 8)],
    ));
    wish.globals.insert(".rodata".into(), 6i32.to_ne_bytes().to_vec());
    let mut ebpf = open(&wish.resolve(&object).unwrap().elf);
    load_all(&mut ebpf);
    assert_eq!(run(&ebpf, "version"), 0x0006_120f);
    assert_eq!(run(&ebpf, "hz"), 250);
    assert_eq!(run(&ebpf, "data"), 6172);
}

#[test]
fn fields_of_the_running_kernel_are_read_where_they_are() {
    let object = with_head(
        r#"
        struct task_struct { int pid; int tgid; char comm[16]; } __attribute__((preserve_access_index));
        struct task_struct___none { int nothing; } __attribute__((preserve_access_index));
        SEC("tc") int same(void *c) {
            struct task_struct *t = (void *)bpf_get_current_task();
            return BPF_CORE_READ(t, tgid) == bpf_get_current_pid_tgid() >> 32;
        }
        SEC("tc") int guarded(void *c) {
            struct task_struct___none *t = (void *)bpf_get_current_task();
            return bpf_core_field_exists(t->nothing) ? BPF_CORE_READ(t, nothing) : 7;
        }
        SEC("tc") int falls(void *c) {
            struct task_struct___none *t = (void *)bpf_get_current_task();
            return BPF_CORE_READ(t, nothing);
        }
        "#,
    );
    let resolved = here().resolve(&object).unwrap();
    let mut ebpf = open(&resolved.elf);
    for (name, value) in [("same", 1), ("guarded", 7)] {
        let program = ebpf.program_mut(name).unwrap();
        load(program).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let Program::SchedClassifier(program) = program else {
            panic!()
        };
        let data = [0u8; 64];
        let options = TestRunOptions {
            data_in: Some(&data),
            ..TestRunOptions::default()
        };
        assert_eq!(program.test_run(options).unwrap().return_value, value, "{name}");
    }
    // The verifier quotes the instruction that the plan names.
    let error = load(ebpf.program_mut("falls").unwrap()).unwrap_err();
    let ProgramError::LoadError { verifier_log, .. } = &error else {
        panic!("{error:?}")
    };
    let plan = resolved.plan.programs.iter().find(|p| p.name == "falls").unwrap();
    let [poisoned] = plan.poisoned.as_slice() else {
        panic!("{plan:?}")
    };
    let quoted = format!("{}: (85) call unknown#195896080", poisoned.instruction);
    assert!(
        verifier_log.to_string().contains(&quoted),
        "{quoted} is not in {verifier_log}"
    );
    assert!(
        poisoned
            .message
            .contains("task_struct___none.nothing does not exist"),
        "{poisoned:?}"
    );
}

#[test]
fn symbols_and_functions_of_the_running_kernel_are_reached() {
    let object = with_head(
        r#"
        struct rq { int cpu; } __attribute__((preserve_access_index));
        extern const struct rq runqueues __ksym;
        extern const struct rq no_such_variable __ksym __weak;
        extern const void bpf_prog_active_at_all __ksym __weak;
        extern const void vfs_read __ksym;
        extern void bpf_rcu_read_lock(void) __ksym;
        extern void bpf_rcu_read_unlock(void) __ksym;
        extern int no_such_function(int x) __ksym __weak;
        SEC("tc") int variable(void *c) {
            struct rq *rq = bpf_per_cpu_ptr(&runqueues, 0);
            return rq && !&no_such_variable ? rq->cpu + 3 : 0;
        }
        SEC("tc") int address(void *c) { return &vfs_read && !&bpf_prog_active_at_all ? 4 : 0; }
        SEC("tc") int function(void *c) {
            bpf_rcu_read_lock();
            bpf_rcu_read_unlock();
            if (no_such_function)
                return no_such_function(1);
            return 5;
        }
        "#,
    );
    let mut wish = here();
    wish.ksyms.insert("vfs_read".into(), 0xffff_ffff_8123_4560);
    let resolved = wish.resolve(&object).unwrap();
    assert!(resolved.holds_addresses);
    let mut ebpf = open(&resolved.elf);
    for (name, value) in [("variable", 3), ("address", 4), ("function", 5)] {
        let program = ebpf.program_mut(name).unwrap();
        match load(program) {
            Ok(()) => {}
            // A kernel without CONFIG_KALLSYMS_ALL knows the variable and not where it is.
            Err(e) if name == "variable" => {
                let error = format!("{e:?}");
                assert!(
                    error.contains("kernel symbol 'runqueues'"),
                    "the right id: {error}"
                );
                continue;
            }
            Err(e) => panic!("{name}: {e:?}"),
        }
        let Program::SchedClassifier(program) = program else {
            panic!()
        };
        let data = [0u8; 64];
        let options = TestRunOptions {
            data_in: Some(&data),
            ..TestRunOptions::default()
        };
        assert_eq!(program.test_run(options).unwrap().return_value, value, "{name}");
    }
}

#[test]
fn maps_are_created_in_the_sizes_that_were_asked_for() {
    let object = with_head(
        r#"
        struct inner_def {
            __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64);
        } inner SEC(".maps");
        struct {
            __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 2); __uint(key_size, 4);
            __array(values, struct inner_def);
        } outer SEC(".maps") = { .values = { [1] = &inner } };
        struct {
            __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 2); __uint(key_size, 4);
            __array(values, int (void *));
        } jumps SEC(".maps");
        struct { __uint(type, BPF_MAP_TYPE_STACK_TRACE); __uint(key_size, 4); } stacks SEC(".maps");
        struct {
            __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 10); __type(key, __u32); __type(value, struct inner_def);
        } hashed SEC(".maps");
        SEC("xdp") int uses(void *c) {
            __u32 key = 1;
            bpf_tail_call(c, &jumps, 1);
            return bpf_map_lookup_elem(&outer, &key) || bpf_map_lookup_elem(&hashed, &key) ? 1 : 2;
        }
        SEC("perf_event") int stack(void *c) { return bpf_get_stackid(c, &stacks, 0) < 0; }
        "#,
    );
    let mut wish = here();
    let size = |max_entries, value_size| MapSize {
        max_entries: Some(max_entries),
        value_size,
    };
    wish.map_sizes.insert("stacks".into(), size(77, Some(1016)));
    wish.map_sizes.insert("hashed".into(), size(33, None));
    let mut ebpf = open(&wish.resolve(&object).unwrap().elf);
    load_all(&mut ebpf);
    assert_eq!(run(&ebpf, "uses"), 2);
    for (name, entries, value) in [
        ("stacks", 77, 1016),
        ("hashed", 33, 32),
        ("jumps", 2, 4),
        ("outer", 2, 4),
    ] {
        let (_, map) = ebpf.maps().find(|(n, _)| *n == name).unwrap();
        let info = match map {
            aya::maps::Map::StackTraceMap(m)
            | aya::maps::Map::HashMap(m)
            | aya::maps::Map::ProgramArray(m)
            | aya::maps::Map::ArrayOfMaps(m) => m.info().unwrap(),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(
            (info.max_entries(), info.value_size()),
            (entries, value),
            "{name}"
        );
    }
}

#[test]
fn an_object_linked_of_two_runs_what_the_linker_chose() {
    let parts = [
        r#"
        static volatile int shared = 5;
        __weak NOINLINE int over(int x) { asm volatile(""); return x + 100; }
        __weak NOINLINE int first(int x) { asm volatile(""); return x + 200; }
        extern int other;
        extern int from_other(int);
        static long each(__u32 i, int *total) { *total += shared; return 0; }
        SEC("xdp") int calls(void *c) { return over(1) + first(2) + other + from_other(4); }
        SEC("xdp") int loops(void *c) { int total = 0; bpf_loop(4, each, &total, 0); return total; }
        "#,
        r#"
        static volatile int shared = 7;
        int other = 1000;
        NOINLINE int over(int x) { asm volatile(""); return x + 300; }
        __weak NOINLINE int first(int x) { asm volatile(""); return x + 400; }
        static NOINLINE int own(int x) { asm volatile(""); return x * 2 + shared; }
        NOINLINE int from_other(int x) { return own(x); }
        static long each(__u32 i, int *total) { *total += shared; return 0; }
        SEC("xdp") int loops_too(void *c) { int total = 0; bpf_loop(4, each, &total, 0); return total; }
        "#,
    ];
    let dir = tempfile::tempdir().unwrap();
    let linked = dir.path().join("linked.bpf.o");
    let mut linker = std::process::Command::new("bpftool");
    linker.args(["gen", "object"]).arg(&linked);
    for (number, source) in parts.iter().enumerate() {
        let part = dir.path().join(format!("{number}.bpf.o"));
        std::fs::write(&part, with_head(source)).unwrap();
        linker.arg(part);
    }
    let run_linker = linker.output().expect("bpftool runs (apt-get install bpftool)");
    assert!(run_linker.status.success(), "{run_linker:?}");
    let resolved = here().resolve(&std::fs::read(&linked).unwrap()).unwrap();
    let mut ebpf = open(&resolved.elf);
    load_all(&mut ebpf);
    // The strong `over`, the first of two weak ones, and each file's own static things.
    assert_eq!(run(&ebpf, "calls"), 301 + 202 + 1000 + 15);
    assert_eq!((run(&ebpf, "loops"), run(&ebpf, "loops_too")), (20, 28));
}
