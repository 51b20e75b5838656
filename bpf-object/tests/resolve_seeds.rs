//! The ways in which libbpf's guide to CO-RE has one object fit many kernels: flavours of structs, branches
//! on the kernel's version, and constants set before load. Each is resolved, loaded and run. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/resolving.rs"]
mod resolving;

use aya::programs::{Program, ProgramError, TestRun, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use bpf_object::{Resolved, set_globals};
use btf::Btf;
use common::compile;
use resolving::{Wish, kconfig};
use serde_json::json;

const HEAD: &str = r#"
#include <linux/bpf.h>
#include <linux/version.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
char LICENSE[] SEC("license") = "GPL";
"#;

/// The running kernel, with the version that its configuration is to say.
fn kernel(version: u32) -> Wish {
    let bytes = std::fs::read("/sys/kernel/btf/vmlinux").expect("the running kernel has BTF");
    Wish {
        kernel: Some(Btf::parse(bytes).unwrap()),
        kconfig: Some(kconfig(
            version.to_ne_bytes().to_vec(),
            &[("LINUX_KERNEL_VERSION", 0, 4)],
        )),
        ..Wish::nowhere()
    }
}

/// Loads a classifier; it stays loaded as long as what is returned.
fn load(resolved: &Resolved, name: &str) -> Result<Ebpf, ProgramError> {
    let mut ebpf = EbpfLoader::new()
        .btf(None)
        .load(&resolved.elf)
        .unwrap_or_else(|e| panic!("aya: {e:?}"));
    classifier(&mut ebpf, name).load()?;
    Ok(ebpf)
}

fn classifier<'e>(ebpf: &'e mut Ebpf, name: &str) -> &'e mut aya::programs::SchedClassifier {
    match ebpf.program_mut(name) {
        Some(Program::SchedClassifier(program)) => program,
        other => panic!("{name}: {other:?}"),
    }
}

fn run(ebpf: &mut Ebpf, name: &str) -> u32 {
    let data = [0u8; 64];
    let options = TestRunOptions {
        data_in: Some(&data),
        ..TestRunOptions::default()
    };
    let result = classifier(ebpf, name).test_run(options);
    result.unwrap().return_value
}

fn log(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { verifier_log, .. } => verifier_log.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_field_that_was_renamed_is_read_by_the_flavour_of_the_kernels_version() {
    let field = if cfg!(target_arch = "aarch64") {
        "fault_address"
    } else {
        "fsbase"
    };
    let object = compile(&format!(
        r#"{HEAD}
        extern int LINUX_KERNEL_VERSION __kconfig;
        struct thread_struct {{ unsigned long {field}; }} __attribute__((preserve_access_index));
        struct thread_struct___v46 {{ unsigned long fs; }} __attribute__((preserve_access_index));
        struct task_struct {{ struct thread_struct thread; }} __attribute__((preserve_access_index));
        SEC("tc") int base(void *c) {{
            struct task_struct *t = (void *)bpf_get_current_task();
            unsigned long value;
            if (LINUX_KERNEL_VERSION > KERNEL_VERSION(4, 6, 0)) {{
                value = BPF_CORE_READ(t, thread.{field});
                return value ? 10 : 11;
            }}
            value = BPF_CORE_READ((struct thread_struct___v46 *)&t->thread, fs);
            return value ? 20 : 21;
        }}
        "#
    ));
    let resolved = kernel(0x0006_0100).resolve(&object).unwrap();
    let plan = &resolved.plan.programs[0];
    let [poisoned] = plan.poisoned.as_slice() else {
        panic!("{plan:?}")
    };
    assert!(
        poisoned.message.contains("thread_struct___v46.fs does not exist") && poisoned.function == "base",
        "{poisoned:?}"
    );
    // What is poisoned is in the branch that the verifier does not take.
    let mut ebpf = load(&resolved, "base").unwrap();
    assert!([10, 11].contains(&run(&mut ebpf, "base")));

    let resolved = kernel(0x0004_0500).resolve(&object).unwrap();
    let error = load(&resolved, "base").unwrap_err();
    let quoted = format!(
        "{}: (85) call unknown#195896080",
        resolved.plan.programs[0].poisoned[0].instruction
    );
    assert!(log(&error).contains(&quoted), "{quoted} is not in {error:?}");
}

#[test]
fn a_branch_that_a_constant_excludes_is_gone_when_loaded() {
    let object = compile(&format!(
        r#"{HEAD}
        /* A helper that no kernel has. */
        static long (*fancy_helper)(void *) = (void *)9999;
        const volatile _Bool use_fancy_helper = 1;
        const volatile __u32 fallback_value;
        SEC("tc") int values(void *c) {{
            if (use_fancy_helper)
                return fancy_helper(c);
            return 1000 + fallback_value;
        }}
        "#
    ));
    let with = |values: serde_json::Value| {
        let mut wish = kernel(0);
        let values = serde_json::from_value(values).unwrap();
        wish.globals = set_globals(&object, &values).unwrap();
        load(&wish.resolve(&object).unwrap(), "values")
    };
    let error = with(json!({"fallback_value": 7})).unwrap_err();
    assert!(log(&error).contains("9999"), "{error:?}");
    let mut ebpf = with(json!({"use_fancy_helper": false, "fallback_value": 7})).unwrap();
    assert_eq!(run(&mut ebpf, "values"), 1007);
    let loaded = classifier(&mut ebpf, "values").info().unwrap();
    let size = loaded.size_translated().unwrap() as usize;
    let section = common::section_of(&object, "tc").len();
    assert!(size < section, "{size} bytes are left of {section}");
}
