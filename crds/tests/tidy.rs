//! What ARCHITECTURE.md says of the crates, as far as a machine can check it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends by panicking"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Longest file of source, script or document, in lines.
const MAX_LINES: usize = 600;

/// Each crate of ours and which others of ours it may use.
const ARROWS: [(&str, &[&str]); 9] = [
    ("bpfleet-crds", &[]),
    ("btf", &[]),
    ("bpf-object", &["btf"]),
    ("bpfleet-fit", &["bpfleet-crds", "bpf-object", "btf"]),
    (
        "bpfleet-operator",
        &["bpfleet-crds", "bpf-object", "bpfleet-fit", "btf"],
    ),
    (
        "bpfleet-agent",
        &["bpfleet-crds", "bpf-object", "bpfleet-fit", "btf"],
    ),
    ("bpf-oracle", &[]),
    ("bpfleet-images", &[]),
    // The harness runs the others as programs, as a cluster does; the kernels of its nodes come from where the oracle has
    // them.
    ("bpfleet-e2e", &["bpfleet-crds", "bpf-oracle"]),
];

/// Whose tests may start the harness, which knows none of them.
const HARNESSED: [&str; 3] = ["bpfleet-operator", "bpfleet-agent", "bpfleet-images"];

/// Whose tests may compare with libbpf and Debian's kernels.
const COMPARED: [&str; 3] = ["btf", "bpf-object", "bpfleet-agent"];

/// Where `unsafe` may stand: in the kernel's door, in one function that maps a file, and before libbpf in tests.
const UNSAFE: [&str; 3] = [
    "node-agent/src/kernel/",
    "btf/src/bin/btf/map.rs",
    "oracle/src/libbpf/",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let run = Command::new(cargo)
        .args(arguments)
        .arg("--offline")
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&run.stderr)
    );
    String::from_utf8(run.stdout).unwrap()
}

fn packages() -> Vec<Value> {
    let text = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&text).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// The files of the repository whose names end so, with their paths from its root. Generated and built things
/// lie below directories that are left out.
fn files(endings: &[&str]) -> Vec<(String, String)> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !path.is_symlink() {
                if !["target", ".git"].contains(&name) {
                    walk(&path, found);
                }
            } else {
                found.push(path);
            }
        }
    }
    let root = root();
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    let files: Vec<(String, String)> = paths
        .into_iter()
        .filter(|path| {
            endings
                .iter()
                .any(|ending| path.to_str().unwrap().ends_with(ending))
        })
        .map(|path| {
            let text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (
                path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(),
                text,
            )
        })
        .collect();
    assert!(!files.is_empty());
    files
}

/// Lines of code that use `unsafe`, and attributes that allow it; not words in comments or text.
fn uses_unsafe(text: &str) -> bool {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .filter(|line| !line.contains("forbid(unsafe_code)"))
        .any(|line| {
            let keyword = [
                "unsafe {",
                "unsafe fn ",
                "unsafe impl ",
                "unsafe trait ",
                "unsafe extern ",
                "[unsafe(",
            ];
            keyword.iter().any(|word| line.contains(word)) || line.contains("unsafe_code")
        })
}

#[test]
fn crates_use_each_other_only_along_the_arrows() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let packages = packages();
    let ours: BTreeSet<&str> = packages
        .iter()
        .map(|package| package["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        ours,
        arrows.keys().copied().collect(),
        "a crate without arrows: say in ARROWS which it may use"
    );
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            let other = dependency["name"].as_str().unwrap();
            let harness = other == "bpfleet-e2e" && dependency["kind"] == "dev" && HARNESSED.contains(&name);
            let oracle = other == "bpf-oracle" && dependency["kind"] == "dev" && COMPARED.contains(&name);
            if ours.contains(other) && !harness && !oracle {
                assert!(
                    arrows[name].contains(&other),
                    "{name} may not use {other}, not even in its tests"
                );
            }
        }
    }
}

#[test]
fn the_pure_crates_bring_no_client_and_no_runtime() {
    for package in ["bpfleet-crds", "btf", "bpf-object", "bpfleet-fit"] {
        let mut arguments = vec!["tree", "-p", package, "-e", "normal", "--prefix", "none"];
        if package == "btf" {
            // Its command reads files.
            arguments.push("--no-default-features");
        }
        let tree = cargo(&arguments);
        assert!(tree.starts_with(package), "{tree}");
        let banned = [
            "tokio",
            "hyper",
            "kube-client",
            "kube-runtime",
            "reqwest",
            "aya",
            "nix",
            "memmap2",
            "libbpf-sys",
        ];
        let found: Vec<&str> = tree
            .lines()
            .filter(|line| banned.contains(&line.split(' ').next().unwrap_or_default()))
            .collect();
        assert!(
            found.is_empty(),
            "{package} does no I/O, and yet depends on {found:?}"
        );
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for package in packages() {
        let manifest = fs::read_to_string(package["manifest_path"].as_str().unwrap()).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{}",
            package["name"]
        );
    }
}

#[test]
fn unsafe_code_stands_where_it_is_known_to_be() {
    let mut allowed = BTreeSet::new();
    for (path, text) in files(&[".rs"]) {
        if let Some(place) = UNSAFE.iter().find(|place| path.starts_with(**place)) {
            if uses_unsafe(&text) {
                allowed.insert(place);
            }
        } else if path != "crds/tests/tidy.rs" {
            assert!(
                !uses_unsafe(&text),
                "{path} uses unsafe code or allows it; it belongs below {UNSAFE:?}"
            );
        }
    }
    assert_eq!(
        allowed.len(),
        UNSAFE.len(),
        "nothing was found where unsafe code is known to be: does this test still look for it?"
    );
}

#[test]
fn no_file_is_long() {
    let long: Vec<String> = files(&[".rs", ".sh", ".c", ".h", ".md"])
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(path, lines)| format!("{path}: {lines}"))
        .collect();
    assert!(
        long.is_empty(),
        "split these, none may have more than {MAX_LINES} lines: {long:#?}"
    );
}
