//! Taking the pin root, and saying in status why that does not work for as long as it does not.

use std::{collections::BTreeMap, path::Path, time::Duration};

use bpfleet_crds::NodeReason;
use tokio::{sync::watch as channel, time::Instant};

use super::watch::Latest;
use crate::{
    engine::{View, state::Wanted},
    load::request::Failure,
    pin_root::{PinRoot, PinRootError},
    pins,
};

/// How often it is tried again: somebody may mount the BPF file system, and HostToContainer propagation brings
/// it into a running container.
const RETRY: Duration = Duration::from_secs(2);
/// During an upgrade the agent before may need this long to end; until then nothing is wrong.
const PREDECESSOR: Duration = Duration::from_secs(30);

/// Returns once the pin root is held and can be read. Until then nothing is done here, and the status says why.
pub async fn pin_root(
    path: &Path,
    latest: &Latest,
    mut wanted: channel::Receiver<Option<Wanted>>,
    view: &channel::Sender<View>,
) -> PinRoot {
    let started = Instant::now();
    let mut said = None;
    loop {
        let (message, expected, empty) = match PinRoot::take(path, false) {
            Ok(held) => match pins::scan(path) {
                Ok(_) => return held,
                Err(error) => (
                    format!("{} cannot be read: {error}", path.display()),
                    false,
                    false,
                ),
            },
            Err(error) => (
                error.to_string(),
                matches!(error, PinRootError::InUse { .. }) && started.elapsed() < PREDECESSOR,
                // Without the file system there are no pins.
                matches!(error, PinRootError::NoBpffs { .. }),
            ),
        };
        if !expected {
            if said.as_ref() != Some(&message) {
                tracing::error!("nothing can run here: {message}");
                said = Some(message.clone());
            }
            if let Some(wanted) = wanted.borrow_and_update().as_ref() {
                let running = if empty {
                    BTreeMap::new()
                } else {
                    last_known(latest)
                };
                let next = View::blocked(wanted, &running, Failure::new(NodeReason::PinFailed, message));
                view.send_if_modified(|view| {
                    let changed = *view != next;
                    *view = next;
                    changed
                });
            }
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            Ok(()) = wanted.changed() => {}
        }
    }
}

/// What the status last said that runs here, by program.
fn last_known(latest: &Latest) -> BTreeMap<String, String> {
    let node = latest.borrow().clone();
    let status = node.as_ref().and_then(|node| node.status.as_ref());
    let rows = status
        .map(|status| status.programs.as_slice())
        .unwrap_or_default();
    rows.iter()
        .filter_map(|row| Some((row.name.clone(), row.revision.clone()?)))
        .collect()
}
