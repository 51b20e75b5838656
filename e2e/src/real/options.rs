//! What a real cluster shall be like.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A cluster: its nodes, and how soon it notices that one is dead.
#[derive(Clone, Debug)]
pub struct RealOptions {
    /// The nodes. The first one also runs CoreDNS: a test that kills a node takes another.
    pub nodes: Vec<NodeOptions>,
    /// How long a silent node counts as Ready; nothing for Kubernetes' own 50 s. A short time costs requests
    /// and, on an overloaded machine, takes living nodes for dead.
    pub node_grace: Option<Duration>,
}

impl Default for RealOptions {
    /// Two ordinary nodes, `node1` and `node2`.
    fn default() -> RealOptions {
        RealOptions::with_nodes(["node1", "node2"].map(NodeOptions::named))
    }
}

impl RealOptions {
    /// A cluster of the given nodes.
    pub fn with_nodes(nodes: impl IntoIterator<Item = NodeOptions>) -> RealOptions {
        RealOptions {
            nodes: nodes.into_iter().collect(),
            node_grace: None,
        }
    }
}

/// A node, and what it lacks in comparison with an ordinary one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeOptions {
    /// Its host name and the name of its Node; a DNS label.
    pub name: String,
    /// Whether a bpffs is mounted at `/sys/fs/bpf`.
    pub bpffs: bool,
    /// What there is at `/sys/kernel/tracing`.
    pub tracefs: Tracefs,
    /// Whether `/` is read-only, as on an immutable system: only `/var/lib/kubelet`, `/var/lib/containerd`,
    /// `/var/lib/cni`, `/var/log`, `/run` and `/tmp` can be written to.
    pub read_only_root: bool,
    /// Whether the kernel's type information is at `/sys/kernel/btf`; otherwise that directory is empty.
    pub btf: bool,
}

impl NodeOptions {
    /// An ordinary node.
    pub fn named(name: impl Into<String>) -> NodeOptions {
        NodeOptions {
            name: name.into(),
            bpffs: true,
            tracefs: Tracefs::Mounted,
            read_only_root: false,
            btf: true,
        }
    }
}

/// What a node has at `/sys/kernel/tracing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tracefs {
    /// A mounted tracefs.
    Mounted,
    /// The kernel's empty directory: nobody mounted it.
    Unmounted,
    /// Not even the directory, as with a kernel that was built without tracing.
    Absent,
}
