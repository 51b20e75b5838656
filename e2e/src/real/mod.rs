//! A real Kubernetes cluster on this machine: nodes with containerd, kubelet and kube-proxy that run pods.
//!
//! Each node lives in mount, network, pid, UTS, IPC and cgroup namespaces of its own, the control plane in
//! a network of its own; the host's network, mounts, settings and control groups stay as they are. The
//! kernel is shared, though: BPF programs of one node are seen in the lists of all, and tracefs is one.
//!
//! From here everything is reached on loopback: [`RealCluster::kubectl`], [`RealCluster::client`] and the
//! [`Registry`] work as they do with a [`crate::ControlPlane`]. In the cluster, the registry is
//! [`REGISTRY`], for nodes and pods.

pub mod cgroups;
mod config;
mod control;
pub mod diagnose;
pub mod forward;
pub mod images;
pub mod inner;
mod machine;
pub mod network;
mod node;
pub mod options;
mod root;
mod run;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Node;
use kube::api::Api;

pub use node::RealNode;
pub use options::{NodeOptions, RealOptions, Tracefs};

use self::control::{Control, Files};
use self::images::PAUSE as PAUSE_IMAGE;
use self::network::{Network, node_address};
use self::node::Shared;
use self::run::output;
use crate::api_client::ApiClient;
use crate::certs::Authority;
use crate::error::{Error, Result, make_dir};
use crate::kubectl::Kubectl;
use crate::registry::Registry;
use crate::scratch::Scratch;
use crate::tools::{NodeTools, Tools};
use crate::wait;

/// The registry's name in the cluster, as it stands in image references. It speaks plain HTTP.
pub const REGISTRY: &str = "registry.test:5000";
const REGISTRY_PORT: u16 = 5000;

/// Time for nodes to be Ready and DNS to answer, on a machine that also compiles.
const READY: Duration = Duration::from_secs(120);

/// A running cluster. Dropping it ends everything in it and removes its files.
pub struct RealCluster {
    // Ended in this order: nodes before what they talk to.
    nodes: Vec<RealNode>,
    control: Control,
    shared: Arc<Shared>,
    scratch: Scratch,
}

impl RealCluster {
    /// Starts a cluster and waits until its nodes are Ready and DNS is there.
    pub fn start(options: &RealOptions) -> Result<RealCluster> {
        RealCluster::start_in(Scratch::new("real")?, options)
    }

    /// Like [`RealCluster::start`], with its files in the given directory.
    pub fn start_in(scratch: Scratch, options: &RealOptions) -> Result<RealCluster> {
        options.check()?;
        let files = Files {
            authority: Authority::new(&scratch.dir("pki")?)?,
            dir: scratch.path().to_owned(),
            logs: scratch.dir("logs")?,
            tools: Tools::find()?,
            node_tools: NodeTools::find()?,
        };
        let archives = images::all(&files.node_tools)?;
        files.kubeconfig("system:kube-proxy", None)?;
        let addresses = options.nodes.iter().enumerate();
        let shared = Arc::new(Shared {
            files,
            network: Network::new()?,
            group: cgroups::Group::for_cluster(&scratch)?,
            count: options.nodes.len(),
            hosts: config::hosts(addresses.map(|(index, node)| (node.name.as_str(), node_address(index)))),
            fast: options.node_grace.is_some(),
        });
        let nodes = options.nodes.iter().enumerate();
        let nodes: Vec<RealNode> = nodes
            .map(|(index, node)| RealNode::new(node, index, &shared))
            .collect::<Result<_>>()?;
        // The machines start while the control plane does.
        let control = std::thread::scope(|scope| {
            let machines: Vec<_> = nodes
                .iter()
                .map(|node| scope.spawn(|| node.start_machine(&archives)))
                .collect();
            let control = Control::start(&shared.files, &shared.network, options);
            for machine in machines {
                let started = machine.join();
                started
                    .unwrap_or_else(|_| Err(Error::Other("a thread that starts a node panicked".into())))?;
            }
            control
        })?;
        let cluster = RealCluster {
            nodes,
            control,
            shared,
            scratch,
        };
        cluster.nodes.iter().try_for_each(RealNode::start_kubelet)?;
        let dns = cluster.nodes.first().map_or("", RealNode::name);
        let ready = cluster
            .control
            .deploy_dns(dns)
            .and_then(|()| cluster.wait_ready(READY));
        match ready {
            Ok(()) => Ok(cluster),
            Err(error) => Err(Error::Other(format!(
                "{error}\n{}",
                diagnose::report(&cluster, &[])
            ))),
        }
    }

