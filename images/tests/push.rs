//! Images in a real registry, there and back. Needs docker-registry and skopeo; scripts/setup.sh installs both.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends by panicking"
)]

mod common;

use std::{fs, process::Command};

use bpfleet_e2e::Registry;
use common::{Workshop, stderr, stdout};
use serde_json::Value;

fn skopeo(workshop: &Workshop, words: &[&str]) -> String {
    let output = Command::new("skopeo")
        .arg("--insecure-policy")
        .args(words)
        .current_dir(workshop.dir.path())
        .output()
        .expect("skopeo runs; scripts/setup.sh installs it");
    stdout(&output)
}

#[test]
fn what_is_pushed_comes_back_by_digest_with_both_platforms() {
    let registry = Registry::start().unwrap();
    let workshop = Workshop::new();
    stdout(&workshop.build(&["amd64", "arm64"], &[]));
    let to = format!("{}/team", registry.host());
    let push = ["push", "--layout", "layout", "--plain-http", "--to", &to];
    let pushed = stdout(&workshop.run(&push));
    let names: Vec<&str> = pushed.lines().collect();
    assert_eq!(names.len(), 2, "{pushed}");
    assert!(
        names[0].starts_with(&format!("{to}/bpfleet-operator@sha256:")),
        "{pushed}"
    );

    for name in &names {
        let source = format!("docker://{name}");
        let flags = [
            "copy",
            "--quiet",
            "--all",
            "--preserve-digests",
            "--src-tls-verify=false",
        ];
        skopeo(&workshop, &[&flags[..], &[&source, "oci:back"]].concat());
    }
    for blob in fs::read_dir(workshop.path("layout/blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let back = workshop.path("back/blobs/sha256").join(path.file_name().unwrap());
        assert!(
            fs::read(&path).unwrap() == fs::read(&back).unwrap(),
            "{}",
            path.display()
        );
    }
    // By tag as well, and a second push of the same is no error.
    let tagged = format!("docker://{to}/bpfleet-agent:{}", env!("CARGO_PKG_VERSION"));
    let raw = skopeo(&workshop, &["inspect", "--tls-verify=false", "--raw", &tagged]);
    let index: Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
    assert_eq!(stdout(&workshop.run(&push)), pushed);
}

#[test]
fn skopeo_reads_the_archive_and_finds_the_config_we_wrote() {
    let workshop = Workshop::new();
    stdout(&workshop.build(&["amd64", "arm64"], &[]));
    stdout(&workshop.run(&["archive", "--layout", "layout", "--out", "images.tar"]));
    for (name, user) in [("bpfleet-operator", "65532:65532"), ("bpfleet-agent", "0:0")] {
        for arch in ["amd64", "arm64"] {
            let source = format!("oci-archive:images.tar:{name}:{}", env!("CARGO_PKG_VERSION"));
            let words = [
                "--override-arch",
                arch,
                "--override-os",
                "linux",
                "inspect",
                "--config",
                &source,
            ];
            let config: Value = serde_json::from_str(&skopeo(&workshop, &words)).unwrap();
            assert_eq!(config["architecture"], arch);
            assert_eq!(config["config"]["User"], user);
            assert_eq!(config["config"]["Entrypoint"][0], format!("/{name}"));
        }
    }
}

#[test]
fn a_push_that_is_refused_says_what_to_do() {
    let workshop = Workshop::new();
    stdout(&workshop.build(&["amd64"], &[]));
    let refused = |to: &str, more: &[&str], word: &str| {
        let words = [&["push", "--layout", "layout", "--to", to], more].concat();
        let output = workshop.run(&words);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("cannot push bpfleet-operator:") && said.contains(word),
            "{said}"
        );
    };
    let closed = Registry::start_with_password().unwrap();
    refused(
        &closed.host(),
        &["--plain-http"],
        &format!("skopeo login {}", closed.host()),
    );
    refused(&closed.host(), &[], "--plain-http");
    let host = closed.host();
    closed.kill().unwrap();
    refused(&host, &["--plain-http"], "reachable");
}

#[test]
fn without_skopeo_a_push_says_how_to_get_it() {
    let workshop = Workshop::new();
    stdout(&workshop.build(&["amd64"], &[]));
    let output = Command::new(env!("CARGO_BIN_EXE_bpfleet-images"))
        .args(["push", "--layout", "layout", "--to", "127.0.0.1:1/x"])
        .current_dir(workshop.dir.path())
        .env("PATH", workshop.dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("apt-get install skopeo"),
        "{}",
        stderr(&output)
    );
}
