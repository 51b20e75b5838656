//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bpfleet_crds::names::{ARTIFACT_SERVICE, DEFAULT_NAMESPACE, OPERATOR_DEPLOYMENT};
use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;

use crate::artifacts::address::Advertise;

const EXIT_CODES: &str = "\
Exit codes: 0 success, 1 something failed (it says what), 2 the command line is wrong.";

/// bpfleet's operator.
#[derive(Debug, Parser)]
#[command(
    name = "bpfleet-operator",
    version,
    about = "Distributes eBPF programs to the nodes of a Kubernetes cluster",
    after_help = EXIT_CODES
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
    /// Take every program off every node, and let go of all objects: what `helm uninstall` runs first
    Uninstall(Uninstall),
    /// Look whether this installation works, part by part: what `helm test` runs
    Verify(Verify),
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
    /// Where agents reach the artifact endpoint.
    #[command(flatten)]
    pub advertise: AdvertiseArguments,
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

/// Where agents reach the artifact endpoint.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct AdvertiseArguments {
    /// The Service in front of the artifact endpoint, in bpfleet's namespace: agents get its cluster IP
    #[arg(long, value_name = "NAME")]
    pub artifact_service: Option<String>,
    /// Where agents reach the artifact endpoint, if that is not by a Service
    #[arg(long, value_name = "IP:PORT")]
    pub artifact_advertise: Option<SocketAddr>,
}

impl From<AdvertiseArguments> for Advertise {
    fn from(arguments: AdvertiseArguments) -> Self {
        match (arguments.artifact_advertise, arguments.artifact_service) {
            (Some(address), _) => Self::Fixed(address),
            (None, service) => Self::Service(service.unwrap_or_else(|| ARTIFACT_SERVICE.to_owned())),
        }
    }
}

/// How to uninstall.
#[derive(Args, Clone, Debug)]
pub struct Uninstall {
    /// bpfleet's own namespace
    #[arg(long, env = "POD_NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,
    /// The operator's Deployment, which is stopped first
    #[arg(long, value_name = "NAME", default_value = OPERATOR_DEPLOYMENT)]
    pub deployment: String,
    /// How long to wait for live agents to remove what runs, such as `90s` or `2m`
    #[arg(long, value_name = "DURATION", default_value = "120s", value_parser = duration)]
    pub timeout: Duration,
}

/// What to look at.
#[derive(Args, Clone, Debug)]
pub struct Verify {
    /// bpfleet's own namespace
    #[arg(long, env = "POD_NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,
    /// How long to wait for everything to work
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
    /// What to print when it is over
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// What to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For machines.
    Json,
}

/// A length of time as people write it; at least a second, at most an hour.
fn duration(text: &str) -> Result<Duration, String> {
    let parsed: SignedDuration = text.parse().map_err(|_| "write it as 90s or 2m".to_owned())?;
    let parsed = Duration::try_from(parsed).map_err(|_| "it is negative".to_owned())?;
    if (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&parsed) {
        Ok(parsed)
    } else {
        Err("it must be between 1s and 1h".to_owned())
    }
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

    fn serve(arguments: &[&str]) -> Result<Advertise, clap::Error> {
        let cli = Cli::try_parse_from(["bpfleet-operator", "serve"].iter().chain(arguments))?;
        match cli.command {
            Command::Serve(serve) => Ok(serve.advertise.into()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_way_to_publish_the_endpoint_is_required_and_nothing_else() {
        let fixed = serve(&["--artifact-advertise", "10.0.0.1:8443"]).unwrap();
        assert_eq!(fixed, Advertise::Fixed("10.0.0.1:8443".parse().unwrap()));
        let service = serve(&["--artifact-service", "front"]).unwrap();
        assert_eq!(service, Advertise::Service("front".to_owned()));
        assert!(serve(&[]).is_err());
        assert!(serve(&["--artifact-service", "a", "--artifact-advertise", "10.0.0.1:1"]).is_err());
    }

    #[test]
    fn times_are_written_as_people_do_and_bounded() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "90", "-3s", "0s", "2h", "soon"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
