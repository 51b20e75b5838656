//! What is in the images, and that nothing else decides their digests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends by panicking"
)]

mod common;

use std::io::Read as _;

use bpfleet_images::{
    component::{Component, Input, MAX_BYTES, Platform},
    image::{About, Image, ImageError, image, index},
    layout::{Names, layout},
    report::{rows, table},
};
use common::{CA_BUNDLE, about, made, program};
use flate2::read::GzDecoder;
use serde_json::Value;

/// Every entry of every layer, as `mode owner kind path time`.
fn listing(image: &Image) -> Vec<String> {
    let mut lines = Vec::new();
    for layer in &image.blobs[1..] {
        let mut archive = tar::Archive::new(GzDecoder::new(layer.bytes()));
        for entry in archive.entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            let owner = format!("{}:{}", header.uid().unwrap(), header.gid().unwrap());
            let path = entry.path().unwrap().display().to_string();
            let kind = if header.entry_type().is_dir() {
                "dir"
            } else {
                "file"
            };
            let (mode, time) = (header.mode().unwrap(), header.mtime().unwrap());
            lines.push(format!("{mode:04o} {owner} {kind} {path} {time}"));
        }
    }
    lines
}

fn config(image: &Image) -> Value {
    serde_json::from_slice(image.blobs[0].bytes()).unwrap()
}

#[test]
fn the_operators_image_holds_program_certificates_user_and_tmp() {
    let index = made(Component::Operator, &[Platform::Amd64]);
    let expected = [
        "0755 0:0 dir etc 0",
        "0644 0:0 file etc/group 0",
        "0644 0:0 file etc/passwd 0",
        "0755 0:0 dir etc/ssl 0",
        "0755 0:0 dir etc/ssl/certs 0",
        "0644 0:0 file etc/ssl/certs/ca-certificates.crt 0",
        "1777 0:0 dir tmp 0",
        "0755 0:0 file bpfleet-operator 0",
    ];
    assert_eq!(listing(&index.images[0]), expected);
    let config = config(&index.images[0]);
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(
        config["config"]["Entrypoint"],
        serde_json::json!(["/bpfleet-operator"])
    );
    assert_eq!(config["config"]["WorkingDir"], "/");
    let passwd = include_str!("../rootfs/etc/passwd");
    assert!(passwd.contains(":65532:65532:"), "the user has a name: {passwd}");
}

#[test]
fn the_agents_image_holds_its_program_alone_and_runs_as_root() {
    let index = made(Component::Agent, &[Platform::Arm64]);
    assert_eq!(listing(&index.images[0]), ["0755 0:0 file bpfleet-agent 0"]);
    let config = config(&index.images[0]);
    assert_eq!(config["config"]["User"], "0:0");
    assert_eq!(config["architecture"], "arm64");
    assert_eq!(config["os"], "linux");
}

#[test]
fn labels_say_what_it_is_and_name_no_place_of_sources() {
    let index = made(Component::Agent, &[Platform::Amd64]);
    let labels = config(&index.images[0])["config"]["Labels"].clone();
    let names: Vec<&String> = labels.as_object().unwrap().keys().collect();
    let expected = ["created", "description", "licenses", "title", "version"]
        .map(|name| format!("org.opencontainers.image.{name}"));
    assert_eq!(names, expected.iter().collect::<Vec<_>>());
    assert_eq!(labels["org.opencontainers.image.created"], "1970-01-01T00:00:00Z");
    assert_eq!(config(&index.images[0])["created"], "1970-01-01T00:00:00Z");
}

#[test]
fn the_index_has_both_platforms_whatever_the_order_they_came_in() {
    let one = made(Component::Operator, &[Platform::Amd64, Platform::Arm64]);
    let other = made(Component::Operator, &[Platform::Arm64, Platform::Amd64]);
    assert_eq!(one, other);
    let document: Value = serde_json::from_slice(one.blob.bytes()).unwrap();
    let platforms: Vec<String> = document["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|manifest| manifest["platform"].to_string())
        .collect();
    let expected = [
        r#"{"architecture":"amd64","os":"linux"}"#,
        r#"{"architecture":"arm64","os":"linux"}"#,
    ];
    assert_eq!(platforms, expected);
    let twice = vec![one.images[0].clone(), one.images[0].clone()];
    let error = index(Component::Operator, twice, &about()).unwrap_err();
    assert!(matches!(error, ImageError::Twice(..)), "{error}");
}

#[test]
fn each_part_of_the_input_has_an_effect_on_the_digest() {
    let binary = program(Platform::Amd64, false, b"1");
    let input = Input {
        binary: &binary,
        ca_bundle: CA_BUNDLE,
    };
    let make = |input: &Input<'_>, about: &About| {
        let image = image(Component::Operator, Platform::Amd64, input, about).unwrap();
        image.manifest.digest()
    };
    let first = make(&input, &about());
    assert_eq!(first, make(&input, &about()));
    let mut later = about();
    later.epoch = 1_700_000_000;
    let changed = program(Platform::Amd64, false, b"2");
    let binary = Input {
        binary: &changed,
        ..input
    };
    let bundle = Input {
        ca_bundle: b"other",
        ..input
    };
    let others = [
        make(&input, &later),
        make(&binary, &about()),
        make(&bundle, &about()),
    ];
    for other in others {
        assert_ne!(first, other);
    }
}