    /// Waits until every living node is Ready and DNS is there; fails at once if a program has ended.
    pub fn wait_ready(&self, timeout: Duration) -> Result<()> {
        let client = self.client();
        let nodes: Api<Node> = Api::all(client.client());
        let deployments: Api<Deployment> = Api::namespaced(client.client(), "kube-system");
        for node in self.nodes.iter().filter(|node| node.pid().is_ok()) {
            self.until(&format!("node {} to be Ready", node.name()), timeout, || {
                let found = client
                    .block_on(nodes.get(node.name()))
                    .map_err(|error| error.to_string())?;
                let conditions = found
                    .status
                    .and_then(|status| status.conditions)
                    .unwrap_or_default();
                match conditions.iter().find(|condition| condition.type_ == "Ready") {
                    Some(ready) if ready.status == "True" => Ok(()),
                    Some(ready) => Err(ready.message.clone().unwrap_or_default()),
                    None => Err("it has no Ready condition".into()),
                }
            })?;
        }
        self.until("CoreDNS to be available", timeout, || {
            let found = client
                .block_on(deployments.get("coredns"))
                .map_err(|error| error.to_string())?;
            match found.status.and_then(|status| status.available_replicas) {
                Some(1..) => Ok(()),
                _ => Err("none of its pods is available".into()),
            }
        })
    }

    fn until(&self, what: &str, timeout: Duration, look: impl Fn() -> Result<(), String>) -> Result<()> {
        wait::until(what, timeout, || {
            match self.check(&format!("waiting for {what}")) {
                Err(ended) => Ok(Err(ended)),
                Ok(()) => look().map(Ok),
            }
        })?
    }

    /// Fails, with its log's end, if a program of the cluster has ended by itself.
    pub fn check(&self, during: &str) -> Result<()> {
        self.control.check(during)?;
        self.nodes.iter().try_for_each(|node| node.check(during))
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> Kubectl {
        self.control.kubectl()
    }

    /// The administrator's kubeconfig, for programs of the host.
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.control.admin
    }

    /// The administrator's client.
    pub fn client(&self) -> &ApiClient {
        &self.control.client
    }

    /// Runs Helm as the administrator and returns its standard output.
    pub fn helm(&self, args: &[&str]) -> Result<String> {
        let mut helm = Command::new(self.helm_program());
        helm.args(args).env("KUBECONFIG", self.admin_kubeconfig());
        for kind in ["CACHE", "CONFIG", "DATA"] {
            let dir = self.scratch.path().join("helm").join(kind.to_lowercase());
            make_dir(&dir)?;
            helm.env(format!("HELM_{kind}_HOME"), dir);
        }
        output(&mut helm)
    }

    /// The built Helm.
    pub fn helm_program(&self) -> &Path {
        &self.shared.files.node_tools.helm
    }

    /// The built commands of the control plane, kubectl among them.
    pub fn tools(&self) -> &Tools {
        &self.shared.files.tools
    }

    /// The registry. Its own methods reach it from the host; in the cluster it is [`REGISTRY`].
    pub fn registry(&self) -> &Registry {
        &self.control.registry
    }

    /// All nodes.
    pub fn nodes(&self) -> &[RealNode] {
        &self.nodes
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> Result<&RealNode> {
        let found = self.nodes.iter().find(|node| node.name() == name);
        found.ok_or_else(|| Error::Other(format!("the cluster has no node {name}")))
    }

    /// Gives all living nodes an image; see [`RealNode::import_image`].
    pub fn import_image(&self, archive: &Path) -> Result<()> {
        let mut living = self.nodes.iter().filter(|node| node.pid().is_ok());
        living.try_for_each(|node| node.import_image(archive))
    }

    /// A program of the host that will use the cluster's network, where the API server and the registry
    /// have their own addresses and pods can be reached.
    pub fn in_control(&self, program: &str) -> Command {
        self.shared.network.command(program)
    }

    /// What `nsenter` needs for that, as long as this process lives.
    pub fn control_prefix(&self) -> Vec<String> {
        self.shared.network.prefix()
    }

    /// Where the logs of everything that was started lie.
    pub fn logs(&self) -> &Path {
        &self.shared.files.logs
    }

    /// A directory that is removed with the cluster.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }
}
