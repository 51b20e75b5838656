//! Compiles eBPF C at test time. Needs clang, libbpf's headers and the kernel's.
#![allow(dead_code, clippy::expect_used, clippy::panic)]

/// An object from C, for this machine's byte order.
pub fn compile(source: &str) -> Vec<u8> {
    compile_with(source, &["-target", "bpf", "-g"])
}

/// The same with other arguments.
pub fn compile_with(source: &str, args: &[&str]) -> Vec<u8> {
    bpf_oracle::clang::compile(source, args).unwrap_or_else(|e| panic!("{e}"))
}

/// One object with everything: maps of each source, globals, a subprogram, CO-RE, externs.
pub const RICH: &str = r#"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

struct signal_struct { int nr_threads; } __attribute__((preserve_access_index));
struct task_struct {
    int tgid;
    struct signal_struct *signal;
    char comm[16];
    union { int first; struct { int inner; }; };
} __attribute__((preserve_access_index));
struct task_struct___v46 { int old_name; } __attribute__((preserve_access_index));
enum colour { RED, GREEN = 7 };

struct key { __u32 pid; __u64 cookie; };
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1024);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct key);
    __type(value, __u64[3]);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
} hists SEC(".maps");
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096);
} events SEC(".maps");
struct {
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
    __uint(max_entries, 4);
    __uint(key_size, 4);
    __array(values, int (void *));
} jumps SEC(".maps");

const volatile __u32 min_us = 5;
__u64 seen;
int started = 1;
extern int CONFIG_HZ __kconfig __weak;
extern void bpf_rcu_read_lock(void) __ksym;
extern const void init_task __ksym;
char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __attribute__((noinline)) int helper(struct task_struct *t)
{
    return BPF_CORE_READ(t, signal, nr_threads);
}

SEC("tp/sched/sched_switch")
int on_switch(void *ctx)
{
    struct task_struct *t = (void *)bpf_get_current_task();
    seen += min_us + started + CONFIG_HZ;
    return helper(t) + BPF_CORE_READ(t, tgid);
}

SEC("tp/sched/sched_switch")
int on_switch_again(void *ctx)
{
    struct task_struct *t = (void *)bpf_get_current_task();
    struct task_struct___v46 *old = (void *)t;
    int total = BPF_CORE_READ(t, inner);
    char c = 0;
    if (bpf_core_field_exists(old->old_name))
        total += BPF_CORE_READ(old, old_name);
    if (bpf_core_type_exists(struct signal_struct))
        total += bpf_core_type_size(struct signal_struct);
    total += bpf_core_enum_value(enum colour, GREEN);
    bpf_core_read(&c, 1, &t->comm[3]);
    bpf_rcu_read_lock();
    return total + c + (int)(long)&init_task;
}

SEC("?raw_tp/sys_enter")
int optional(void *ctx) { return 0; }
"#;

/// BTF of an object, which tests take for a kernel's.
pub fn btf_of(object: &[u8]) -> Vec<u8> {
    section_of(object, ".BTF")
}

/// Contents of a section.
pub fn section_of(object: &[u8], name: &str) -> Vec<u8> {
    use object::read::{File, Object, ObjectSection};
    let file = File::parse(object).expect("an ELF file");
    let section = file.section_by_name(name).expect("the section is there");
    section.data().expect("it is in the file").to_vec()
}
