//! `bpfleet-operator uninstall`: what runs before the chart's objects are deleted. It stops the operator, tells every
//! node to run nothing, waits for those that can, lets go of every object, and names the nodes that are not clean.
//!
//! A node that is away must not keep anybody from leaving: only requests to the API server that keep failing end it
//! with an error.

mod plan;
mod requests;

use std::{collections::BTreeMap, io::Write, time::Duration};

use bpfleet_crds::{
    BpfNode, BpfProgram,
    names::{
        AGENT_COMPONENT, ARTIFACT_CONFIG_MAP, ARTIFACT_TLS_SECRET, OPERATOR_COMPONENT, OPERATOR_LEASE,
        VERIFY_POD, pods_of,
    },
};
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::Lease,
    core::v1::{ConfigMap, Node, Pod, Secret},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
    core::DeserializeGuard,
};
use serde_json::json;
use tokio::time::Instant;

use self::{
    plan::{NodeStanding, standings},
    requests::{delete, gone_is_fine, list, persist},
};
use crate::{
    config::Uninstall,
    error::ApiError,
    leader,
    program::apply::with_nulls,
    view::{AgentView, BpfNodeView, NodeView},
};

/// How long the operator's pods may take to end: their grace, and what the kubelet needs.
const OPERATOR_ENDS_WITHIN: Duration = Duration::from_secs(45);
/// How long the Lease lasts beyond all waiting: until Helm has deleted the operator's account.
const OUTLASTS: Duration = Duration::from_secs(120);
/// Who holds the Lease meanwhile.
const IDENTITY: &str = "bpfleet-uninstall";
/// How often nodes are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Writes at once.
const AT_ONCE: usize = 16;
/// Most nodes that are named; the rest are counted.
const MAX_NAMED: usize = 50;

/// Why bpfleet cannot be uninstalled now.
#[derive(Debug, thiserror::Error)]
pub enum UninstallError {
    /// The API server.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Standard output.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] std::io::Error),
}

struct Clients {
    deployments: Api<Deployment>,
    pods: Api<Pod>,
    nodes: Api<Node>,
    bpf_nodes: Api<DeserializeGuard<BpfNode>>,
    programs: Api<DeserializeGuard<BpfProgram>>,
    config_maps: Api<ConfigMap>,
    secrets: Api<Secret>,
    leases: Api<Lease>,
}

impl Clients {
    fn new(client: &Client, namespace: &str) -> Self {
        Self {
            deployments: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client.clone(), namespace),
            nodes: Api::all(client.clone()),
            bpf_nodes: Api::all(client.clone()),
            programs: Api::all(client.clone()),
            config_maps: Api::namespaced(client.clone(), namespace),
            secrets: Api::namespaced(client.clone(), namespace),
            leases: Api::namespaced(client.clone(), namespace),
        }
    }
}

/// Does all of it, and says what it does on `out`.
///
/// # Errors
/// The API server cannot be reached, or refuses.
pub async fn run(config: &Uninstall, client: &Client, out: &mut impl Write) -> Result<(), UninstallError> {
    let clients = Clients::new(client, &config.namespace);
    stop_operator(&clients, config, out).await?;
    let emptied = empty_nodes(&clients).await?;
    writeln!(out, "told {} to run nothing", many(emptied, "node"))?;
    let unclean = wait_for_nodes(&clients, config.timeout, out).await?;
    let released = release_programs(&clients).await?;
    writeln!(
        out,
        "let go of {}; they stay until you delete them or the CRDs",
        many(released, "BpfProgram")
    )?;
    delete_own(&clients).await?;
    if unclean.is_empty() {
        writeln!(out, "every node is clean")?;
    } else {
        writeln!(out, "not clean: {}", many(unclean.len(), "node"))?;
        for (name, standing) in unclean.iter().take(MAX_NAMED) {
            writeln!(out, "  {name}: {standing}")?;
        }
        if unclean.len() > MAX_NAMED {
            writeln!(out, "  … and {} more", unclean.len() - MAX_NAMED)?;
        }
        writeln!(
            out,
            "run `bpfleet-agent cleanup` on each of them, or reboot it: what is in its kernel ends with it"
        )?;
    }
    Ok(())
}

/// Sees to it that no operator leads any more: one that goes on would tell the nodes again what to run. Its pods are
/// ended, and the Lease is taken away, for a pod on a node that Kubernetes does not reach may go on all the same.
async fn stop_operator(
    clients: &Clients,
    config: &Uninstall,
    out: &mut impl Write,
) -> Result<(), UninstallError> {
    let name = config.deployment.as_str();
    let lasts = OPERATOR_ENDS_WITHIN + config.timeout + OUTLASTS;
    let take = || leader::take_away(&clients.leases, OPERATOR_LEASE, IDENTITY, lasts, Timestamp::now());
    let holder = persist(&format!("take Lease {OPERATOR_LEASE}"), take).await?;
    let taken = Instant::now();
    let (params, patch) = (
        PatchParams::default(),
        Patch::Merge(json!({"spec": {"replicas": 0}})),
    );
    let scale = || clients.deployments.patch_scale(name, &params, &patch);
    match persist(&format!("scale Deployment {name} to 0"), scale).await {
        Ok(_) => writeln!(out, "stopped the operator (Deployment {name})")?,
        Err(error) if error.code() == Some(404) => writeln!(out, "there is no Deployment {name} any more")?,
        Err(error) => return Err(error.into()),
    }
    let deadline = Instant::now() + OPERATOR_ENDS_WITHIN;
    let mut seen = false;
    loop {
        let left = operator_pods(clients).await?;
        let late = Instant::now() >= deadline;
        if left.is_empty() || late {
            if late {
                writeln!(
                    out,
                    "these pods of the operator have not ended: {}; they do not lead any more",
                    left.join(", ")
                )?;
            }
            if let Some(holder) = holder.filter(|_| late || !seen) {
                // Nobody saw the leader end: it has to notice that it leads no more.
                tracing::info!("waiting for {holder} to notice that it does not lead any more");
                tokio::time::sleep_until(taken + leader::STOPS_WITHIN).await;
            }
            return Ok(());
        }
        seen = true;
        tokio::time::sleep(LOOK).await;
    }
}

