//! What the two images are: the one place that says it. `Containerfile` says it again, and a test compares.

use oci_spec::image::Arch;

use crate::tree::{Node, PathError, Tree};

/// Largest image, uncompressed. An agent's image is pulled by every node of a cluster.
pub const MAX_BYTES: u64 = 25 << 20;
/// Where, in the image, TLS clients look for the roots of public certificate authorities.
pub const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// One of the two programs that run in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// `bpfleet-operator`.
    Operator,
    /// `bpfleet-agent`.
    Agent,
}

/// An architecture that images are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Platform {
    /// `amd64`: x86-64.
    Amd64,
    /// `arm64`: AArch64.
    Arm64,
}

/// What an image is made from, besides constants.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The program.
    pub binary: &'a [u8],
    /// Certificates of public authorities in PEM; only the operator's image takes them.
    pub ca_bundle: &'a [u8],
}

impl Component {
    /// Both.
    pub const ALL: [Component; 2] = [Component::Operator, Component::Agent];

    /// Name of program and image.
    pub fn name(self) -> &'static str {
        match self {
            Component::Operator => "bpfleet-operator",
            Component::Agent => "bpfleet-agent",
        }
    }

    /// One line for people who find the image in a registry.
    pub fn description(self) -> &'static str {
        match self {
            Component::Operator => "Operator of bpfleet: distributes eBPF programs to the nodes of a cluster",
            Component::Agent => "Agent of bpfleet: loads and attaches eBPF programs on a node",
        }
    }

    /// `UID:GID` it runs as. The agent loads programs into the kernel, which wants root.
    pub fn user(self) -> &'static str {
        match self {
            Component::Operator => "65532:65532",
            Component::Agent => "0:0",
        }
    }

    /// The program's path in the image; it is the entrypoint.
    pub fn entrypoint(self) -> String {
        format!("/{}", self.name())
    }

    /// Everything but the program, which changes seldom and therefore is a layer of its own. The agent's
    /// image has nothing else: its TLS connections trust the cluster's authorities only, and it writes to
    /// directories of the host.
    ///
    /// # Errors
    /// None that can be met: the paths are constants.
    pub fn base(self, input: &Input<'_>) -> Result<Tree, PathError> {
        let mut tree = Tree::new();
        if self == Component::Operator {
            let file = |bytes: &[u8]| Node::File {
                mode: 0o644,
                bytes: bytes.to_vec(),
            };
            tree.add("/etc/passwd", file(include_bytes!("../rootfs/etc/passwd")))?;
            tree.add("/etc/group", file(include_bytes!("../rootfs/etc/group")))?;
            tree.add(CA_BUNDLE, file(input.ca_bundle))?;
            tree.add("/tmp", Node::Directory { mode: 0o1777 })?;
        }
        Ok(tree)
    }

    /// The program.
    ///
    /// # Errors
    /// None that can be met: the path is a constant.
    pub fn program(self, input: &Input<'_>) -> Result<Tree, PathError> {
        let mut tree = Tree::new();
        let node = Node::File {
            mode: 0o755,
            bytes: input.binary.to_vec(),
        };
        tree.add(&self.entrypoint(), node)?;
        Ok(tree)
    }
}

impl Platform {
    /// All.
    pub const ALL: [Platform; 2] = [Platform::Amd64, Platform::Arm64];

    /// Its name in OCI documents, which is Go's.
    pub fn name(self) -> &'static str {
        match self {
            Platform::Amd64 => "amd64",
            Platform::Arm64 => "arm64",
        }
    }

    /// Its name in oci-spec.
    pub fn arch(self) -> Arch {
        match self {
            Platform::Amd64 => Arch::Amd64,
            Platform::Arm64 => Arch::ARM64,
        }
    }

    /// The one of this name.
    pub fn parse(name: &str) -> Option<Platform> {
        Platform::ALL.into_iter().find(|platform| platform.name() == name)
    }
}
