//! Everything at once: watches, election, reconcilers (in the replica that leads), artifact and health
//! endpoints.

use std::{io, sync::Arc, time::Duration};

use bpfleet_crds::names::OPERATOR_LEASE;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use kube::{Api, Client};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};

use crate::{
    artifacts::{
        address::{AddressError, Advertise},
        auth::Authenticator,
        cache::Cache,
        endpoint::{self, Shared},
        store::Store,
        tls::Tls,
    },
    config::Serve,
    context::Context,
    error::chain,
    events::Events,
    health::{self, Health},
    index::Index,
    leader::Election,
    listen,
    metrics::Metrics,
    node_write,
    objects::registry::Registry,
    program, queue, watch as watches,
};

/// Programs that are looked at at once: a registry that does not answer holds up only those that use it.
const PROGRAMS_AT_ONCE: usize = 64;
/// Nodes that are written at once.
const NODES_AT_ONCE: usize = 16;
/// How often the certificate and its publication are looked at without being told of a change.
const CERTIFICATE_PERIOD: Duration = Duration::from_secs(30);
/// The same, as long as there is no certificate.
const CERTIFICATE_RETRY: Duration = Duration::from_secs(1);
/// How long telling the nodes waits for the endpoint's publication.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(10);

/// Why the operator cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No way to the API server.
    #[error("cannot find the API server: {0}; set KUBECONFIG, or run in a pod with a service account")]
    Client(#[source] Box<kube::Error>),
    /// No way to find the configuration of the way to the API server.
    #[error(
        "cannot read the way to the API server: {0}; set KUBECONFIG, or run in a pod with a service account"
    )]
    Kubeconfig(#[source] Box<kube::config::InferConfigError>),
    /// A flag's value cannot be used.
    #[error("{what}: {source}")]
    Io {
        /// Which, and what was tried.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A part of the operator ended that never should.
    #[error("a part of the operator failed unexpectedly; the log says where")]
    Defect,
    /// The machine's certificates cannot be read.
    #[error("cannot prepare connections to registries: {0}")]
    Registry(#[from] reqwest::Error),
}

fn io_error(what: String) -> impl FnOnce(io::Error) -> ServeError {
    move |source| ServeError::Io { what, source }
}

/// Runs until `stop` turns true.
///
/// # Errors
/// It cannot start.
pub async fn serve(
    config: Serve,
    client: Client,
    identity: String,
    stop: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let namespace = config.namespace.as_str();
    let cache = Cache::new(config.cache_dir.clone()).map_err(io_error(format!(
        "cannot use --cache-dir {}",
        config.cache_dir.clone().unwrap_or_default().display()
    )))?;
    let registry = Registry::new(config.insecure_registries.clone())?;
    let revisions = Arc::new(Index::default());
    let metrics = Arc::new(Metrics::default());
    let store = Arc::new(Store::new(&client, namespace, registry, cache, revisions.clone()));
    let events = Events::new(client.clone(), identity.clone());
    let context = Arc::new(Context::new(
        &client,
        config.namespace.clone(),
        store.clone(),
        revisions.clone(),
        events,
        metrics.clone(),
    ));
    let tls = Arc::new(Tls::new(namespace));
    let election = Election::new(
        Api::namespaced(client.clone(), namespace),
        OPERATOR_LEASE,
        identity,
    );

    let artifacts = listen::bind(config.artifact_listen)
        .await
        .map_err(io_error(format!(
            "cannot listen at --artifact-listen {}",
            config.artifact_listen
        )))?;
    let health_listener = listen::bind(config.health_listen)
        .await
        .map_err(io_error(format!(
            "cannot listen at --health-listen {}",
            config.health_listen
        )))?;
    let shared = Arc::new(Shared {
        store,
        authenticator: Authenticator::new(client.clone(), namespace),
        bpf_nodes: Api::all(client.clone()),
        revisions,
        metrics,
    });
    let health = health::router(Health {
        context: context.clone(),
        tls: tls.clone(),
    });
    let endpoint = endpoint::serve(artifacts, tls.clone(), shared, stop.clone());
    let health = axum::serve(health_listener, health).into_future();

    // Each in a task of its own: what is busy or stuck must not hold up the election.
    let election = Arc::new(election);
    let mut tasks = JoinSet::new();
    let leads = || election.leads();
    tasks.spawn({
        let (context, client) = (context.clone(), client.clone());
        async move { watches::run(&context, &client).await }
    });
    let advertise = Advertise::from(config.advertise);
    if let Advertise::Service(name) = &advertise {
        let services = Api::namespaced(client.clone(), namespace);
        tasks.spawn(watches::service(context.clone(), services, name.clone()));
    }
    let (published, is_published) = watch::channel(false);
    tasks.spawn(certificate(
        Publisher {
            tls,
            secrets: Api::namespaced(client.clone(), namespace),
            config_maps: Api::namespaced(client.clone(), namespace),
            services: Api::namespaced(client, namespace),
            advertise,
        },
        context.clone(),
        leads(),
        published,
    ));
    tasks.spawn(lead(context, leads(), is_published));
    tasks.spawn({
        let election = election.clone();
        async move { election.run().await }
    });

    let ended = tokio::select! {
        // They never end by themselves.
        _ = tasks.join_next() => Err(ServeError::Defect),
        result = health => result.map_err(io_error("the health endpoint failed".to_owned())),
        // The last to end: it finishes what is under way when all else is to stop.
        () = endpoint => Ok(()),
    };
    tasks.shutdown().await;
    release(&election).await;
    ended
}

/// Gives the Lease back.
async fn release(election: &Election) {
    let released = tokio::time::timeout(Duration::from_secs(5), election.release()).await;
    if let Ok(Err(error)) = released {
        tracing::warn!(
            error = chain(&error),
            "the Lease was not given back; another replica takes over when it runs out"
        );
    }
}

/// Reconciles while this replica leads. When it does not any more, work under way is dropped at once.
async fn lead(context: Arc<Context>, mut leads: watch::Receiver<bool>, mut published: watch::Receiver<bool>) {
    loop {
        if leads.wait_for(|leads| *leads).await.is_err() {
            return;
        }
        context.metrics.set_leader(true);
        let work = async {
            // Agents that are told what to run soon look for the endpoint. That it cannot be published must not keep
            // those from being told who need nothing of it.
            let _ = tokio::time::timeout(PUBLISHED_WITHIN, published.wait_for(|done| *done)).await;
            reconcile(&context).await;
        };
        tokio::select! {
            () = work => {}
            _ = leads.wait_for(|leads| !*leads) => {}
        }
        context.metrics.set_leader(false);
    }
}

async fn reconcile(context: &Arc<Context>) {
    context.wait_synced().await;
    context.forget_decisions();
    context.look_at_all_programs(Duration::ZERO);
    context.look_at_all_nodes();
    let programs = queue::work(
        &context.program_queue,
        PROGRAMS_AT_ONCE,
        |name| look_at_program(context.clone(), name),
        |_, outcome| context.metrics.reconciled("BpfProgram", outcome),
    );
    let nodes = queue::work(
        &context.node_queue,
        NODES_AT_ONCE,
        |name| look_at_node(context.clone(), name),
        |_, outcome| context.metrics.reconciled("BpfNode", outcome),
    );
    tokio::join!(programs, nodes);
}

async fn look_at_program(context: Arc<Context>, name: String) -> queue::Outcome {
    let started = Instant::now();
    let outcome = program::reconcile(&context, &name).await;
    context.metrics.took("BpfProgram", started.elapsed());
    outcome
}

async fn look_at_node(context: Arc<Context>, name: String) -> queue::Outcome {
    let started = Instant::now();
    let outcome = node_write::reconcile(&context, &name).await;
    context.metrics.took("BpfNode", started.elapsed());
    outcome
}

/// What the endpoint's certificate and its publication need.
struct Publisher {
    tls: Arc<Tls>,
    secrets: Api<Secret>,
    config_maps: Api<ConfigMap>,
    services: Api<Service>,
    advertise: Advertise,
}

impl Publisher {
    /// Tells the agents where the endpoint is.
    async fn publish(&self) -> Result<(), AddressError> {
        let address = self.advertise.address(&self.services).await?;
        Ok(self.tls.publish(&self.config_maps, address).await?)
    }
}

/// Keeps the certificate, and in the replica that leads its publication, as they should be.
async fn certificate(
    publisher: Publisher,
    context: Arc<Context>,
    leads: watch::Receiver<bool>,
    published: watch::Sender<bool>,
) {
    let mut leads_changed = leads.clone();
    let mut ticks = tokio::time::interval(CERTIFICATE_RETRY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked_at: Option<Instant> = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                if looked_at.is_some_and(|at| at.elapsed() < CERTIFICATE_PERIOD) {
                    continue;
                }
            }
            () = context.publication_changed.notified() => {}
            Ok(()) = leads_changed.changed() => {}
        }
        looked_at = None;
        if let Err(error) = publisher.tls.ensure(&publisher.secrets, context.now()).await {
            tracing::warn!(error = chain(&error), "no certificate for the artifact endpoint");
            continue;
        }
        // Not in the condition itself: what `borrow` returns would be held while publishing, and block the election.
        let leading = *leads.borrow();
        if leading {
            if let Err(error) = publisher.publish().await {
                tracing::warn!(error = chain(&error), "cannot publish the artifact endpoint");
                continue;
            }
            published.send_replace(true);
        }
        looked_at = Some(Instant::now());
    }
}
