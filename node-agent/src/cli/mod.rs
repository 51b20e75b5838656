//! The command line.

mod facts;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Instant};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    cleanup,
    facts::FactPaths,
    load::{spawn::WORKER_COMMAND, worker},
    local::{self, Output, RunConfig},
    pin_root,
    serve::{self, ArtifactConfig, ServeConfig},
};

/// Where an agent in a cluster pins and caches.
const SERVE_PIN_ROOT: &str = "/sys/fs/bpf/bpfleet";
const CACHE_DIR: &str = "/var/lib/bpfleet";

const EXAMPLES: &str = "\
Examples:
  bpfleet-agent facts                                     what this machine's kernel can do
  bpfleet-agent run examples/execcount/bpfprogram.yaml    run a BpfProgram here, without a cluster
  bpfleet-agent run --once -o json FILE                   can it be loaded here? Exit code 0 if so
  bpfleet-agent cleanup                                   remove what an agent that is gone left on this node

Exit codes: 0 success, 1 something failed (it says what), 2 the command line is wrong.";

/// Runs eBPF programs on this node: for a cluster (serve), or alone (run).
#[derive(Debug, Parser)]
#[command(name = "bpfleet-agent", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run what this node's BpfNode says, and report in its status. Ends on SIGTERM without detaching anything
    Serve(ServeArguments),
    /// Run BpfPrograms from files on this machine, without a cluster, until Ctrl-C
    #[command(
        after_help = "Objects are found beside the file: `object: {file: PATH}` names one, and a ConfigMap entry \
                            stands for the file with its key's name."
    )]
    Run(RunArguments),
    /// Show what is known of this machine and its kernel
    Facts(facts::FactsArguments),
    /// Remove everything that bpfleet has on this node, with no cluster to ask. The agent must have ended
    Cleanup(CleanupArguments),
    /// Mount the BPF file system at /sys/fs/bpf if none is there
    MountBpffs,
}

#[derive(Debug, Args)]
struct NodeArguments {
    /// Directory in a BPF file system below which everything is pinned
    #[arg(long, value_name = "DIR")]
    pin_root: Option<PathBuf>,
    /// The kernel's own BTF
    #[arg(long, value_name = "FILE", default_value = "/sys/kernel/btf/vmlinux")]
    kernel_btf: PathBuf,
    /// Where the host's root directory is mounted; binaries and os-release are read below it
    #[arg(long, value_name = "DIR", default_value = "/", env = "BPFLEET_HOST_ROOT")]
    host_root: PathBuf,
    /// Root of the cgroup version 2 hierarchy; by default where it is mounted
    #[arg(long, value_name = "DIR")]
    cgroup_root: Option<PathBuf>,
    /// Never use links for perf-based hooks, as on kernels before 5.15: they end with this process
    #[arg(long)]
    without_perf_links: bool,
}

impl NodeArguments {
    fn paths(self, default_pin_root: &str) -> FactPaths {
        FactPaths {
            host_root: self.host_root,
            kernel_btf: self.kernel_btf,
            pin_root: self.pin_root.unwrap_or_else(|| default_pin_root.into()),
            cgroup_root: self.cgroup_root,
        }
    }
}

#[derive(Debug, Args)]
struct ServeArguments {
    /// Name of this Node
    #[arg(long, env = "NODE_NAME")]
    node_name: String,
    /// Disk cache: objects and revisions, so that programs run again after a reboot with nobody to ask
    #[arg(long, value_name = "DIR", default_value = CACHE_DIR)]
    cache_dir: PathBuf,
    /// Directory with the files of ConfigMap bpfleet-artifacts: how to reach the operator
    #[arg(long, value_name = "DIR", default_value = "/etc/bpfleet/artifacts")]
    artifact_config: PathBuf,
    /// File with this pod's token for the operator's artifact endpoint
    #[arg(long, value_name = "FILE", default_value = "/var/run/secrets/bpfleet/token")]
    artifact_token_file: PathBuf,
    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9980")]
    health_listen: SocketAddr,
    /// Where /metrics alone is served as well; nowhere unless given
    #[arg(long, value_name = "ADDRESS")]
    metrics_listen: Option<SocketAddr>,
    /// How log lines are written
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    #[command(flatten)]
    node: NodeArguments,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// For machines
    Json,
}

#[derive(Debug, Args)]
struct RunArguments {
    /// Files with BpfPrograms in YAML
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Unload and end as soon as everything is attached or has failed
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    node: NodeArguments,
}

#[derive(Debug, Args)]
struct CleanupArguments {
    /// Directory in a BPF file system below which everything is pinned
    #[arg(long, value_name = "DIR", default_value = SERVE_PIN_ROOT)]
    pin_root: PathBuf,
    /// The agent's disk cache
    #[arg(long, value_name = "DIR", default_value = CACHE_DIR)]
    cache_dir: PathBuf,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub fn main() -> ExitCode {
    let started = Instant::now();
    // Started by the agent itself; it has one thread, and no command line of its own.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == WORKER_COMMAND)
    {
        return worker::main();
    }
    match Cli::parse().command {
        Command::Serve(arguments) => serve(arguments),
        Command::Run(arguments) => run(arguments, started),
        Command::Facts(arguments) => finish(facts::print(arguments).map(|()| true)),
        Command::Cleanup(CleanupArguments {
            pin_root,
            cache_dir,
            dry_run,
        }) => finish(cleanup::run(
            &pin_root,
            &cache_dir,
            dry_run,
            &mut anstream::stdout(),
        )),
        Command::MountBpffs => finish(pin_root::mount_bpffs().map_err(boxed).map(|mounted| {
            let what = if mounted { "mounted" } else { "is there already" };
            println!("the BPF file system at /sys/fs/bpf: {what}");
            true
        })),
    }
}

fn serve(arguments: ServeArguments) -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| "info,kube_client=off".into());
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Text => logs.with_ansi(false).init(),
        LogFormat::Json => logs.json().init(),
    }
    let perf_links = !arguments.node.without_perf_links;
    let config = ServeConfig {
        node_name: arguments.node_name,
        cache_dir: arguments.cache_dir,
        artifacts: ArtifactConfig {
            directory: arguments.artifact_config,
            token_file: arguments.artifact_token_file,
        },
        health_listen: arguments.health_listen,
        metrics_listen: arguments.metrics_listen,
        perf_links,
        paths: arguments.node.paths(SERVE_PIN_ROOT),
    };
    // Fails only if there is one already, which would serve as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    finish(runtime.map_err(boxed).and_then(|runtime| {
        let served = runtime
            .block_on(serve::serve(config))
            .map(|()| true)
            .map_err(boxed);
        // A worker that is loading is ended with us; nothing waits for it.
        runtime.shutdown_background();
        served
    }))
}

fn run(arguments: RunArguments, started: Instant) -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "error".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let config = RunConfig {
        files: arguments.files,
        output: arguments.output,
        once: arguments.once,
        perf_links: !arguments.node.without_perf_links,
        paths: arguments.node.paths("/sys/fs/bpf/bpfleet-local"),
        started,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    finish(
        runtime
            .map_err(boxed)
            .and_then(|runtime| runtime.block_on(local::run(config)).map_err(boxed)),
    )
}

fn boxed(error: impl std::error::Error + 'static) -> Box<dyn std::error::Error> {
    Box::new(error)
}

fn finish(result: Result<bool, Box<dyn std::error::Error>>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bpfleet-agent: {}", crate::load::error_chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
