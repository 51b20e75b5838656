//! What this node is and can do, found out by asking the kernel.

mod bpffs;
mod btf;
mod cgroup;
mod kernel;
mod os_release;
mod prober;

use std::path::{Path, PathBuf};

use bpfleet_crds::node::NodeFacts;

pub use bpffs::mounted_at as bpffs_mounted_at;
pub use cgroup::{Hierarchies, find as cgroup_hierarchies};
pub use kernel::architecture;
pub use prober::Prober;

/// The kernel's own BTF, where kernels have it.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

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

/// All facts. What cannot be told is Unknown or absent; nothing here fails.
pub fn gather(paths: &FactPaths) -> NodeFacts {
    let kernel = kernel::read();
    let os = os_release::read(&paths.host_root).unwrap_or_default();
    NodeFacts {
        kernel_release: kernel.release,
        kernel_version: kernel.version,
        architecture: kernel.architecture,
        os_image: os.get("PRETTY_NAME").cloned(),
        os_id: os.get("ID").cloned(),
        os_version_id: os.get("VERSION_ID").cloned(),
        btf: btf::read(&paths.kernel_btf),
        cgroup: cgroup_hierarchies(&paths.host_root).version,
        bpffs: bpffs::mounted_at(&paths.pin_root),
        missing: Vec::new(),
        unknown: Vec::new(),
        lockdown: kernel::lockdown(Path::new("/sys/kernel/security/lockdown")),
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
