//! Objects that ask for much are answered soon: the bounds are many times what it takes without
//! optimisation, and a small part of what it took before they were kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/resolving.rs"]
mod resolving;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bpf_object::{resolve, set_globals};
use btf::Btf;
use btf::co_re::{Module, Targets};
use common::{compile, compile_with};
use resolving::Wish;

/// The running kernel, whose BTF is as large as they are.
fn kernel() -> Vec<u8> {
    std::fs::read("/sys/kernel/btf/vmlinux").expect("the running kernel has BTF")
}

fn here() -> Wish {
    Wish {
        kernel: Some(Btf::parse(kernel()).unwrap()),
        ..Wish::nowhere()
    }
}

fn within<T>(seconds: u64, f: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = f();
    let took = started.elapsed();
    assert!(took < Duration::from_secs(seconds), "it took {took:?}");
    result
}

#[test]
fn functions_that_call_all_others_are_followed_within_a_bound() {
    let mut source = String::from("asm(\".text\\n");
    for function in 0..250 {
        let _ = write!(
            source,
            ".globl f{function}\\n.type f{function},@function\\nf{function}:\\n"
        );
        for callee in 0..250 {
            let _ = write!(source, "call f{callee}\\n");
        }
        let _ = write!(source, "exit\\n.size f{function}, .-f{function}\\n");
    }
    source.push_str(".section xdp,\\\"ax\\\",@progbits\\n");
    for program in 0..2000 {
        let _ = write!(
            source,
            ".globl p{program}\\n.type p{program},@function\\np{program}:\\ncall f0\\nexit\\n\
             .size p{program}, .-p{program}\\n"
        );
    }
    source.push_str("\");");
    let object = compile_with(&source, &["-target", "bpf"]);
    let message = within(20, || Wish::nowhere().refusal(&object));
    assert!(message.contains("calls to follow"), "{message}");
    let one = Wish::nowhere().programs(&["p7"]).resolve(&object).unwrap();
    assert_eq!(one.plan.programs.len(), 1);
}

#[test]
fn many_programs_that_name_their_module_look_at_its_types_once() {
    let mut source = String::new();
    for program in 0..1000 {
        let _ = writeln!(
            source,
            "__attribute__((section(\"fentry/vmlinux:vfs_read\"), used)) int p{program}(void *c) {{ return 0; }}"
        );
    }
    let object = compile(&source);
    let resolved = within(20, || here().resolve(&object)).unwrap();
    let attach = resolved.plan.programs[999].attach.as_ref().unwrap();
    assert_eq!((attach.name.as_str(), &attach.module), ("vfs_read", &None));
}

#[test]
fn functions_that_no_module_has_are_looked_for_in_each_modules_own_types() {
    let mut source = String::from("#define __ksym __attribute__((section(\".ksyms\")))\n");
    let mut body = String::new();
    for function in 0..40 {
        let _ = writeln!(
            source,
            "extern int not_there_{function}(int x) __ksym __attribute__((weak));"
        );
        let _ = writeln!(
            body,
            "if (not_there_{function}) r += not_there_{function}({function});"
        );
    }
    let object = compile(&format!(
        "{source}__attribute__((section(\"tc\"), used)) int p(void *c) {{ int r = 0; {body} return r; }}"
    ));
    let base = Arc::new(Btf::parse(kernel()).unwrap());
    // A module without types and with one string.
    let mut empty = match base.endian() {
        btf::Endian::Little => vec![0x9f, 0xeb, 1, 0],
        btf::Endian::Big => vec![0xeb, 0x9f, 1, 0],
    };
    for word in [24u32, 0, 0, 0, 4] {
        empty.extend(word.to_ne_bytes());
    }
    empty.extend(b"abc\0");
    let modules: Vec<Module<'_>> = (0..100)
        .map(|number| Module {
            name: format!("m{number}"),
            btf: Btf::parse_split(empty.clone(), base.clone()).unwrap(),
        })
        .collect();
    let request = bpf_object::Request::new(bpf_object::Target::Kernel(Targets {
        kernel: &base,
        modules: &modules,
    }));
    let resolved = within(10, || resolve(&object, &request)).unwrap();
    assert_eq!(resolved.plan.programs[0].poisoned.len(), 40);
}

#[test]
fn many_unknown_names_of_variables_are_refused_soon() {
    let mut source = String::new();
    for variable in 0..16_000 {
        let _ = writeln!(
            source,
            "const volatile int a_long_common_prefix_of_names_{variable};"
        );
    }
    source.push_str("__attribute__((section(\"tc\"), used)) int p(void *c) { return 0; }");
    let object = compile(&source);
    let values: BTreeMap<String, serde_json::Value> = (0..4096)
        .map(|i| (format!("of_names_{i}"), serde_json::json!(1)))
        .collect();
    let message = within(6, || set_globals(&object, &values))
        .unwrap_err()
        .to_string();
    assert!(
        message.ends_with("4032 more globals are refused; mend these first"),
        "{message}"
    );
}
