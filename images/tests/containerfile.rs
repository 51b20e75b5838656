//! Containerfile and `bpfleet-images` make the same images.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends by panicking"
)]

mod common;

use std::{collections::BTreeSet, fs};

use bpfleet_images::{
    component::{Component, Input, Platform},
    image::{About, image},
    tree::{Node, Tree},
};
use common::{CA_BUNDLE, repository};
use serde_json::Value;

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The instructions of Containerfile, with continued lines joined and comments left out.
fn instructions() -> Vec<String> {
    let lines: Vec<String> = read("Containerfile")
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .map(str::to_owned)
        .collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    joined
        .lines()
        .map(words)
        .filter(|line| !line.is_empty())
        .collect()
}

/// The instructions of the stage of this name.
fn stage(name: &str) -> Vec<String> {
    let end = format!(" AS {name}");
    let all = instructions();
    let start = all
        .iter()
        .position(|line| line.starts_with("FROM ") && line.ends_with(&end));
    let rest = &all[start.unwrap_or_else(|| panic!("no stage {name}"))..];
    let length = rest
        .iter()
        .skip(1)
        .take_while(|line| !line.starts_with("FROM "))
        .count();
    rest[..=length].to_vec()
}

/// What the build stage installs into a component's root, as `mode path`, directories above left out.
fn installed(component: &str) -> BTreeSet<String> {
    let root = format!("/rootfs/{component}/");
    let all = stage("build").join(" ; ");
    all.split(';')
        .map(str::trim)
        .filter(|command| command.starts_with("install "))
        .filter_map(|command| {
            let words: Vec<&str> = command.split(' ').collect();
            let mode = words[words.iter().position(|word| *word == "-m").unwrap() + 1];
            let path = words.last().unwrap().strip_prefix(&root)?;
            Some(format!("{mode} {path}"))
        })
        .collect()
}

fn expected(component: Component) -> BTreeSet<String> {
    let input = Input {
        binary: b"",
        ca_bundle: CA_BUNDLE,
    };
    let trees: [Tree; 2] = [
        component.base(&input).unwrap(),
        component.program(&input).unwrap(),
    ];
    let mut paths = BTreeSet::new();
    for (path, node) in trees.iter().flat_map(Tree::entries) {
        match node {
            Node::File { mode, .. } => paths.insert(format!("{mode:04o} {path}")),
            // `install -D` makes those of this mode by itself.
            Node::Directory { mode: 0o755 } => false,
            Node::Directory { mode } => paths.insert(format!("{mode:04o} {path}")),
        };
    }
    paths
}

#[test]
fn both_put_the_same_paths_with_the_same_modes_into_the_images() {
    assert_eq!(installed("operator"), expected(Component::Operator));
    assert_eq!(installed("agent"), expected(Component::Agent));
}

#[test]
fn both_give_the_images_the_same_user_entrypoint_and_labels() {
    let about = About {
        version: env!("CARGO_PKG_VERSION").into(),
        licenses: env!("CARGO_PKG_LICENSE").into(),
        epoch: 0,
    };
    for (component, name) in [(Component::Operator, "operator"), (Component::Agent, "agent")] {
        let input = Input {
            binary: b"",
            ca_bundle: CA_BUNDLE,
        };
        let image = image(component, Platform::Amd64, &input, &about).unwrap();
        let config: Value = serde_json::from_slice(image.blobs[0].bytes()).unwrap();
        let config = &config["config"];
        let mut lines = vec![
            format!("FROM scratch AS {name}"),
            format!("COPY --from=build /rootfs/{name}/ /"),
            format!("USER {}", config["User"].as_str().unwrap()),
            format!("WORKDIR {}", config["WorkingDir"].as_str().unwrap()),
            format!("ENTRYPOINT {}", config["Entrypoint"]),
        ];
        for (label, value) in config["Labels"].as_object().unwrap() {
            lines.push(format!("LABEL {label}={value}"));
        }
        let expected: BTreeSet<String> = lines.into_iter().collect();
        let found: BTreeSet<String> = stage(name).into_iter().collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn the_build_stage_has_the_toolchain_of_the_repository() {
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain.split('"').nth(1).unwrap();
    let build = stage("build");
    let from = format!("FROM --platform=$BUILDPLATFORM docker.io/library/rust:{channel}-bookworm AS build");
    assert_eq!(build[0], from);
    assert!(build.contains(&format!("ENV RUSTUP_TOOLCHAIN={channel}")));
}

#[test]
fn neither_takes_certificates_that_somebody_added_to_the_build_machine() {
    let build = stage("build").join("\n");
    assert!(build.contains("cat /usr/share/ca-certificates/mozilla/*.crt"));
    assert!(!build.contains(" /etc/ssl/"), "the machine's own store: {build}");
    assert!(read("scripts/images.sh").contains("\nca_bundle=/usr/share/ca-certificates/mozilla\n"));
}

#[test]
fn both_build_with_the_same_script() {
    assert!(
        stage("build")
            .iter()
            .any(|line| line.starts_with("RUN scripts/static.sh \"$TARGETARCH\""))
    );
    assert!(read("scripts/images.sh").contains("scripts/static.sh \"$arch\""));
}

#[test]
fn what_containerignore_lets_through_is_what_is_copied_and_has_every_crate() {
    let ignore = read(".containerignore");
    let allowed: BTreeSet<&str> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let stage = stage("build");
    let copied: BTreeSet<&str> = stage
        .iter()
        .filter_map(|line| line.strip_prefix("COPY "))
        .flat_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            words[..words.len() - 1].to_vec()
        })
        .collect();
    assert_eq!(copied, allowed);
    let manifest = read("Cargo.toml");
    let members = manifest.lines().find(|line| line.starts_with("members")).unwrap();
    for member in members.split('"').skip(1).step_by(2) {
        assert!(copied.contains(member), "{member} is not copied");
    }
}
