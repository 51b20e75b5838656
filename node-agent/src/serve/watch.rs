//! Watching this node's BpfNode, and no other.

use std::{collections::BTreeMap, sync::Arc};

use bpfleet_crds::BpfNode;
use futures::StreamExt;
use kube::{
    Api, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use tokio::sync::watch as channel;

use crate::{cache::Cache, engine::state::Wanted};

/// The BpfNode as last seen; none before the first sight and after its deletion.
pub type Latest = channel::Receiver<Option<Arc<BpfNode>>>;

/// Starts watching. A BpfNode that is deleted changes nothing about what shall run: the operator makes it again.
pub fn start(
    nodes: Api<BpfNode>,
    name: &str,
    cache: Cache,
    wanted: channel::Sender<Option<Wanted>>,
) -> Latest {
    let (latest, seen) = channel::channel(None);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    tokio::spawn(async move {
        let mut events = watcher(nodes, config).default_backoff().boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Apply(node) | watcher::Event::InitApply(node)) => {
                    take(&node, &cache, &wanted);
                    latest.send_replace(Some(Arc::new(node)));
                }
                Ok(watcher::Event::Delete(_)) => {
                    tracing::warn!("this node's BpfNode was deleted; what runs goes on until it is back");
                    latest.send_replace(None);
                }
                Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
                Err(error) => tracing::warn!(%error, "the watch on this node's BpfNode failed; trying again"),
            }
        }
    });
    seen
}

fn take(node: &BpfNode, cache: &Cache, wanted: &channel::Sender<Option<Wanted>>) {
    let programs: BTreeMap<String, String> = node
        .spec
        .programs
        .iter()
        .map(|program| (program.name.clone(), program.revision.clone()))
        .collect();
    let next = Wanted {
        generation: node.metadata.generation,
        programs,
        authoritative: true,
    };
    let changed = wanted.send_if_modified(|current| {
        let changed = current.as_ref() != Some(&next);
        if changed {
            *current = Some(next.clone());
        }
        changed
    });
    if changed && let Err(error) = cache.put_wanted(&next) {
        tracing::warn!(node = node.name_any(), %error, "after a reboot without the API server, this node will not know what to run");
    }
}
