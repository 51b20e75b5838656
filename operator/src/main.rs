//! The operator's command.

use std::{io::stdout, process::ExitCode, time::Duration};

use bpfleet_operator::{
    config::{Cli, Command, LogFormat, Serve},
    error::chain,
    serve::{ServeError, serve},
    uninstall, verify,
};
use clap::Parser as _;
use kube::Client;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing_subscriber::EnvFilter;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let command = Cli::parse().command;
    log(match &command {
        Command::Serve(config) => config.log_format,
        Command::Uninstall(_) | Command::Verify(_) => LogFormat::Text,
    });
    // Two providers may be built in; every TLS connection uses this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(command)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!(error = chain(error.as_ref()), "cannot run");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is well in the end.
async fn run(command: Command) -> Result<bool, Failure> {
    match command {
        Command::Serve(config) => {
            let identity = config
                .identity
                .clone()
                .or_else(hostname)
                .unwrap_or_else(|| format!("operator-{}", std::process::id()));
            let client = client(&identity).await?;
            run_until_told(config, client, identity).await?;
            Ok(true)
        }
        Command::Uninstall(config) => {
            uninstall::run(&config, &client("uninstall").await?, &mut stdout()).await?;
            Ok(true)
        }
        Command::Verify(config) => Ok(verify::run(&config, &client("verify").await?, &mut stdout()).await?),
    }
}

/// A client that names the writer in managedFields and audit logs.
async fn client(identity: &str) -> Result<Client, ServeError> {
    let mut settings = kube::Config::infer()
        .await
        .map_err(|error| ServeError::Kubeconfig(Box::new(error)))?;
    // Watches are renewed within five minutes; a request that takes longer than this is lost.
    settings.connect_timeout = Some(Duration::from_secs(10));
    settings.write_timeout = Some(Duration::from_secs(30));
    let agent = format!("bpfleet-operator/{} ({identity})", env!("CARGO_PKG_VERSION"));
    if let Ok(agent) = agent.parse() {
        settings.headers.push((axum::http::header::USER_AGENT, agent));
    }
    Client::try_from(settings).map_err(|error| ServeError::Client(Box::new(error)))
}

/// Serves until SIGTERM or SIGINT.
async fn run_until_told(config: Serve, client: Client, identity: String) -> Result<(), ServeError> {
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
