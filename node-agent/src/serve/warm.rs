//! Keeping in the cache what runs: an agent that adopted its pins with an empty cache, as after an upgrade, could
//! not load them again after a reboot with nobody to ask.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::sync::watch as channel;

use super::source::ClusterSource;
use crate::{
    engine::{View, source::Source as _},
    load::request::Failure,
};

/// How long to wait after something could not be had.
const RETRY: Duration = Duration::from_secs(60);

/// Runs until the engine ends.
pub async fn run(source: Arc<ClusterSource>, architecture: String, mut view: channel::Receiver<View>) {
    let mut kept: BTreeSet<String> = BTreeSet::new();
    loop {
        let running: BTreeMap<String, Option<String>> = view
            .borrow_and_update()
            .rows
            .iter()
            // What runs here and shall not is given to nobody by the operator, and would not be loaded again either.
            .filter(|row| row.reason.is_none())
            .filter_map(|row| Some((row.revision.clone()?, row.variant.clone())))
            .collect();
        kept.retain(|revision| running.contains_key(revision));
        let mut missing = false;
        for (revision, variant) in &running {
            if kept.contains(revision) {
                continue;
            }
            match keep(&source, &architecture, revision, variant.as_deref()).await {
                Ok(()) => {
                    kept.insert(revision.clone());
                }
                Err(failure) => {
                    missing = true;
                    tracing::warn!(
                        revision,
                        "it runs, but is not in this node's cache: {}",
                        failure.message
                    );
                }
            }
        }
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if missing => {}
        }
    }
}

/// The variant that runs is what the node would load again.
async fn keep(
    source: &ClusterSource,
    architecture: &str,
    revision: &str,
    variant: Option<&str>,
) -> Result<(), Failure> {
    let spec = source.revision(revision).await?;
    let running = spec
        .variants
        .iter()
        .find(|known| Some(known.name.as_str()) == variant);
    if let Some(object) = running.and_then(|variant| variant.object_for(architecture)) {
        source.object(object).await?;
    }
    Ok(())
}
