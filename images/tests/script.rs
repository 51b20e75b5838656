//! scripts/static.sh and scripts/images.sh, with a toolchain that is played: what they ask for and what they refuse.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends by panicking"
)]

mod common;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output},
};

use common::{repository, stderr, stdout};

/// A directory with commands that stand before the real ones.
struct Toolchain(tempfile::TempDir);

impl Toolchain {
    /// An amd64 machine's Rust with these targets. Its cargo prints what it was told.
    fn new(targets: &[&str]) -> Toolchain {
        let toolchain = Toolchain(tempfile::tempdir().unwrap());
        let root = toolchain.0.path().display().to_string();
        for target in targets {
            fs::create_dir_all(toolchain.0.path().join(format!("lib/rustlib/{target}/lib"))).unwrap();
        }
        let rustc =
            format!("case $1 in -vV) echo host: x86_64-unknown-linux-gnu ;; --print) echo {root} ;; esac");
        toolchain.command("rustc", &rustc);
        toolchain.command(
            "cargo",
            "echo cargo \"$@\" >&2; env | grep -E '^(CARGO|CC|CFLAGS|RUSTFLAGS)' >&2",
        );
        toolchain.command("cc", "echo /usr/lib/libc.a");
        toolchain
    }

    fn command(&self, name: &str, script: &str) {
        let path = self.0.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn run(&self, script: &str, words: &[&str]) -> Output {
        let path = std::env::var("PATH").unwrap();
        Command::new(repository().join(script))
            .args(words)
            .env("PATH", format!("{}:{path}", self.0.path().display()))
            .env("CARGO_TARGET_DIR", self.0.path().join("out"))
            .env("RUSTFLAGS", "-C debuginfo=2")
            .env_remove("CARGO_HOME")
            .env("HOME", "/home/somebody")
            .output()
            .unwrap()
    }
}

#[test]
fn what_another_architecture_needs_is_said_as_commands() {
    // The linker may be on this machine; here it finds no libc.
    let toolchain = Toolchain::new(&["x86_64-unknown-linux-gnu"]);
    toolchain.command("aarch64-linux-gnu-gcc", "echo libc.a");
    let output = toolchain.run("scripts/images.sh", &["--arch", "arm64"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    for line in [
        "cannot build for arm64 yet",
        "    rustup target add aarch64-unknown-linux-gnu\n",
        "    apt-get install libc6-dev-arm64-cross\n",
    ] {
        assert!(said.contains(line), "{said}");
    }
    assert!(!said.contains("\ncargo "), "nothing is built: {said}");
}

#[test]
fn arm64_is_built_with_its_own_linker_and_static() {
    let toolchain = Toolchain::new(&["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"]);
    toolchain.command("aarch64-linux-gnu-gcc", "echo /usr/aarch64-linux-gnu/lib/libc.a");
    let output = toolchain.run("scripts/static.sh", &["arm64"]);
    assert!(
        stdout(&output)
            .trim_end()
            .ends_with("/out/aarch64-unknown-linux-gnu/release")
    );
    let said = stderr(&output);
    for line in [
        "cargo build --release --locked --target aarch64-unknown-linux-gnu -p bpfleet-operator -p bpfleet-agent\n",
        "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc\n",
        "CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc\n",
        "CARGO_ENCODED_RUSTFLAGS=-Ctarget-feature=+crt-static\u{1f}--remap-path-prefix=",
        "=/bpfleet\u{1f}--remap-path-prefix=/home/somebody/.cargo=/cargo\u{1f}",
    ] {
        assert!(said.contains(line), "{line:?} is not in: {said}");
    }
    assert!(
        !said.contains("\nRUSTFLAGS="),
        "a developer's flags stay out: {said}"
    );
}

#[test]
fn this_machines_architecture_needs_no_cross_linker() {
    let toolchain = Toolchain::new(&["x86_64-unknown-linux-gnu"]);
    let output = toolchain.run("scripts/static.sh", &["amd64", "bpfleet-images"]);
    stdout(&output);
    let said = stderr(&output);
    assert!(
        said.contains("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=cc\n"),
        "{said}"
    );
    assert!(
        said.contains("x86_64-unknown-linux-gnu -p bpfleet-images\n"),
        "{said}"
    );
}

#[test]
fn a_wrong_command_line_ends_with_2_before_anything_is_built() {
    let toolchain = Toolchain::new(&["x86_64-unknown-linux-gnu"]);
    for words in [
        &["--arch", "riscv64"][..],
        &["--frob"],
        &["--push"],
        &["--archive", ""],
    ] {
        let output = toolchain.run("scripts/images.sh", words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(stderr(&output).contains("images.sh --help"), "{words:?}");
    }
    assert_eq!(
        toolchain.run("scripts/static.sh", &["s390x"]).status.code(),
        Some(2)
    );
    let help = stdout(&toolchain.run("scripts/images.sh", &["--help"]));
    for word in [
        "--archive FILE",
        "--push HOST/PREFIX",
        "--arch all",
        "ctr -n k8s.io images import",
    ] {
        assert!(help.contains(word), "{help}");
    }
}
