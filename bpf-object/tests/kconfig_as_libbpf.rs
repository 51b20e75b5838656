//! Values of `extern … __kconfig` variables on this kernel: the same bytes as libbpf's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod running;

use bpf_object::kconfig::{Facts, resolve_kconfig};
use bpf_oracle::libbpf;
use btf::Btf;

const SOURCE: &str = r#"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern int LINUX_KERNEL_VERSION __kconfig;
extern _Bool LINUX_HAS_NOTHING_OF_THE_KIND __kconfig __weak;
extern int CONFIG_HZ __kconfig;
extern unsigned char CONFIG_LOG_BUF_SHIFT __kconfig;
extern unsigned long long CONFIG_PHYSICAL_START __kconfig __weak;
extern _Bool CONFIG_BPF_SYSCALL __kconfig;
extern enum libbpf_tristate CONFIG_NET __kconfig;
extern enum libbpf_tristate CONFIG_NO_SUCH_OPTION __kconfig __weak;
extern char CONFIG_MMU __kconfig;
extern char CONFIG_DEFAULT_HOSTNAME[4] __kconfig __weak;
extern char CONFIG_CC_VERSION_TEXT[64] __kconfig;
extern short CONFIG_NR_CPUS __kconfig __weak;

SEC("raw_tp/sys_enter")
int program(void *ctx)
{
    bpf_printk("%s", CONFIG_CC_VERSION_TEXT);
    bpf_printk("%s", CONFIG_DEFAULT_HOSTNAME);
    return LINUX_KERNEL_VERSION + LINUX_HAS_NOTHING_OF_THE_KIND + CONFIG_HZ
        + CONFIG_LOG_BUF_SHIFT + CONFIG_PHYSICAL_START + CONFIG_BPF_SYSCALL + CONFIG_NET + CONFIG_NO_SUCH_OPTION
        + CONFIG_MMU + CONFIG_NR_CPUS;
}
char LICENSE[] SEC("license") = "GPL";
"#;

#[test]
fn values_and_places_of_kconfig_externs_are_those_of_libbpf() {
    let object = common::compile(SOURCE);
    let mut theirs = libbpf::Object::open(&object, None).unwrap();
    theirs.prepare().unwrap();
    let theirs = theirs
        .initial_value(".kconfig")
        .expect("the map of kconfig values");

    let info = bpf_object::inspect(&object).unwrap();
    let btf = common::btf_of(&object);
    let btf = Btf::parse(btf.as_slice()).unwrap();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split(['.', '-'])
        .map(|n| n.trim().parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    let version = next() << 16 | next() << 8 | next().min(255);
    let facts = Facts {
        kernel_version: version,
        // Probed elsewhere, by attaching: not compared.
        has_syscall_wrapper: None,
        has_bpf_cookie: None,
    };
    let weak = |name: &str| info.externs.iter().any(|e| e.name == name && e.weak);
    let ours = resolve_kconfig(&btf, Some(&running::config()), &facts, &weak).unwrap();
    for entry in &ours.entries {
        let at = entry.offset as usize..(entry.offset + entry.size) as usize;
        assert_eq!(ours.bytes[at.clone()], theirs[at], "{}", entry.name);
    }
    assert_eq!(ours.bytes.len(), theirs.len());
}
