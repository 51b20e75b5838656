//! What a real cluster shall be like.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

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

impl RealOptions {
    /// Says what is wrong with them, before anything is started.
    pub(super) fn check(&self) -> Result<()> {
        // Each node has its own number in addresses.
        if !(1..=100).contains(&self.nodes.len()) {
            let found = self.nodes.len();
            return Err(Error::Other(format!(
                "a real cluster has 1 to 100 nodes, not {found}"
            )));
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let name = &node.name;
            let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || name.len() > 63 || !name.chars().all(inner) || name.starts_with('-') {
                return Err(Error::Other(format!(
                    "a node cannot be called {name:?}: take lower-case letters, digits and '-', at most 63"
                )));
            }
            if self.nodes.iter().take(index).any(|other| other.name == *name) {
                return Err(Error::Other(format!(
                    "two nodes are called {name}; give one another name"
                )));
            }
        }
        Ok(())
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

/// What a node's first process is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct Spec {
    /// What the node shall be like.
    pub options: NodeOptions,
    /// The node's directory on the host, which it sees under the same path.
    pub dir: PathBuf,
    /// Directories of the host that it needs as well, read-only, should they be on another file system.
    pub needed: Vec<PathBuf>,
    /// Its `/etc/hosts`.
    pub hosts: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_kubernetes_would_refuse_are_refused_at_once() {
        let refused = |names: &[&str]| {
            let nodes = names.iter().map(|name| NodeOptions::named(*name));
            RealOptions::with_nodes(nodes)
                .check()
                .map_err(|error| error.to_string())
        };
        RealOptions::default().check().unwrap();
        assert!(refused(&[]).unwrap_err().contains("1 to 100 nodes"));
        assert!(refused(&["Node_1"]).unwrap_err().contains("\"Node_1\""));
        assert!(refused(&["../pki"]).unwrap_err().contains("cannot be called"));
        assert!(
            refused(&["a", "b", "a"])
                .unwrap_err()
                .contains("two nodes are called a")
        );
    }
}
