//! What this node is and can do, found out by asking the kernel.
//!
//! - [`Prober`] answers the questions that decisions hang on ([`bpfleet_fit::question`]).
//! - [`Prober::node_facts`] makes the facts of a node's status.
//! - [`KernelBtf`], [`module_btf`] and [`Prober::kconfig`] give a loader what it needs of the kernel.

mod batch;
mod binary;
mod bpffs;
mod btf;
mod cgroup;
mod features;
mod functions;
mod kconfig;
mod kernel;
mod near;
mod netdev;
mod os_release;
mod prober;
mod refusal;
mod security;
mod system;
mod tracefs;
mod types;

use std::path::{Path, PathBuf};

use bpfleet_crds::node::NodeFacts;

pub use binary::below;
pub use bpffs::mounted_at as bpffs_mounted_at;
pub use btf::{KernelBtf, kernel_btf, module_bytes as module_btf, module_names as btf_modules};
pub use cgroup::{Hierarchies, find as cgroup_hierarchies};
pub use kconfig::Found as FoundKconfig;
pub use kernel::architecture;
pub use netdev::{Interface, interfaces};
pub use prober::Prober;
pub use security::secure_boot;
pub use system::{Jit, MemoryLimit, System, Unprivileged};
pub use tracefs::Tracefs;

/// Where facts are read from.
#[derive(Clone, Debug)]
pub struct FactPaths {
    /// Where the host's root directory is mounted.
    pub host_root: PathBuf,
    /// The kernel's own BTF.
    pub kernel_btf: PathBuf,
    /// Where pins go.
    pub pin_root: PathBuf,
    /// Root of the cgroup version 2 hierarchy, if it is given and not to be searched for.
    pub cgroup_root: Option<PathBuf>,
}

impl FactPaths {
    /// Those of a machine that is its own host.
    pub fn of_this_machine() -> Self {
        Self {
            host_root: "/".into(),
            kernel_btf: btf::VMLINUX.into(),
            pin_root: "/sys/fs/bpf".into(),
            cgroup_root: None,
        }
    }
}

/// What needs no trying.
fn plain_facts(paths: &FactPaths) -> NodeFacts {
    let kernel = kernel::read();
    let os = os_release::read(&paths.host_root).unwrap_or_default();
    NodeFacts {
        kernel_release: kernel.release,
        kernel_version: kernel.version,
        architecture: kernel.architecture,
        os_image: os.get("PRETTY_NAME").cloned(),
        os_id: os.get("ID").cloned(),
        os_version_id: os.get("VERSION_ID").cloned(),
        cgroup: cgroup_hierarchies(&paths.host_root).version,
        bpffs: bpffs::mounted_at(&paths.pin_root),
        lockdown: kernel::lockdown(Path::new("/sys/kernel/security/lockdown")),
        ..NodeFacts::default()
    }
}

/// This machine's architecture in Kubernetes' words.
pub fn machine_architecture() -> String {
    kernel::read().architecture
}

/// This kernel's version as programs see it.
pub fn kernel_version() -> String {
    kernel::read().version
}