#[test]
fn digests_change_only_when_somebody_means_them_to() {
    // A new version of a compressor or of oci-spec may change these: then registries hold the same content
    // twice, which harms nobody, and the digests here are to be written anew.
    let digests = Component::ALL.map(|component| made(component, &Platform::ALL).blob.digest());
    assert_eq!(
        digests,
        [
            "sha256:933654f0c3e0d68f628510ada15d29f51d45f011b2fdde3cbfe868d88d58b4f4",
            "sha256:b27cd6fd772b1567bbd80038cbb88a670a2570030708318a608c7e85112fc568",
        ]
    );
}

#[test]
fn an_image_over_25_mib_is_refused_with_what_to_do() {
    let binary = vec![0; MAX_BYTES as usize];
    let input = Input {
        binary: &binary,
        ca_bundle: b"x",
    };
    let error = image(Component::Operator, Platform::Amd64, &input, &about()).unwrap_err();
    let said = error.to_string();
    for word in [
        "bpfleet-operator for amd64",
        "26214400",
        "cargo tree",
        "MAX_BYTES",
    ] {
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn a_time_without_a_date_is_refused() {
    let mut about = about();
    about.epoch = u64::MAX;
    let input = Input {
        binary: b"",
        ca_bundle: b"",
    };
    let error = image(Component::Agent, Platform::Amd64, &input, &about).unwrap_err();
    assert!(error.to_string().contains("SOURCE_DATE_EPOCH"), "{error}");
}

#[test]
fn the_archive_reads_back_as_the_layout_with_the_names_that_containerd_wants() {
    let indexes = Component::ALL.map(|component| made(component, &Platform::ALL));
    let names = Names::new("registry.example/team", "0.1.0").unwrap();
    let layout = layout(&indexes, &names).unwrap();
    let archive = layout.archive().unwrap();
    let mut files = std::collections::BTreeMap::new();
    for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(entry.path().unwrap().display().to_string(), bytes);
        }
    }
    assert_eq!(files, layout.files);
    let top: Value = serde_json::from_slice(&files["index.json"]).unwrap();
    let annotations = &top["manifests"][1]["annotations"];
    let full = "registry.example/team/bpfleet-agent:0.1.0";
    assert_eq!(annotations["io.containerd.image.name"], full);
    assert_eq!(
        annotations["org.opencontainers.image.ref.name"],
        "bpfleet-agent:0.1.0"
    );
}

#[test]
fn names_are_written_as_container_runtimes_write_them() {
    let full = |prefix| {
        let names = Names::new(prefix, "1").unwrap();
        names.full(Component::Agent)
    };
    assert_eq!(full("localhost"), "localhost/bpfleet-agent:1");
    assert_eq!(full("127.0.0.1:5000/a/b/"), "127.0.0.1:5000/a/b/bpfleet-agent:1");
    assert_eq!(full("team"), "docker.io/team/bpfleet-agent:1");
    assert_eq!(full(""), "docker.io/library/bpfleet-agent:1");
    for (prefix, tag) in [
        ("A B", "1"),
        ("x", ""),
        ("x", "1/2"),
        ("x", "a b"),
        ("x", "1@sha256:00"),
        ("https://x", "1"),
    ] {
        assert!(Names::new(prefix, tag).is_err(), "{prefix} {tag}");
    }
}

#[test]
fn the_table_lists_each_platform_with_digest_and_sizes() {
    let indexes = [made(Component::Agent, &Platform::ALL)];
    let layout = layout(&indexes, &Names::new("localhost", "0.1.0").unwrap()).unwrap();
    let rows = rows(&layout).unwrap();
    assert_eq!(rows[0].platforms[1].name, "arm64");
    assert_eq!(rows[0].platforms[1].unpacked, indexes[0].images[1].unpacked);
    let table = table(&rows);
    for part in [
        "localhost/bpfleet-agent:0.1.0",
        "arm64",
        "0.01 MiB",
        &rows[0].digest,
    ] {
        assert!(table.contains(part), "{table}");
    }
}
