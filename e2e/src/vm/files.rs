//! What a kubelet would mount into the agent's pod, brought into a guest and kept up to date there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use bpfleet_crds::names;

use super::HOST;
use super::machine::Machine;
use crate::error::{During, Result};
use crate::node::Node;

/// Where these are in a guest: as the chart mounts them, but for the agent's own token.
pub(super) const CA: &str = "/etc/bpfleet/ca.crt";
pub(super) const TOKEN: &str = "/etc/bpfleet/token";
pub(super) const ARTIFACTS: &str = "/etc/bpfleet/artifacts";
const ARTIFACT_TOKEN: &str = "/var/run/secrets/bpfleet/token";
/// Between two looks whether they have changed.
const REFRESH: Duration = Duration::from_millis(200);

/// These files, as they lie on this machine.
pub(super) struct Files {
    /// From here to there in the guest.
    files: Vec<(PathBuf, &'static str)>,
    artifacts: PathBuf,
    /// What the guest has.
    sent: BTreeMap<String, Vec<u8>>,
}

impl Files {
    pub(super) fn new(node: &Node<'_>, ca: &Path) -> Files {
        Files {
            files: vec![
                (ca.to_owned(), CA),
                (node.kubeconfig().with_extension("token"), TOKEN),
                (node.artifact_token(), ARTIFACT_TOKEN),
            ],
            artifacts: node.artifact_config(),
            sent: BTreeMap::new(),
        }
    }

    /// Sends what is new, and removes what is gone.
    pub(super) fn send(&mut self, machine: &Machine) -> Result<()> {
        let now = self.read();
        for (path, bytes) in &now {
            if self.sent.get(path) != Some(bytes) {
                machine.write_file(path, 0o600, bytes)?;
            }
        }
        for path in self.sent.keys().filter(|path| !now.contains_key(*path)) {
            machine.sh(&format!("rm -f '{path}'"))?;
        }
        self.sent = now;
        Ok(())
    }

    /// A file that is just being replaced is read the next time.
    fn read(&self) -> BTreeMap<String, Vec<u8>> {
        let fixed = self
            .files
            .iter()
            .map(|(from, to)| (from.clone(), (*to).to_owned()));
        let keys = std::fs::read_dir(&self.artifacts).into_iter().flatten().flatten();
        let projected = keys.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            (!name.starts_with("..")).then(|| (entry.path(), format!("{ARTIFACTS}/{name}")))
        });
        fixed
            .chain(projected)
            .filter_map(|(from, to)| {
                let bytes = std::fs::read(from).ok()?;
                let address = to.ends_with(names::ARTIFACT_ADDRESS_KEY);
                Some((to, if address { reachable(&bytes) } else { bytes }))
            })
            .collect()
    }
}

/// The address of this machine's loopback, as a guest has it.
fn reachable(address: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(address)
        .replace("127.0.0.1", HOST)
        .into_bytes()
}

/// Keeps a guest's files like those on this machine, until it is dropped.
pub(super) struct Refresh {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Refresh {
    pub(super) fn start(mut files: Files, machine: Arc<Machine>) -> Result<Refresh> {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(format!("files of {}", machine.name()))
            .spawn(move || {
                while stopped.recv_timeout(REFRESH) == Err(RecvTimeoutError::Timeout) {
                    if let Err(error) = files.send(&machine) {
                        eprintln!("{}: its files are not kept up to date: {error}", machine.name());
                        return;
                    }
                }
            })
            .during(|| "starting a thread for a guest's files")?;
        Ok(Refresh {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Refresh {
    fn drop(&mut self) {
        drop(self.stop.take());
        // It holds the machine, which is to end now.
        self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_another_address_in_a_guest() {
        assert_eq!(reachable(b"127.0.0.1:8443"), b"10.0.2.2:8443");
        assert_eq!(reachable(b"10.96.0.7:8443"), b"10.96.0.7:8443");
    }
}
