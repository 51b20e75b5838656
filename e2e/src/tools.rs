//! The Kubernetes and etcd commands, built from pinned Go modules.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{During, Error, Result};

/// The repository this harness was built from.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// Paths of the commands that a control plane needs.
#[derive(Clone, Debug)]
pub struct Tools {
    /// etcd, the server.
    pub etcd: PathBuf,
    /// kube-apiserver.
    pub api_server: PathBuf,
    /// kube-controller-manager.
    pub controller_manager: PathBuf,
    /// kubectl.
    pub kubectl: PathBuf,
}

impl Tools {
    /// Finds the commands; builds those that are missing, which takes minutes once and says so on stderr.
    pub fn find() -> Result<Tools> {
        let [etcd, api_server, controller_manager, kubectl] =
            find(["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"])?;
        Ok(Tools {
            etcd,
            api_server,
            controller_manager,
            kubectl,
        })
    }
}

/// Paths of what a cluster with real nodes needs besides.
#[derive(Clone, Debug)]
pub struct NodeTools {
    /// kube-scheduler.
    pub scheduler: PathBuf,
    /// kubelet.
    pub kubelet: PathBuf,
    /// kube-proxy.
    pub proxy: PathBuf,
    /// CoreDNS, a static executable that goes into an image.
    pub coredns: PathBuf,
    /// Helm.
    pub helm: PathBuf,
}

impl NodeTools {
    /// Finds the commands, like [`Tools::find`].
    pub fn find() -> Result<NodeTools> {
        let [scheduler, kubelet, proxy, coredns, helm] =
            find(["kube-scheduler", "kubelet", "kube-proxy", "coredns", "helm"])?;
        Ok(NodeTools {
            scheduler,
            kubelet,
            proxy,
            coredns,
            helm,
        })
    }
}

fn find<const N: usize>(names: [&str; N]) -> Result<[PathBuf; N]> {
    let script = repository().join("scripts/tools.sh");
    let output = Command::new(&script)
        .args(names)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .during(|| format!("running {}", script.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let paths: Vec<PathBuf> = text.lines().map(PathBuf::from).collect();
    let paths = <[PathBuf; N]>::try_from(paths)
        .ok()
        .filter(|_| output.status.success());
    paths.ok_or_else(|| Error::Command {
        command: format!("{} {}", script.display(), names.join(" ")),
        status: output.status,
        output: format!("it did not print a path for each tool; its messages are above\n{text}"),
    })
}

/// A command of the host, from `PATH` or where administrators' commands are.
pub fn installed(name: &str, package: &str) -> Result<PathBuf> {
    let places = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&places)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|path| path.exists());
    found.ok_or_else(|| Error::Missing {
        path: name.into(),
        hint: format!("install it with scripts/setup.sh (Debian package {package})"),
    })
}
