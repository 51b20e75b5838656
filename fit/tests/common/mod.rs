//! Objects compiled at test time, and hooks written as users write them. Needs clang and libbpf's headers.
#![allow(dead_code, clippy::expect_used, clippy::panic)]

use std::{fmt::Write, fs, path::Path, process::Command};

use bpf_object::ObjectInfo;
use bpfleet_crds::hook::{Hook, HookAlternative};
use bpfleet_fit::{Alternative, PlannedHook, Problem, ProblemKind, plan_hooks};
use serde_json::{Value, json};

/// An object of `e2e/programs`.
pub fn test_program(name: &str) -> ObjectInfo {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/programs");
    compile_file(&folder.join(format!("{name}.bpf.c")))
}

/// An object of an example.
pub fn example(name: &str) -> ObjectInfo {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples")
        .join(name);
    compile_file(&folder.join(format!("{name}.bpf.c")))
}

/// An object with one program for each pair of name and SEC().
pub fn programs(programs: &[(&str, &str)]) -> ObjectInfo {
    let mut source = String::new();
    for (name, section) in programs {
        writeln!(
            source,
            "__attribute__((section(\"{section}\"), used)) int {name}(void *ctx) {{ return 0; }}"
        )
        .expect("a string can be written");
    }
    compile(&source)
}

/// An object from C.
pub fn compile(source: &str) -> ObjectInfo {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let input = dir.path().join("test.bpf.c");
    fs::write(&input, source).expect("the source is written");
    compile_file(&input)
}

fn compile_file(input: &Path) -> ObjectInfo {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let output = dir.path().join("test.bpf.o");
    let run = Command::new("clang")
        .args(["-O2", "-g", "-Wall", "-target", "bpf", "-c"])
        .arg(format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH))
        .arg(input)
        .arg("-o")
        .arg(&output)
        .output()
        .expect("clang runs (apt-get install clang libbpf-dev linux-libc-dev)");
    assert!(
        run.status.success(),
        "clang: {}",
        String::from_utf8_lossy(&run.stderr)
    );
    let bytes = fs::read(&output).expect("clang wrote an object");
    bpf_object::inspect(&bytes).expect("the object is sound")
}

/// A hook `h` for this program; a target of `null` is none.
pub fn hook(program: &str, target: Value) -> Hook {
    named("h", program, target)
}

/// A hook of this name.
pub fn named(name: &str, program: &str, target: Value) -> Hook {
    let target = serde_json::from_value(target).expect("the target is of the API's shape");
    Hook {
        name: name.into(),
        any_of: vec![HookAlternative {
            program: program.into(),
            target,
        }],
        optional: None,
    }
}

/// The first alternative of each hook; planning must be possible.
pub fn planned(object: &ObjectInfo, hooks: Option<&[Hook]>) -> Vec<PlannedHook> {
    let plans =
        plan_hooks(object, hooks).unwrap_or_else(|problems| panic!("it must be possible: {problems:#?}"));
    let first = plans.into_iter().map(|plan| plan.alternatives.into_iter().next());
    first
        .map(|alternative| match alternative {
            Some(Alternative::Planned(hook)) => *hook,
            other => panic!("an alternative with a program was expected: {other:?}"),
        })
        .collect()
}

/// What is wrong, which something must be.
pub fn problems(object: &ObjectInfo, hooks: Option<&[Hook]>) -> Vec<Problem> {
    match plan_hooks(object, hooks) {
        Ok(planned) => panic!("it must be refused, and gave {planned:#?}"),
        Err(problems) => problems,
    }
}

/// The one problem, of this kind, whose text has each of these parts: what is wrong, and what to write instead.
pub fn refused(object: &ObjectInfo, hooks: Option<&[Hook]>, kind: ProblemKind, parts: &[&str]) {
    let problems = problems(object, hooks);
    let [problem] = problems.as_slice() else {
        panic!("one problem was expected: {problems:#?}")
    };
    assert_eq!(problem.kind, kind, "{problem}");
    let text = problem.to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

/// An interface by name.
pub fn interface(name: &str) -> Value {
    json!({"interface": {"name": name}})
}
