//! The agent in a cluster: watches its own BpfNode, runs what it says, writes its status.

mod artifacts;
mod health;
mod hold;
mod metrics;
mod source;
mod warm;
mod watch;
mod write;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::{HeaderValue, header::USER_AGENT};
use bpfleet_crds::BpfNode;
use kube::{Api, Client, Config};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch as channel,
};

use crate::{
    cache::{Cache, CacheError},
    engine::{self, Settings, View, state::Wanted},
    facts::{FactPaths, Prober},
    pin_root::PinRoot,
};

pub use artifacts::ArtifactConfig;
pub use metrics::Metrics;

/// What the agent is told.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// Name of the Node.
    pub node_name: String,
    /// Where facts come from and pins go.
    pub paths: FactPaths,
    /// The node's disk cache.
    pub cache_dir: PathBuf,
    /// How the artifact endpoint is found.
    pub artifacts: ArtifactConfig,
    /// Where health and metrics are served.
    pub health_listen: SocketAddr,
    /// Where metrics alone are served as well, for who cannot reach the former.
    pub metrics_listen: Option<SocketAddr>,
    /// Whether perf-based hooks may use links.
    pub perf_links: bool,
}

/// The agent could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No cluster.
    #[error("cannot find the cluster: {0}")]
    Config(#[from] kube::config::InferConfigError),
    /// No client.
    #[error("cannot make a client for the API server: {0}")]
    Client(#[from] kube::Error),
    /// No cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// No port.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// No signals.
    #[error("cannot wait for signals: {0}")]
    Signal(std::io::Error),
}

/// Runs until SIGTERM or SIGINT. What runs in the kernel stays there.
pub async fn serve(config: ServeConfig) -> Result<(), ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signal)?;
    let cache = Cache::open(&config.cache_dir)?;
    let client = client().await?;
    let mut prober = Prober::new(&config.paths);
    let facts = prober.node_facts();
    tracing::info!(node = config.node_name, kernel = facts.kernel_release, btf = ?facts.btf.kernel, "starting");

    // What the node was last told, until the API server says more: after a reboot nobody may be there to ask.
    let (wanted, wanted_seen) = channel::channel::<Option<Wanted>>(cache.wanted());
    let (view, view_seen) = channel::channel(View::default());
    let nodes: Api<BpfNode> = Api::all(client.clone());
    let metrics = Arc::new(Metrics::new());
    let store = watch::start(nodes.clone(), &config.node_name, cache.clone(), wanted);
    let settings = Settings::new(
        &config.node_name,
        &config.paths,
        config.perf_links,
        engine::VERIFY_EVERY,
        None,
    );
    let source = Arc::new(source::ClusterSource::new(
        client,
        cache.clone(),
        config.artifacts.clone(),
    ));
    let warm = warm::run(source.clone(), settings.architecture.clone(), view_seen.clone());
    let (facts, facts_seen) = channel::channel(facts);
    // Held here, so that it outlives the engine.
    let pin_root: Mutex<Option<PinRoot>> = Mutex::default();
    let engine = async {
        let held = hold::pin_root(&config.paths.pin_root, &store, wanted_seen.clone(), &view).await;
        *pin_root.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        // It may have taken somebody who mounted what was missing; what the kernel has is remembered.
        facts.send_replace(prober.node_facts());
        engine::run(settings, source, wanted_seen.clone(), view).await;
    };
    let writer = write::run(
        nodes,
        &config.node_name,
        facts_seen,
        store.clone(),
        view_seen.clone(),
        metrics.clone(),
    );
    let listeners = [Some(config.health_listen), config.metrics_listen];
    let health = health::serve(listeners, store.clone(), view_seen.clone(), metrics).await?;
    tokio::select! {
        () = engine => tracing::error!("the engine ended"),
        () = writer => tracing::error!("the status writer ended"),
        () = warm => tracing::error!("the keeper of the cache ended"),
        () = health => tracing::error!("the health endpoint ended"),
        _ = terminate.recv() => tracing::info!("SIGTERM: ending; what runs in the kernel stays"),
        _ = interrupt.recv() => tracing::info!("SIGINT: ending; what runs in the kernel stays"),
    }
    let nothing_to_run = wanted_seen
        .borrow()
        .as_ref()
        .is_some_and(|wanted| wanted.authoritative && wanted.programs.is_empty());
    if nothing_to_run && view_seen.borrow().rows.is_empty() {
        leave_nothing(pin_root, &cache);
    }
    Ok(())
}

/// After the last program was removed nothing of bpfleet has to stay on the node: it may be the last time that
/// an agent runs here.
fn leave_nothing(pin_root: Mutex<Option<PinRoot>>, cache: &Cache) {
    if let Some(held) = pin_root.into_inner().unwrap_or_else(PoisonError::into_inner) {
        held.give_back();
    }
    if let Err(error) = cache.remove() {
        tracing::warn!(%error, "something is left in the cache");
    }
}

/// A client that gives up on a silent API server, and whose name stands in managedFields and audit logs.
async fn client() -> Result<Client, ServeError> {
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(Duration::from_secs(10));
    config.write_timeout = Some(Duration::from_secs(30));
    let agent = HeaderValue::from_static(concat!("bpfleet-agent/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, agent));
    Ok(Client::try_from(config)?)
}

/// An error of the API server in its own words, without the parts of its answer.
fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        other => crate::load::error_chain(other),
    }
}
