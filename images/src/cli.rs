//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::component::Platform;

/// Makes the container images of bpfleet's operator and agent without a container engine.
///
/// The images hold a static program, for the operator also the roots of public certificate authorities and a
/// user, and nothing else. The same input gives the same digest on every machine. `scripts/images.sh` builds the
/// programs and calls this command; `Containerfile` makes the same images with an engine.
#[derive(Debug, Parser)]
#[command(name = "bpfleet-images", version, max_term_width = 110)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong command line.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make both images and write them as an OCI layout
    Build(Build),
    /// List the images of a layout with digests and sizes, and check every byte of it
    Show(Show),
    /// Write a layout as a tar archive, for: ctr -n k8s.io images import FILE
    Archive(Archive),
    /// Push the images of a layout to a registry, with skopeo
    Push(Push),
}

/// Arguments of `build`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  bpfleet-images build --out target/images --operator amd64=out/bpfleet-operator \\\n    \
    --agent amd64=out/bpfleet-agent --ca-bundle /usr/share/ca-certificates/mozilla"
)]
pub struct Build {
    /// Directory of the OCI layout; an older layout there is replaced
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Static program bpfleet-operator for amd64 or arm64; once for each
    #[arg(long, value_name = "ARCH=PATH", required = true, value_parser = program)]
    pub operator: Vec<(Platform, PathBuf)>,
    /// Static program bpfleet-agent for amd64 or arm64; once for each
    #[arg(long, value_name = "ARCH=PATH", required = true, value_parser = program)]
    pub agent: Vec<(Platform, PathBuf)>,
    /// Certificates of public authorities in PEM, which the operator trusts when it reads from a registry: a file,
    /// or a directory of *.crt files. A machine's own /etc/ssl/certs/ca-certificates.crt may also hold authorities
    /// that only this machine should trust
    #[arg(long, value_name = "PATH")]
    pub ca_bundle: PathBuf,
    /// Registry and path in front of the images' names
    #[arg(long, value_name = "PREFIX", default_value = "localhost")]
    pub prefix: String,
    /// Tag of both images
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    pub tag: String,
    /// Time of everything in the images, in seconds since 1970
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH", default_value_t = 0)]
    pub epoch: u64,
}

/// Arguments of `show`.
#[derive(Debug, Args)]
pub struct Show {
    /// Directory of the OCI layout
    #[arg(value_name = "DIR")]
    pub layout: PathBuf,
}

/// Arguments of `archive`.
#[derive(Debug, Args)]
pub struct Archive {
    /// Directory of the OCI layout
    #[arg(long, value_name = "DIR")]
    pub layout: PathBuf,
    /// The archive; an older one is replaced
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Arguments of `push`.
#[derive(Debug, Args)]
#[command(after_help = "Credentials are those of: skopeo login HOST")]
pub struct Push {
    /// Directory of the OCI layout
    #[arg(long, value_name = "DIR")]
    pub layout: PathBuf,
    /// Registry and path in front of the images' names, whatever their prefix in the layout
    #[arg(long, value_name = "HOST/PREFIX")]
    pub to: String,
    /// Speak plain HTTP, or HTTPS without looking at the certificate
    #[arg(long)]
    pub plain_http: bool,
}

fn program(text: &str) -> Result<(Platform, PathBuf), String> {
    let Some((arch, path)) = text.split_once('=') else {
        return Err("write it as amd64=PATH or arm64=PATH".into());
    };
    let platform = Platform::parse(arch).ok_or_else(|| format!("{arch:?} is neither amd64 nor arm64"))?;
    if path.is_empty() {
        return Err(format!("there is no path after {arch}="));
    }
    Ok((platform, path.into()))
}
