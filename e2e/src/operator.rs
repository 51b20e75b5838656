//! The operator as a process of its own.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::error::Result;
use crate::process::{Launch, Process};
use crate::{binaries, http, ports};

/// How an operator is started.
#[derive(Clone, Debug, Default)]
pub struct OperatorOptions {
    /// Its identity in the leader election, also the name of its log; default `operator`.
    pub identity: Option<String>,
    /// Registries (`HOST:PORT`) that speak plain HTTP.
    pub insecure_registries: Vec<String>,
    /// Where it keeps objects; default: a directory of its own.
    pub cache_dir: Option<PathBuf>,
    /// Further arguments.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
}

/// A running operator. Dropping it kills it.
pub struct Operator {
    launch: Launch,
    logs: PathBuf,
    process: Process,
    cache_dir: PathBuf,
    artifact_port: u16,
    health_port: u16,
}

impl Operator {
    /// Starts one; it may not be the leader, nor ready, yet.
    pub fn start(cluster: &Cluster, options: &OperatorOptions) -> Result<Operator> {
        let identity = options.identity.as_deref().unwrap_or("operator");
        let scratch = cluster.plane().scratch();
        let default_cache = || scratch.path().join(format!("cache-{identity}"));
        let cache_dir = options.cache_dir.clone().unwrap_or_else(default_cache);
        let (artifact_port, health_port) = (ports::free()?, ports::free()?);
        let artifacts = format!("127.0.0.1:{artifact_port}");
        let mut launch = Launch::new(identity, binaries::find("bpfleet-operator")?)
            .args([
                "serve",
                "--namespace",
                cluster.namespace(),
                "--identity",
                identity,
            ])
            .args([
                "--artifact-listen",
                &artifacts,
                "--artifact-advertise",
                &artifacts,
            ])
            .args(["--health-listen", &format!("127.0.0.1:{health_port}")])
            .arg("--cache-dir")
            .arg(&cache_dir)
            .args(
                options
                    .insecure_registries
                    .iter()
                    .flat_map(|host| ["--insecure-registry", host]),
            )
            .args(&options.args)
            .env("KUBECONFIG", cluster.operator_kubeconfig());
        for (name, value) in &options.env {
            launch = launch.env(name, value);
        }
        let logs = cluster.plane().logs().to_owned();
        let process = launch.start(&logs)?;
        Ok(Operator {
            launch,
            logs,
            process,
            cache_dir,
            artifact_port,
            health_port,
        })
    }

    /// Waits until `/readyz` answers 200.
    pub fn wait_ready(&self, timeout: Duration) -> Result<()> {
        http::wait_answer(&self.process, &self.health_url("/readyz"), timeout, |code| {
            code == 200
        })
    }

    /// Kills it with SIGKILL.
    pub fn kill(&self) -> Result<ExitStatus> {
        self.process.kill()
    }

    /// Sends SIGTERM and waits for its end.
    pub fn stop(&self) -> Result<ExitStatus> {
        self.process.stop(Duration::from_secs(30))
    }

    /// Starts it again, after killing it if it still runs, with the same arguments, ports and cache.
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

    /// Where it keeps objects.
    pub fn cache_dir(&self) -> &std::path::Path {
        &self.cache_dir
    }

    /// `127.0.0.1:PORT` of its artifact endpoint.
    pub fn artifact_address(&self) -> String {
        format!("127.0.0.1:{}", self.artifact_port)
    }

    /// URL of a path (`/healthz`, `/readyz`, `/metrics`) of its health endpoint.
    pub fn health_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.health_port)
    }
}
