//! An agent as a process of its own, with a bpffs of its own.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use crate::bpffs::Bpffs;
use crate::cluster::Cluster;
use crate::error::Result;
use crate::node::Node;
use crate::process::{Launch, Process};
use crate::{binaries, http, ports};

/// How an agent is started.
#[derive(Clone, Debug, Default)]
pub struct AgentOptions {
    /// `--kernel-btf`: another file than the kernel's own BTF; one that does not exist plays a kernel without.
    pub kernel_btf: Option<PathBuf>,
    /// `--host-root`: where the host's root directory is seen.
    pub host_root: Option<PathBuf>,
    /// `--cgroup-root`: where the cgroup2 hierarchy is mounted.
    pub cgroup_root: Option<PathBuf>,
    /// Further arguments.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
}

/// A running agent. Dropping it kills it and unmounts its bpffs, with which its pins go.
pub struct Agent {
    launch: Launch,
    logs: PathBuf,
    process: Process,
    bpffs: Bpffs,
    cache_dir: PathBuf,
    health_port: u16,
}

impl Agent {
    /// Starts the agent of a node.
    pub fn start(cluster: &Cluster, node: &Node<'_>, options: &AgentOptions) -> Result<Agent> {
        let bpffs = Bpffs::mount(&node.dir().join("bpffs"))?;
        let (cache_dir, health_port) = (node.dir().join("cache"), ports::free()?);
        let mut launch = Launch::new(format!("agent-{}", node.name()), binaries::find("bpfleet-agent")?)
            .args(["serve", "--node-name", node.name()])
            .arg("--pin-root")
            .arg(pin_root(&bpffs))
            .arg("--cache-dir")
            .arg(&cache_dir)
            .arg("--artifact-config")
            .arg(node.artifact_config())
            .arg("--artifact-token-file")
            .arg(node.artifact_token())
            .args(["--health-listen", &format!("127.0.0.1:{health_port}")])
            .env("KUBECONFIG", node.kubeconfig());
        let paths = [
            ("--kernel-btf", &options.kernel_btf),
            ("--host-root", &options.host_root),
            ("--cgroup-root", &options.cgroup_root),
        ];
        for (flag, path) in paths {
            if let Some(path) = path {
                launch = launch.arg(flag).arg(path);
            }
        }
        launch = launch.args(&options.args);
        for (name, value) in &options.env {
            launch = launch.env(name, value);
        }
        let logs = cluster.plane().logs().to_owned();
        let process = launch.start(&logs)?;
        Ok(Agent {
            launch,
            logs,
            process,
            bpffs,
            cache_dir,
            health_port,
        })
    }

    /// Waits until `/readyz` answers 200.
    pub fn wait_ready(&self, timeout: Duration) -> Result<()> {
        http::wait_answer(&self.process, &self.health_url("/readyz"), timeout, |code| {
            code == 200
        })
    }

    /// Kills it with SIGKILL; what it pinned stays.
    pub fn kill(&self) -> Result<ExitStatus> {
        self.process.kill()
    }

    /// Sends SIGTERM and waits for its end; what it pinned stays.
    pub fn stop(&self) -> Result<ExitStatus> {
        self.process.stop(Duration::from_secs(30))
    }

    /// Starts it again on the same pins and cache, after killing it if it still runs.
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process = self.launch.start(&self.logs)?;
        Ok(())
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Memory it holds now, in KiB.
    pub fn rss_kib(&self) -> Result<u64> {
        self.process.rss_kib()
    }

    /// Directory in its bpffs below which it pins.
    pub fn pin_root(&self) -> PathBuf {
        pin_root(&self.bpffs)
    }

    /// Where it keeps objects.
    pub fn cache_dir(&self) -> &Path {
        &self.cache_dir
    }

    /// URL of a path (`/healthz`, `/readyz`, `/metrics`) of its health endpoint.
    pub fn health_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.health_port)
    }
}

fn pin_root(bpffs: &Bpffs) -> PathBuf {
    bpffs.path().join("bpfleet")
}