/// The operator's pods that have not ended, each with its node.
async fn operator_pods(clients: &Clients) -> Result<Vec<String>, ApiError> {
    let labels = pods_of(OPERATOR_COMPONENT);
    let pods: Vec<Pod> = list(&clients.pods, "pods", ListParams::default().labels(&labels)).await?;
    let ended = |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed"))
    };
    let left = pods.iter().filter(|pod| !ended(pod)).map(|pod| {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        format!("{} on {}", pod.name_any(), node.unwrap_or("no node"))
    });
    Ok(left.collect())
}

/// Empties every BpfNode's spec. How many there are.
async fn empty_nodes(clients: &Clients) -> Result<usize, UninstallError> {
    let bpf_nodes = list(&clients.bpf_nodes, "BpfNodes", ListParams::default()).await?;
    let names: Vec<String> = bpf_nodes
        .into_iter()
        .map(BpfNodeView::new)
        .map(|node| node.name)
        .collect();
    let count = names.len();
    let (params, patch) = (
        &PatchParams::default(),
        &Patch::Merge(json!({"spec": {"programs": null}})),
    );
    let mut writes = stream::iter(names.into_iter().map(|name| async move {
        let attempt = || clients.bpf_nodes.patch(&name, params, patch);
        gone_is_fine(persist(&format!("empty the spec of BpfNode {name}"), attempt).await)
    }))
    .buffer_unordered(AT_ONCE);
    while let Some(written) = writes.next().await {
        written?;
    }
    Ok(count)
}

/// Waits until every node with a live agent runs nothing; returns those that still may, and why.
async fn wait_for_nodes(
    clients: &Clients,
    timeout: Duration,
    out: &mut impl Write,
) -> Result<BTreeMap<String, NodeStanding>, UninstallError> {
    let deadline = Instant::now() + timeout;
    let agents = pods_of(AGENT_COMPONENT);
    let mut said = None;
    loop {
        let nodes: Vec<Node> = list(&clients.nodes, "Nodes", ListParams::default()).await?;
        let pods: Vec<Pod> = list(&clients.pods, "pods", ListParams::default().labels(&agents)).await?;
        let bpf_nodes = list(&clients.bpf_nodes, "BpfNodes", ListParams::default()).await?;
        let nodes: Vec<NodeView> = nodes.into_iter().filter_map(NodeView::new).collect();
        let agents: Vec<AgentView> = pods.into_iter().filter_map(AgentView::new).collect();
        let bpf_nodes: Vec<BpfNodeView> = bpf_nodes.into_iter().map(BpfNodeView::new).collect();
        let unclean = standings(&nodes, &agents, &bpf_nodes);
        let waiting = unclean
            .values()
            .filter(|standing| matches!(standing, NodeStanding::Busy { .. }))
            .count();
        if waiting == 0 || Instant::now() >= deadline {
            return Ok(unclean);
        }
        if said != Some(waiting) {
            let left = deadline.saturating_duration_since(Instant::now()).as_secs();
            writeln!(
                out,
                "waiting for {} to remove what runs, for {left} s more at most",
                many(waiting, "node")
            )?;
            out.flush()?;
            said = Some(waiting);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Drops the finalizer of every BpfProgram, and says in its status that it runs nowhere. How many there are.
async fn release_programs(clients: &Clients) -> Result<usize, UninstallError> {
    let programs = list(&clients.programs, "BpfPrograms", ListParams::default()).await?;
    let (count, params) = (programs.len(), PatchParams::default());
    for program in programs {
        // One that cannot be read can be let go of all the same.
        let (metadata, status) = match program.0 {
            Ok(program) => (program.metadata, Some(program.status.unwrap_or_default())),
            Err(invalid) => (invalid.metadata, None),
        };
        let name = metadata.name.unwrap_or_default();
        if let Some(status) = status {
            let status = plan::uninstalled(status, metadata.generation, Timestamp::now());
            let patch = Patch::Merge(json!({"status": with_nulls(&status)}));
            let attempt = || clients.programs.patch_status(&name, &params, &patch);
            gone_is_fine(persist(&format!("write the status of BpfProgram {name}"), attempt).await)?;
        }
        if let Some(others) = plan::without_ours(metadata.finalizers.as_deref()) {
            let patch = Patch::Merge(json!({"metadata": {"finalizers": others}}));
            let attempt = || clients.programs.patch(&name, &params, &patch);
            gone_is_fine(persist(&format!("drop the finalizer of BpfProgram {name}"), attempt).await)?;
        }
    }
    Ok(count)
}

/// Deletes what was made in the namespace and Helm does not delete. Copies of objects go with their revisions.
async fn delete_own(clients: &Clients) -> Result<(), ApiError> {
    delete(&clients.config_maps, "ConfigMap", ARTIFACT_CONFIG_MAP).await?;
    delete(&clients.secrets, "Secret", ARTIFACT_TLS_SECRET).await?;
    // An operator that goes on somewhere, or was started again, would take a new one; its account goes soon.
    if operator_pods(clients).await?.is_empty() {
        delete(&clients.leases, "Lease", OPERATOR_LEASE).await?;
    }
    delete(&clients.pods, "Pod", VERIFY_POD).await
}

/// So many of something, as a person says it.
fn many(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
