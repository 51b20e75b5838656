//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use bpfleet_crds::names::DEFAULT_NAMESPACE;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// bpfleet's operator.
#[derive(Debug, Parser)]
#[command(
    name = "bpfleet-operator",
    version,
    about = "Distributes eBPF programs to the nodes of a Kubernetes cluster"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Reconcile BpfPrograms and serve their objects to the agents
    Serve(Serve),
}

/// How to serve.
#[derive(Args, Clone, Debug)]
pub struct Serve {
    /// bpfleet's own namespace: the only one whose ConfigMaps and Secrets are read
    #[arg(long, env = "POD_NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,
    /// Name of this replica, different from every other's; default: the host's name
    #[arg(long, env = "POD_NAME")]
    pub identity: Option<String>,
    /// Where the artifact endpoint listens
    #[arg(long, default_value = "0.0.0.0:8443", value_name = "ADDRESS")]
    pub artifact_listen: SocketAddr,
    /// Where agents reach the artifact endpoint: the address of its Service
    #[arg(long, value_name = "IP:PORT")]
    pub artifact_advertise: SocketAddr,
    /// Where /healthz, /readyz and /metrics listen
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    pub health_listen: SocketAddr,
    /// A registry to speak plain HTTP with; can be given several times
    #[arg(long = "insecure-registry", value_name = "HOST:PORT")]
    pub insecure_registries: Vec<String>,
    /// A directory that keeps objects across restarts, at most 1 GiB
    #[arg(long, value_name = "DIRECTORY")]
    pub cache_dir: Option<PathBuf>,
    /// How to write logs
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How to write logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn only_the_address_to_publish_is_required() {
        let cli = Cli::try_parse_from([
            "bpfleet-operator",
            "serve",
            "--artifact-advertise",
            "10.0.0.1:8443",
        ])
        .unwrap();
        let Command::Serve(serve) = cli.command;
        assert_eq!(serve.artifact_advertise.port(), 8443);
        assert!(Cli::try_parse_from(["bpfleet-operator", "serve"]).is_err());
    }
}
