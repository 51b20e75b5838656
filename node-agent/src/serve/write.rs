//! Writing the status: only when it says something else than what the API server has.

use std::{sync::Arc, time::Duration};

use bpfleet_crds::{BpfNode, BpfNodeStatus, node::NodeFacts};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::sync::watch as channel;

use super::{metrics::Metrics, watch::Latest};
use crate::{
    engine::View,
    report::{same, status},
};

const FIRST_RETRY: Duration = Duration::from_millis(500);
const MAX_RETRY: Duration = Duration::from_secs(30);
/// Changes that come within this time are written as one.
const GATHER: Duration = Duration::from_millis(50);

/// Runs until the engine or the watch ends.
pub async fn run(
    nodes: Api<BpfNode>,
    name: &str,
    facts: channel::Receiver<NodeFacts>,
    mut latest: Latest,
    mut view: channel::Receiver<View>,
    metrics: Arc<Metrics>,
) {
    let mut retry = FIRST_RETRY;
    // What was written over which version: while the watch still shows that version, comparing with it would write
    // the same again. Any later one, such as an edit by hand, is compared anew.
    let mut written: Option<(Option<String>, BpfNodeStatus)> = None;
    loop {
        tokio::select! {
            changed = latest.changed() => if changed.is_err() { return },
            changed = view.changed() => if changed.is_err() { return },
        }
        tokio::time::sleep(GATHER).await;
        loop {
            let node = latest.borrow_and_update().clone();
            let seen = view.borrow_and_update().clone();
            let Some(node) = node else { break };
            // Before the engine has looked at any generation there is nothing to say.
            if seen.generation.is_none() {
                break;
            }
            let current = node.status.clone().unwrap_or_default();
            let known = facts.borrow().clone();
            let next = status(
                &seen,
                &known,
                env!("CARGO_PKG_VERSION"),
                &current.conditions,
                Timestamp::now(),
            );
            if same(&next, &current) {
                break;
            }
            if let Some((version, status)) = &written
                && node.metadata.resource_version == *version
                && same(&next, status)
            {
                break;
            }
            // A whole replacement: with a merge, fields that are not said any more would stay.
            let operations = json!([{"op": "add", "path": "/status", "value": next}]);
            let patch = match serde_json::from_value(operations) {
                Ok(operations) => Patch::Json::<()>(operations),
                Err(error) => {
                    tracing::error!(%error, "the status cannot be written as a patch");
                    break;
                }
            };
            match nodes.patch_status(name, &PatchParams::default(), &patch).await {
                Ok(_) => {
                    metrics.status_written();
                    retry = FIRST_RETRY;
                    written = Some((node.metadata.resource_version.clone(), next));
                    break;
                }
                // It was deleted; the operator makes it again, and the watch tells.
                Err(kube::Error::Api(error)) if error.code == 404 => break,
                Err(error) => {
                    metrics.status_failed();
                    tracing::warn!(
                        error = super::describe(&error),
                        "the status cannot be written; trying again in {} s",
                        retry.as_secs_f32()
                    );
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(MAX_RETRY);
                }
            }
        }
    }
}
