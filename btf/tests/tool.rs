//! The command `btf`, as people use it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bpf_oracle::corpus;
use btf::{Btf, Kind};

fn btf(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_btf"))
        .args(args)
        .output()
        .unwrap()
}

fn ok(args: &[&str]) -> String {
    let out = btf(args);
    let stderr = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success(), "btf {args:?}: {stderr}");
    String::from_utf8(out.stdout).unwrap() + &stderr
}

fn refused(args: &[&str]) -> String {
    let out = btf(args);
    assert_eq!(out.status.code(), Some(1), "btf {args:?}");
    assert!(out.stdout.is_empty());
    String::from_utf8(out.stderr).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An object and a kernel to cut for it, with a module of that kernel.
fn sample() -> (PathBuf, PathBuf, PathBuf) {
    let corpus = corpus::ensure().unwrap();
    let object = corpus
        .objects
        .iter()
        .find(|o| o.name == "biolatency.bpf.o")
        .unwrap();
    let kernel = corpus.kernels.iter().find(|k| !k.modules.is_empty()).unwrap();
    (
        object.path.clone(),
        kernel.btf.clone(),
        kernel.modules[0].1.clone(),
    )
}

#[test]
fn min_writes_btf_that_has_what_the_object_asks_for_and_says_what_was_found() {
    let dir = tempfile::tempdir().unwrap();
    let (object, kernel, module) = sample();
    let out = dir.path().join("min.btf");
    fs::write(&out, "was here before").unwrap();
    let args = ["min", text(&object), "--btf", text(&kernel), "-o", text(&out)];
    assert_eq!(ok(&args), "");
    let bytes = fs::read(&out).unwrap();
    let left = Btf::parse(bytes.as_slice()).unwrap();
    assert!(left.find(Kind::Struct, b"request").is_some());
    assert!(left.find(Kind::Struct, b"task_struct").is_none());
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "nothing is left beside it"
    );

    let mut verbose = args.to_vec();
    verbose.extend(["-v", "--module", text(&module)]);
    let said = ok(&verbose);
    assert!(
        said.starts_with(&format!("btf: {} bytes; ", bytes.len())) && said.contains(" relocations found "),
        "{said}"
    );
    // To standard output the same bytes.
    let piped = btf(&["min", text(&object), "--btf", text(&kernel), "-o", "-"]);
    assert_eq!(piped.stdout, bytes);
}

#[test]
fn min_takes_several_objects_and_its_own_output() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = corpus::ensure().unwrap();
    let (_, kernel, _) = sample();
    let objects: Vec<&str> = corpus.objects.iter().take(5).map(|o| text(&o.path)).collect();
    let (once, twice) = (dir.path().join("once"), dir.path().join("twice"));
    let run = |from: &Path, to: &Path| {
        let mut args = vec!["min"];
        args.extend(&objects);
        args.extend(["--btf", text(from), "--output", text(to)]);
        ok(&args);
        fs::read(to).unwrap()
    };
    assert_eq!(run(&kernel, &once), run(&once, &twice));
}

#[test]
fn dump_shows_types_by_name_as_c() {
    let (object, kernel, module) = sample();
    let shown = ok(&["dump", text(&kernel), "list_head"]);
    let body = "struct list_head {\n    struct list_head *next; /* 0 */\n    struct list_head *prev; /* 8 */\n} /* 16 bytes */\n";
    assert!(shown.ends_with(body), "{shown}");
    assert!(ok(&["dump", text(&object)]).contains("section \"license\""));
    let of_module = ok(&["dump", "-B", text(&kernel), text(&module)]);
    assert!(of_module.lines().count() > 10);
}

#[test]
fn what_cannot_be_done_is_said_with_file_and_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (object, kernel, module) = sample();
    let (object, kernel, module) = (text(&object), text(&kernel), text(&module));
    let path = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let out = dir.path().join("out");
    let out = text(&out);
    let (empty, words) = (path("empty", b""), path("words", b"not BTF at all"));
    let elf = path("elf", b"\x7fELF\x02\x01\x01");
    for (args, expected) in [
        (
            vec!["min", object, "--btf", "/nowhere", "-o", out],
            "btf: cannot read /nowhere: No such file or directory (os error 2)\n".to_owned(),
        ),
        (
            vec!["min", object, "--btf", &words, "-o", out],
            format!(
                "btf: {words} cannot be read as BTF: it does not begin with BTF's magic number (0xeb9f)\n"
            ),
        ),
        (
            vec!["min", object, "--btf", &empty, "-o", out],
            format!(
                "btf: {empty} cannot be read as BTF: it does not begin with BTF's magic number (0xeb9f)\n"
            ),
        ),
        (
            vec!["min", object, "--btf", module, "-o", out],
            format!(
                "btf: {module} cannot be read as BTF: its strings do not begin and end with a NUL; BTF of a module is \
                 read together with its kernel's\n"
            ),
        ),
        (
            vec!["min", object, "--btf", kernel, "-o", "/nowhere/out"],
            "btf: cannot write /nowhere/out: No such file or directory (os error 2)".to_owned(),
        ),
        (
            vec!["dump", kernel, "no_such_type"],
            format!("btf: {kernel} has no type called no_such_type\n"),
        ),
        (
            vec!["min", &elf, "--btf", kernel, "-o", out],
            format!("btf: {elf} cannot be read as an ELF file: "),
        ),
    ] {
        let said = refused(&args);
        assert!(
            said.starts_with(&expected),
            "btf {args:?}: {said:?}, and not {expected:?}"
        );
    }
    assert!(!Path::new(out).exists(), "nothing is written on an error");
    assert_eq!(
        btf(&["min", object]).status.code(),
        Some(2),
        "how it is used wrongly"
    );
}
