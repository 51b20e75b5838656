//! `bpfleet-operator verify`: does this installation work? Looks at each part, again and again until all are well or
//! time is up, and says what to do about those that are not.

mod checks;
mod endpoint;

use std::io::Write;

use bpfleet_crds::{
    BpfNode,
    names::{AGENT_COMPONENT, AGENT_DAEMON_SET, OPERATOR_COMPONENT, pods_of},
};
use comfy_table::{Table, presets};
use k8s_openapi::{
    api::{
        apps::v1::DaemonSet,
        core::v1::{ConfigMap, Node, Pod},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, Client, api::ListParams, core::DeserializeGuard};
use serde::Serialize;
use tokio::time::{Duration, Instant};

use crate::{
    config::{Output, Verify},
    error::ApiError,
    view::{AgentView, BpfNodeView, NodeView},
};

/// How often everything is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// One part of the installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Which.
    pub part: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// How it is; if it is not well, what to do about it.
    pub message: String,
}

/// Looks until all is well or time is up, and prints how it is. Whether all is well.
///
/// # Errors
/// Standard output is closed.
pub async fn run(config: &Verify, client: &Client, out: &mut impl Write) -> std::io::Result<bool> {
    let deadline = Instant::now() + config.timeout;
    let mut said = String::new();
    let checks = loop {
        let checks = look(client, &config.namespace).await;
        if checks.iter().all(|check| check.ok) || Instant::now() >= deadline {
            break checks;
        }
        if let Some(first) = checks.iter().find(|check| !check.ok)
            && first.message != said
        {
            tracing::info!("waiting for {}: {}", first.part, first.message);
            said.clone_from(&first.message);
        }
        tokio::time::sleep(LOOK).await;
    };
    match config.output {
        Output::Json => {
            let text = serde_json::to_string_pretty(&checks).map_err(std::io::Error::other)?;
            writeln!(out, "{text}")?;
        }
        Output::Table => writeln!(out, "{}", table(&checks))?,
    }
    Ok(checks.iter().all(|check| check.ok))
}

fn table(checks: &[Check]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(["PART", "WORKS", "WHAT"]);
    for check in checks {
        table.add_row([check.part, if check.ok { "yes" } else { "NO" }, &check.message]);
    }
    table
}

/// Looks once. A part that cannot be asked for is not well, with the API server's own words.
async fn look(client: &Client, namespace: &str) -> Vec<Check> {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let of = |component: &str| ListParams::default().labels(&pods_of(component));
    let mut found = Vec::new();
    for name in checks::CRDS {
        found.push((name, crds.get_opt(name).await));
    }
    let operators = pods.list(&of(OPERATOR_COMPONENT)).await;
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    vec![
        checks::crds(found),
        answered("operator", "list pods", operators, |pods| {
            checks::operator(&pods.items)
        }),
        endpoint::check(&config_maps).await,
        agents(client, namespace, of(AGENT_COMPONENT)).await,
    ]
}

async fn agents(client: &Client, namespace: &str, labels: ListParams) -> Check {
    const PART: &str = "agents";
    let all = ListParams::default();
    let nodes: Api<Node> = Api::all(client.clone());
    let bpf_nodes: Api<DeserializeGuard<BpfNode>> = Api::all(client.clone());
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let daemon_sets: Api<DaemonSet> = Api::namespaced(client.clone(), namespace);
    let asked = tokio::try_join!(
        nodes.list(&all),
        bpf_nodes.list(&all),
        pods.list(&labels),
        daemon_sets.get(AGENT_DAEMON_SET)
    );
    let what = format!("list nodes, BpfNodes and pods, and read DaemonSet {AGENT_DAEMON_SET}");
    answered(PART, &what, asked, |(nodes, bpf_nodes, pods, daemon_set)| {
        let nodes: Vec<NodeView> = nodes.items.into_iter().filter_map(NodeView::new).collect();
        let bpf_nodes: Vec<BpfNodeView> = bpf_nodes.items.into_iter().map(BpfNodeView::new).collect();
        let agents: Vec<AgentView> = pods.items.into_iter().filter_map(AgentView::new).collect();
        let desired = daemon_set
            .status
            .map_or(0, |status| status.desired_number_scheduled);
        checks::agents(usize::try_from(desired).unwrap_or(0), &nodes, &agents, &bpf_nodes)
    })
}

fn answered<T>(
    part: &'static str,
    what: &str,
    answer: Result<T, kube::Error>,
    judge: impl FnOnce(T) -> Check,
) -> Check {
    match answer {
        Ok(answer) => judge(answer),
        Err(error) => Check {
            part,
            ok: false,
            message: crate::error::chain(&ApiError::new(what, error)),
        },
    }
}
