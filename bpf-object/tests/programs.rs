//! The test programs of the end-to-end tests and the examples: each is read, and opens in aya.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod running;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use bpf_object::kconfig::Facts;
use bpf_object::{AttachTo, InspectError, ProgramKind, Request, Target, inspect, known_kconfig_of, resolve};
use btf::{Btf, co_re::Targets};

fn build(script: &str) -> tempfile::TempDir {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let out = tempfile::tempdir().unwrap();
    let run = Command::new(root.join(script))
        .arg(out.path())
        .output()
        .expect("the script runs");
    assert!(
        run.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&run.stderr)
    );
    out
}

fn objects(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (
                name.trim_end_matches(".bpf.o").to_owned(),
                std::fs::read(&path).unwrap(),
            )
        })
        .collect();
    found.sort();
    found
}

#[test]
fn the_test_programs_are_read_and_open_in_aya() {
    let out = build("e2e/programs/build.sh");
    let objects = objects(out.path());
    assert!(objects.len() > 30, "{}", objects.len());
    for (name, bytes) in objects {
        let info = match (name.as_str(), inspect(&bytes)) {
            ("big_endian", result) => {
                assert!(
                    matches!(result, Err(InspectError::WrongEndian { .. })),
                    "{result:?}"
                );
                continue;
            }
            ("no_programs", result) => {
                let error = result.unwrap_err().to_string();
                assert!(error.ends_with("where only subprograms go: forgotten"), "{error}");
                continue;
            }
            (_, result) => result.unwrap_or_else(|e| panic!("{name}: {e}")),
        };
        assert!(info.license.is_some(), "{name}: no licence");
        // Numbers are counted in one map of this name; what is counted by command is in maps of others, too.
        assert!(!info.maps.is_empty(), "{name}: no maps");
        if let Some(counts) = info.map("counts") {
            let by_command = counts.type_name() == "lru_hash";
            let expected = if by_command { "lru_hash" } else { "array" };
            let found = (counts.type_name(), counts.value_size);
            assert_eq!(found, (expected.to_owned(), 8), "{name}");
        }
        open_in_aya(&name, &bytes, &info);
    }
}

#[test]
fn the_examples_are_read_and_open_in_aya() {
    let out = build("examples/build.sh");
    let objects = objects(out.path());
    assert!(objects.len() >= 4, "{}", objects.len());
    for (name, bytes) in objects {
        let info = inspect(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(info.license.is_some() && !info.maps.is_empty(), "{name}");
        open_in_aya(&name, &bytes, &info);
    }
}

/// Resolved for the running kernel, with all programs, those too that ask to be left out.
fn open_in_aya(name: &str, bytes: &[u8], info: &bpf_object::ObjectInfo) {
    let kernel = Btf::parse(std::fs::read("/sys/kernel/btf/vmlinux").unwrap()).unwrap();
    let programs: BTreeSet<String> = info.programs.iter().map(|p| p.name.clone()).collect();
    let config = running::config();
    let facts = Facts {
        kernel_version: 0x0006_0000,
        has_syscall_wrapper: Some(true),
        has_bpf_cookie: Some(true),
    };
    let kconfig = known_kconfig_of(bytes, Some(&config), &facts).unwrap_or_else(|e| panic!("{name}: {e}"));
    let programs: BTreeSet<String> = match name {
        // One of its programs wants what no kernel has.
        "kconfig" => BTreeSet::from(["with_kconfig".to_owned()]),
        _ => programs,
    };
    // Hooks say what these attach to, and kernels differ in what they have.
    let attach: BTreeMap<String, AttachTo> = info
        .programs
        .iter()
        .filter_map(|p| {
            let name = match p.kind {
                ProgramKind::Fentry | ProgramKind::Fexit | ProgramKind::FmodRet => "do_exit",
                ProgramKind::Lsm => "file_open",
                _ => return None,
            };
            let to = AttachTo {
                module: None,
                name: name.into(),
            };
            Some((p.name.clone(), to))
        })
        .collect();
    let request = Request {
        attach: &attach,
        programs: Some(&programs),
        kconfig: Some(&kconfig),
        ..Request::new(Target::Kernel(Targets::kernel(&kernel)))
    };
    let resolved = resolve(bytes, &request).unwrap_or_else(|e| panic!("{name}: {e}"));
    let opened = aya_obj::Object::parse(&resolved.elf);
    let opened = opened.unwrap_or_else(|e| panic!("{name} in aya: {e}"));
    let found: BTreeSet<String> = opened.programs.keys().cloned().collect();
    assert_eq!(programs, found, "{name}");
    let mut wanted: BTreeSet<_> = info.maps.iter().map(|m| m.name.clone()).collect();
    if !kconfig.entries.is_empty() {
        wanted.insert(".rodata.kconfig".to_owned());
    }
    let found: BTreeSet<_> = opened.maps.keys().cloned().collect();
    assert_eq!(wanted, found, "maps of {name}");
}

#[test]
fn what_the_verifier_will_refuse_is_named() {
    let out = build("e2e/programs/build.sh");
    let objects = objects(out.path());
    let (_, bytes) = objects.iter().find(|(name, _)| name == "core_missing").unwrap();
    let info = inspect(bytes).unwrap();
    let messages: Vec<_> = (0..info.programs[0].instructions)
        .filter_map(|i| info.relocation_at("read_missing", i))
        .map(bpf_object::CoreRelocation::describe_missing)
        .collect();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(
        messages[0].starts_with(
            "field task_struct.bpfleet_no_such_field does not exist in this kernel; used at core_missing.bpf.c:"
        ),
        "{messages:?}"
    );
}
