//! A guest as a node of a cluster: its Node, its agent's Pod, and the real agent on its kernel.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bpfleet_crds::{BpfNode, node::ProgramStatus};
use kube::Api;
use nix::sys::signal::Signal;

use super::HOST;
use super::entries::{self, MapEntry};
use super::fetch::Kernel;
use super::files::{ARTIFACTS, CA, Files, Refresh, TOKEN};
use super::machine::{Machine, Output};
use super::qemu::GuestOptions;
use crate::api_client::{Credentials, kubeconfig};
use crate::cluster::Cluster;
use crate::error::{During, Error, Result};
use crate::node::Node;
use crate::process::tail;
use crate::wait;

/// Where the agent's kubeconfig is in a guest.
const KUBECONFIG: &str = "/etc/bpfleet/kubeconfig";
/// Where its agent pins.
pub const PIN_ROOT: &str = "/sys/fs/bpf/bpfleet";
/// For an agent to end.
const END: Duration = Duration::from_secs(30);

/// A node with a kernel of its own. Dropping it ends the guest and deletes the Node and the Pod.
pub struct VmNode<'c> {
    agent: Mutex<u32>,
    agent_args: Vec<String>,
    // Ended before the machine, and that before its Node.
    _refresh: Refresh,
    machine: Arc<Machine>,
    kernel: Kernel,
    node: Node<'c>,
    cluster: &'c Cluster,
}

impl<'c> VmNode<'c> {
    /// Boots a guest and starts its agent. It has not registered yet.
    pub(crate) fn add(
        cluster: &'c Cluster,
        name: &str,
        kernel: &Kernel,
        options: &GuestOptions,
    ) -> Result<VmNode<'c>> {
        let node = Node::add(cluster, name)?;
        let logs = cluster.plane().logs();
        let machine = Machine::boot(name, kernel, options, &node.dir().join("vm"), logs)?;
        let url = cluster.plane().url().replace("127.0.0.1", HOST);
        let credentials = Credentials::TokenFile(Path::new(TOKEN));
        machine.write_file(KUBECONFIG, 0o600, kubeconfig(&url, Path::new(CA), &credentials))?;
        machine.sh(&format!("mkdir -p {ARTIFACTS}"))?;
        let machine = Arc::new(machine);
        let mut files = Files::new(&node, cluster.plane().ca());
        files.send(&machine)?;
        let agent = start_agent(&machine, name, &options.agent_args)?;
        Ok(VmNode {
            agent: Mutex::new(agent),
            agent_args: options.agent_args.clone(),
            _refresh: Refresh::start(files, Arc::clone(&machine))?,
            machine,
            kernel: kernel.clone(),
            node,
            cluster,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.node.name()
    }

    /// What it runs on.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// The guest.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Its Node and Pod.
    pub fn node(&self) -> &Node<'c> {
        &self.node
    }

    /// Runs a command in the guest, see [`Machine::run`].
    pub fn run(&self, argv: &[&str]) -> Result<Output> {
        self.machine.run(argv)
    }

    /// Runs a shell's script in the guest, see [`Machine::sh`].
    pub fn sh(&self, script: &str) -> Result<String> {
        self.machine.sh(script)
    }

    /// Its BpfNode.
    pub fn bpf_node(&self) -> Result<BpfNode> {
        let api: Api<BpfNode> = Api::all(self.cluster.client());
        self.cluster
            .block_on(api.get(self.name()))
            .during(|| format!("reading BpfNode {}", self.name()))
    }

    /// Waits until the agent answers `/readyz`.
    pub fn wait_ready(&self, timeout: Duration) -> Result<()> {
        let url = "http://127.0.0.1:9980/readyz";
        let what = format!("the agent of {} to be ready", self.name());
        wait::until(what, timeout, || {
            let seen = self
                .check_agent()
                .and_then(|()| self.run(&["wget", "-q", "-O", "-", url]));
            match seen {
                // It will never answer: the inner error ends the waiting.
                Err(error) => Ok(Err(error)),
                Ok(output) if output.success() => Ok(Ok(())),
                Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            }
        })?
    }

    /// Fails with the end of its log if the agent has ended.
    pub fn check_agent(&self) -> Result<()> {
        match self.machine.status(self.agent_pid())? {
            None => Ok(()),
            Some(ended) => {
                let log = self.agent_log();
                Err(Error::Other(format!(
                    "the agent of {} ended with {ended:?}; the end of its log {}:\n{}",
                    self.name(),
                    log.display(),
                    tail(&log, 30)
                )))
            }
        }
    }

    /// The agent's log, which is on this machine.
    pub fn agent_log(&self) -> PathBuf {
        self.machine.serial().to_owned()
    }

    /// Kills the agent with SIGKILL; what it pinned stays.
    pub fn kill_agent(&self) -> Result<()> {
        self.end_agent(Signal::SIGKILL)
    }

    /// Sends the agent SIGTERM and waits for its end; what it pinned stays.
    pub fn stop_agent(&self) -> Result<()> {
        self.end_agent(Signal::SIGTERM)
    }

    /// Starts the agent again, after killing it if it still runs.
    pub fn restart_agent(&self) -> Result<()> {
        self.kill_agent()?;
        let agent = start_agent(&self.machine, self.name(), &self.agent_args)?;
        *self.agent.lock().unwrap_or_else(PoisonError::into_inner) = agent;
        Ok(())
    }

    /// The entries of a program's public map.
    pub fn map(&self, program: &str, map: &str) -> Result<Vec<MapEntry>> {
        let path = format!("{PIN_ROOT}/{program}/maps/{map}");
        let output = self.run(&["bpftool", "-j", "map", "dump", "pinned", &path])?;
        entries::parse(&output.stdout).map_err(|error| {
            let said = String::from_utf8_lossy(&output.stderr);
            Error::Other(format!(
                "dumping {path} on {}: {error}: {}{said}",
                self.name(),
                output.text()
            ))
        })
    }

    /// Waits for a row of its status that `wanted` holds for.
    pub fn wait_row(
        &self,
        program: &str,
        timeout: Duration,
        wanted: impl Fn(&ProgramStatus) -> bool,
    ) -> Result<ProgramStatus> {
        wait::until(
            format!("the row of {program} on {}", self.name()),
            timeout,
            || {
                let rows = self.bpf_node().map_err(|error| error.to_string())?.status;
                let rows = rows.unwrap_or_default().programs;
                match rows.into_iter().find(|row| row.name == program) {
                    Some(row) if wanted(&row) => Ok(row),
                    other => Err(format!("{other:?}")),
                }
            },
        )
    }

    fn agent_pid(&self) -> u32 {
        *self.agent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_agent(&self, signal: Signal) -> Result<()> {
        let pid = self.agent_pid();
        self.machine.signal(pid, signal)?;
        wait::until(
            format!("the agent of {} to end after {signal}", self.name()),
            END,
            || match self.machine.status(pid) {
                Ok(Some(_)) => Ok(Ok(())),
                Ok(None) => Err("it still runs"),
                Err(error) => Ok(Err(error)),
            },
        )?
    }
}

/// Its log goes to the second serial port, and so to a file of this machine, even when the guest is lost.
fn start_agent(machine: &Machine, name: &str, args: &[String]) -> Result<u32> {
    let command = ["bpfleet-agent", "serve", "--health-listen=127.0.0.1:9980"];
    let args = args.iter().map(String::as_str);
    machine.spawn(
        &command.into_iter().chain(args).collect::<Vec<_>>(),
        &[("NODE_NAME", name), ("KUBECONFIG", KUBECONFIG)],
        "/dev/ttyS1",
    )
}
