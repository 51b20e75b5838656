//! `bpfleet-e2e up`: the tests' cluster for a person to play with, and for `make demo`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bpfleet_e2e::error::{During, Result, write_file};
use bpfleet_e2e::scratch::Scratch;
use bpfleet_e2e::{Agent, AgentOptions, Cluster, ControlPlane, Operator, OperatorOptions, tools};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// A Kubernetes control plane with bpfleet on this machine.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    /// Starts it and stays in the foreground until SIGINT or SIGTERM, then removes everything.
    Up(Up),
}

#[derive(clap::Args)]
struct Up {
    /// Directory for its files, which must not exist: it is removed at the end.
    #[arg(long)]
    state: PathBuf,
    /// Name of a node that gets an agent on this machine; may be given several times.
    #[arg(long = "node", default_value = "local")]
    nodes: Vec<String>,
    /// Registries (HOST:PORT) from which the operator pulls over plain HTTP.
    #[arg(long = "insecure-registry")]
    insecure_registries: Vec<String>,
    /// Only etcd and the API server: no CRDs, operator or agents.
    #[arg(long)]
    control_plane_only: bool,
}

fn main() -> ExitCode {
    let What::Up(up) = Cli::parse().command;
    match run(&up) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn run(up: &Up) -> Result<()> {
    // A signal during the start is noticed at its end.
    let stop = Stop::new()?;
    tools::Tools::find()?;
    let mut progress = Progress::new();
    if up.control_plane_only {
        let plane = ControlPlane::start_in(Scratch::at(&up.state)?)?;
        progress.done("control plane");
        write_file(&plane.scratch().path().join("env"), environment(&plane))?;
        return stop.wait();
    }
    let cluster = Cluster::start_in(Scratch::at(&up.state)?)?;
    progress.done("control plane, CRDs, RBAC");
    let options = OperatorOptions {
        insecure_registries: up.insecure_registries.clone(),
        ..OperatorOptions::default()
    };
    let operator = Operator::start(&cluster, &options)?;
    operator.wait_ready(Duration::from_secs(30))?;
    progress.done("operator");
    let mut env = environment(cluster.plane());
    let _ = writeln!(env, "OPERATOR_PID={}", operator.pid());
    let mut running = Vec::new();
    for name in &up.nodes {
        let node = cluster.add_node(name)?;
        let agent = Agent::start(&cluster, &node, &AgentOptions::default())?;
        progress.done(&format!("agent of node {name}"));
        let variable: String = name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_uppercase()
                } else {
                    '_'
                }
            })
            .collect();
        let _ = writeln!(env, "AGENT_PID_{variable}={}", agent.pid());
        let _ = writeln!(env, "PIN_ROOT_{variable}={}", quoted(&agent.pin_root()));
        running.push((agent, node));
    }
    write_file(&cluster.plane().scratch().path().join("env"), env)?;
    let stopped = stop.wait();
    // Agents before their nodes, both before the operator and the control plane.
    for (agent, node) in running {
        drop(agent);
        drop(node);
    }
    drop(operator);
    stopped
}

/// Variables for a shell that sources the file; it appears when everything is up.
fn environment(plane: &ControlPlane) -> String {
    format!(
        "KUBECONFIG={}\nKUBECTL={}\nLOGS={}\n",
        quoted(plane.admin_kubeconfig()),
        quoted(&plane.tools().kubectl),
        quoted(plane.logs())
    )
}

/// A path as one word of a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

struct Progress {
    since: Instant,
}

impl Progress {
    fn new() -> Progress {
        Progress {
            since: Instant::now(),
        }
    }

    fn done(&mut self, what: &str) {
        println!("{what}: {:.1} s", self.since.elapsed().as_secs_f32());
        self.since = Instant::now();
    }
}

/// Notices SIGINT and SIGTERM from its creation on.
struct Stop {
    runtime: tokio::runtime::Runtime,
    signals: [tokio::signal::unix::Signal; 2],
}

impl Stop {
    fn new() -> Result<Stop> {
        let what = || "preparing for signals";
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .during(what)?;
        let guard = runtime.enter();
        let signals = [
            signal(SignalKind::interrupt()).during(what)?,
            signal(SignalKind::terminate()).during(what)?,
        ];
        drop(guard);
        Ok(Stop { runtime, signals })
    }

    fn wait(self) -> Result<()> {
        println!("ready");
        let [mut interrupt, mut terminate] = self.signals;
        self.runtime.block_on(async {
            tokio::select! {
                got = interrupt.recv() => got,
                got = terminate.recv() => got,
            }
        });
        println!("stopping");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_path_is_one_word_of_a_shell() {
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
