//! Taking the pin root, and saying in status why that does not work for as long as it does not.

use std::{path::Path, time::Duration};

use bpfleet_crds::NodeReason;
use tokio::{sync::watch as channel, time::Instant};

use crate::{
    engine::{View, state::Wanted},
    load::request::Failure,
    pin_root::{PinRoot, PinRootError},
};

/// How often it is tried again: somebody may mount the BPF file system, and HostToContainer propagation brings
/// it into a running container.
const RETRY: Duration = Duration::from_secs(2);
/// During an upgrade the agent before may need this long to end; until then nothing is wrong.
const PREDECESSOR: Duration = Duration::from_secs(30);

/// Returns once the pin root is held. Until then nothing runs here, and the status says why.
pub async fn pin_root(
    path: &Path,
    mut wanted: channel::Receiver<Option<Wanted>>,
    view: &channel::Sender<View>,
) -> PinRoot {
    let started = Instant::now();
    let mut said = None;
    loop {
        let error = match PinRoot::take(path, false) {
            Ok(held) => return held,
            Err(error) => error,
        };
        let message = error.to_string();
        let expected = matches!(error, PinRootError::InUse { .. }) && started.elapsed() < PREDECESSOR;
        if !expected {
            if said.as_ref() != Some(&message) {
                tracing::error!("nothing can run here: {message}");
                said = Some(message.clone());
            }
            if let Some(wanted) = wanted.borrow_and_update().as_ref() {
                let next = View::blocked(wanted, Failure::new(NodeReason::PinFailed, message));
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
