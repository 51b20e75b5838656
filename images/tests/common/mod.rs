//! What several tests need.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends by panicking, and none uses all of this"
)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use bpfleet_images::{
    component::{Component, Input, Platform},
    image::{About, Index, image, index},
};

/// Something that passes for certificates.
pub const CA_BUNDLE: &[u8] = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

/// The smallest program for a platform: headers only, and some bytes that make it differ from others. Dynamic
/// ones have the segment that names a loader.
pub fn program(platform: Platform, dynamic: bool, content: &[u8]) -> Vec<u8> {
    let machine: u16 = match platform {
        Platform::Amd64 => 62,
        Platform::Arm64 => 183,
    };
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend(2_u16.to_le_bytes()); // an executable
    bytes.extend(machine.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes()); // version
    bytes.extend(0_u64.to_le_bytes()); // entry
    bytes.extend(64_u64.to_le_bytes()); // program headers follow
    bytes.extend(0_u64.to_le_bytes()); // no sections
    bytes.extend(0_u32.to_le_bytes()); // flags
    for half in [64_u16, 56, 1, 64, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    let kind: u32 = if dynamic { 3 } else { 1 };
    bytes.extend(kind.to_le_bytes());
    bytes.resize(64 + 56, 0);
    bytes.extend(content);
    bytes
}

/// What stands in test images.
pub fn about() -> About {
    About {
        version: "0.1.0".into(),
        licenses: "Apache-2.0".into(),
        epoch: 0,
    }
}

/// The index of a component for these platforms, in this order.
pub fn made(component: Component, platforms: &[Platform]) -> Index {
    let images = platforms.iter().map(|platform| {
        let binary = program(*platform, false, component.name().as_bytes());
        let input = Input {
            binary: &binary,
            ca_bundle: CA_BUNDLE,
        };
        image(component, *platform, &input, &about()).unwrap()
    });
    index(component, images.collect(), &about()).unwrap()
}

/// Input files in a directory, and the command that builds from them.
pub struct Workshop {
    /// The directory.
    pub dir: tempfile::TempDir,
}

impl Workshop {
    /// Writes programs for both platforms, and certificates.
    pub fn new() -> Workshop {
        let dir = tempfile::tempdir().unwrap();
        for component in Component::ALL {
            for platform in Platform::ALL {
                let path = dir
                    .path()
                    .join(format!("{}-{}", component.name(), platform.name()));
                let content = program(platform, false, component.name().as_bytes());
                std::fs::write(path, content).unwrap();
            }
        }
        std::fs::write(dir.path().join("ca.crt"), CA_BUNDLE).unwrap();
        Workshop { dir }
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `bpfleet-images build` into `layout`, for these platforms in this order.
    pub fn build(&self, platforms: &[&str], more: &[&str]) -> Output {
        let mut command = command(self.dir.path());
        command.args(["build", "--out", "layout"]);
        if !more.contains(&"--ca-bundle") {
            command.args(["--ca-bundle", "ca.crt"]);
        }
        for platform in platforms {
            command
                .arg("--operator")
                .arg(format!("{platform}=bpfleet-operator-{platform}"));
            command
                .arg("--agent")
                .arg(format!("{platform}=bpfleet-agent-{platform}"));
        }
        command.args(more).output().unwrap()
    }

    /// Any other command in it.
    pub fn run(&self, words: &[&str]) -> Output {
        command(self.dir.path()).args(words).output().unwrap()
    }
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bpfleet-images"));
    command.current_dir(dir).env_remove("SOURCE_DATE_EPOCH");
    command
}

/// Standard output of a command that must have succeeded.
pub fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command said.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The files of a repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
