//! Watching this node's BpfNode, and no other.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bpfleet_crds::BpfNode;
use futures::StreamExt;
use kube::{
    Api, ResourceExt,
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, DefaultBackoff, watcher},
    },
};
use tokio::sync::watch as channel;

use crate::{cache::Cache, engine::state::Wanted};

/// The BpfNode as last seen; none before the first sight and after its deletion.
pub type Latest = channel::Receiver<Option<Arc<BpfNode>>>;

/// Longest wait between two attempts to watch. After the API server was away, the first attempt finds its
/// versions expired and only the next one lists anew: both waits count.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// kube's own waits, but for the longest.
#[derive(Default)]
struct Pauses(DefaultBackoff);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|pause| pause.min(MAX_PAUSE))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0.reset();
    }
}

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
        let mut events = watcher(nodes, config).backoff(Pauses::default()).boxed();
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
                Err(error) => tracing::warn!(
                    error = crate::load::error_chain(&error),
                    "the watch on this node's BpfNode failed; trying again"
                ),
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
