//! The command, as a person or a script meets it.

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
    process::Output,
    time::{Duration, SystemTime},
};

use bpfleet_images::component::Platform;
use common::{Workshop, program, stderr, stdout};

fn failed(output: &Output, code: i32, words: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

#[test]
fn the_digest_depends_on_neither_order_nor_place_nor_time_of_the_files() {
    let (one, other) = (Workshop::new(), Workshop::new());
    for entry in fs::read_dir(other.dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(old)
            .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let table = stdout(&one.build(&["amd64", "arm64"], &[]));
    assert_eq!(table, stdout(&other.build(&["arm64", "amd64"], &[])));
    // Beyond the digests: every file of layout and archive.
    for workshop in [&one, &other] {
        stdout(&workshop.run(&["archive", "--layout", "layout", "--out", "images.tar"]));
    }
    let archive = fs::read(one.path("images.tar")).unwrap();
    assert!(archive == fs::read(other.path("images.tar")).unwrap());
    assert_eq!(table, stdout(&one.run(&["show", "layout"])));
}

#[test]
fn the_epoch_comes_from_source_date_epoch_or_its_flag() {
    let workshop = Workshop::new();
    let zero = stdout(&workshop.build(&["amd64"], &[]));
    let later = stdout(&workshop.build(&["amd64"], &["--epoch", "1700000000"]));
    assert_ne!(zero, later);
}

#[test]
fn building_again_leaves_nothing_of_the_layout_before() {
    let workshop = Workshop::new();
    stdout(&workshop.build(&["amd64", "arm64"], &[]));
    let count = || {
        fs::read_dir(workshop.path("layout/blobs/sha256"))
            .unwrap()
            .count()
    };
    let both = count();
    stdout(&workshop.build(&["amd64"], &["--tag", "2"]));
    assert!(count() < both);
    let names: Vec<_> = fs::read_dir(workshop.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        names.iter().all(|name| !name.to_string_lossy().starts_with('.')),
        "{names:?}"
    );
}

#[test]
fn a_directory_that_is_no_layout_is_left_alone() {
    let workshop = Workshop::new();
    fs::create_dir(workshop.path("layout")).unwrap();
    fs::write(workshop.path("layout/letters"), "dear").unwrap();
    failed(
        &workshop.build(&["amd64"], &[]),
        1,
        &["is no OCI layout", "remove it"],
    );
    assert_eq!(
        fs::read_to_string(workshop.path("layout/letters")).unwrap(),
        "dear"
    );
}

#[test]
fn programs_that_would_not_run_in_the_image_are_refused() {
    let workshop = Workshop::new();
    let agent = workshop.path("bpfleet-agent-amd64");
    fs::write(&agent, program(Platform::Amd64, true, b"")).unwrap();
    failed(
        &workshop.build(&["amd64"], &[]),
        1,
        &["bpfleet-agent-amd64", "dynamically", "scripts/static.sh"],
    );
    fs::write(&agent, program(Platform::Arm64, false, b"")).unwrap();
    failed(
        &workshop.build(&["amd64"], &[]),
        1,
        &["no program for amd64", "183"],
    );
    fs::write(&agent, "#!/bin/sh").unwrap();
    failed(&workshop.build(&["amd64"], &[]), 1, &["no 64-bit ELF"]);
    fs::remove_file(&agent).unwrap();
    failed(
        &workshop.build(&["amd64"], &[]),
        1,
        &["cannot read bpfleet-agent-amd64"],
    );
    fs::File::create(&agent).unwrap().set_len((25 << 20) + 1).unwrap();
    failed(
        &workshop.build(&["amd64"], &[]),
        1,
        &["bpfleet-agent-amd64", "larger than 26214400"],
    );
}

#[test]
fn certificates_must_be_some() {
    let workshop = Workshop::new();
    fs::write(workshop.path("ca.crt"), "").unwrap();
    failed(
        &workshop.build(&["amd64"], &[]),
        1,
        &["ca.crt has no certificate", "ca-certificates"],
    );
}

#[test]
fn a_directory_of_certificates_is_what_its_files_are_together_in_the_order_of_names() {
    let workshop = Workshop::new();
    let certificates = fs::read_to_string(workshop.path("ca.crt")).unwrap();
    fs::create_dir(workshop.path("roots")).unwrap();
    for (name, text) in [
        ("b.crt", "b\n"),
        ("a.crt", &certificates),
        ("private.key", "k\n"),
        ("Z.crt", "Z\n"),
    ] {
        fs::write(workshop.path("roots").join(name), text).unwrap();
    }
    let from_directory = stdout(&workshop.build(&["amd64"], &["--ca-bundle", "roots"]));
    fs::write(workshop.path("whole"), format!("Z\n{certificates}b\n")).unwrap();
    assert_eq!(
        from_directory,
        stdout(&workshop.build(&["amd64"], &["--ca-bundle", "whole"]))
    );
}

#[test]
fn a_damaged_layout_is_neither_shown_nor_archived_nor_pushed() {
    let workshop = Workshop::new();
    stdout(&workshop.build(&["amd64"], &[]));
    let blobs = workshop.path("layout/blobs/sha256");
    let blob = fs::read_dir(blobs).unwrap().next().unwrap().unwrap().path();
    fs::write(blob, "x").unwrap();
    for words in [
        vec!["show", "layout"],
        vec!["archive", "--layout", "layout", "--out", "images.tar"],
        vec!["push", "--layout", "layout", "--to", "127.0.0.1:1/x"],
    ] {
        failed(
            &workshop.run(&words),
            1,
            &["layout cannot be used", "build it again"],
        );
    }
    assert!(!workshop.path("images.tar").exists());
    failed(
        &workshop.run(&["show", "nothing"]),
        1,
        &["no OCI layout", "bpfleet-images build"],
    );
}

#[test]
fn a_wrong_command_line_ends_with_2_and_says_what_would_be_right() {
    let workshop = Workshop::new();
    failed(
        &workshop.build(&["riscv64"], &[]),
        2,
        &["neither amd64 nor arm64"],
    );
    failed(&workshop.run(&["build", "--operator", "x"]), 2, &["amd64=PATH"]);
    failed(&workshop.run(&[]), 2, &["Usage"]);
    let one_sided = ["--operator", "arm64=bpfleet-operator-arm64"];
    failed(
        &workshop.build(&["amd64"], &one_sided),
        1,
        &["different architectures"],
    );
    failed(
        &workshop.build(&["amd64"], &["--prefix", "A B"]),
        1,
        &["no image can be called"],
    );
}

#[test]
fn help_teaches() {
    let workshop = Workshop::new();
    let help = stdout(&workshop.run(&["--help"]));
    for word in ["scripts/images.sh", "Containerfile", "Exit codes"] {
        assert!(help.contains(word), "{help}");
    }
    assert!(stdout(&workshop.run(&["build", "--help"])).contains("Example:"));
    assert!(stdout(&workshop.run(&["push", "--help"])).contains("skopeo login"));
}
