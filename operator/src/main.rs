//! The operator's command.

use std::process::ExitCode;

use bpfleet_operator::{
    config::{Cli, Command, LogFormat, Serve},
    error::chain,
    serve::{ServeError, serve},
};
use clap::Parser as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let Cli {
        command: Command::Serve(config),
    } = Cli::parse();
    log(config.log_format);
    // Two providers may be built in; every TLS connection uses this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = chain(&error), "cannot run");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Serve) -> Result<(), ServeError> {
    let mut settings = kube::Config::infer()
        .await
        .map_err(|error| ServeError::Kubeconfig(Box::new(error)))?;
    // Watches are renewed within five minutes; a request that takes longer than this is lost.
    settings.connect_timeout = Some(std::time::Duration::from_secs(10));
    settings.write_timeout = Some(std::time::Duration::from_secs(30));
    let identity = config
        .identity
        .clone()
        .or_else(hostname)
        .unwrap_or_else(|| format!("operator-{}", std::process::id()));
    // Names the writer in managedFields and audit logs.
    let agent = format!("bpfleet-operator/{} ({identity})", env!("CARGO_PKG_VERSION"));
    if let Ok(agent) = agent.parse() {
        settings.headers.push((axum::http::header::USER_AGENT, agent));
    }
    let client = kube::Client::try_from(settings).map_err(|error| ServeError::Client(Box::new(error)))?;
    let (stopping, stop) = watch::channel(false);
    let signals = async move {
        let (Ok(mut terminate), Ok(mut interrupt)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            return;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stopping.send_replace(true);
        // The sender must outlive the signal: a closed channel is no signal.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = serve(config, client, identity, stop) => result,
        () = signals => Ok(()),
    }
}

fn hostname() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,kube_client=off"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}
