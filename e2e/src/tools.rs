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
        const NAMES: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"];
        let script = repository().join("scripts/tools.sh");
        let output = Command::new(&script)
            .args(NAMES)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .during(|| format!("running {}", script.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut paths = text.lines().map(PathBuf::from);
        match (
            output.status.success(),
            paths.next(),
            paths.next(),
            paths.next(),
            paths.next(),
        ) {
            (true, Some(etcd), Some(api_server), Some(controller_manager), Some(kubectl)) => Ok(Tools {
                etcd,
                api_server,
                controller_manager,
                kubectl,
            }),
            _ => Err(Error::Command {
                command: format!("{} {}", script.display(), NAMES.join(" ")),
                status: output.status,
                output: format!("it did not print a path for each tool; its messages are above\n{text}"),
            }),
        }
    }
}
