//! The control plane of a real cluster: host programs in the cluster's network.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::forward::Forward;
use super::network::{CONTROL, Network};
use super::{REGISTRY_PORT, RealOptions, config};
use crate::api_client::{ApiClient, Credentials, write_kubeconfig};
use crate::certs::Authority;
use crate::control_plane::{api_server, controller_manager, etcd, wait_ready};
use crate::error::Result;
use crate::kubectl::Kubectl;
use crate::process::{Launch, Process};
use crate::registry::Registry;
use crate::tools::{NodeTools, Tools};

/// Port of the API server in the cluster's network.
const API_PORT: u16 = 6443;

/// What all parts of the cluster are started with.
pub(super) struct Files {
    pub(super) authority: Authority,
    pub(super) dir: PathBuf,
    pub(super) logs: PathBuf,
    pub(super) tools: Tools,
    pub(super) node_tools: NodeTools,
}

impl Files {
    /// A kubeconfig as it is used in the cluster's network.
    pub(super) fn kubeconfig(&self, user: &str, group: Option<&str>) -> Result<PathBuf> {
        let pair = self.authority.client(user, group)?;
        let file = self
            .authority
            .dir()
            .join(format!("{}.kubeconfig", user.replace(':', "-")));
        let (ca, url) = (
            self.authority.pair().cert,
            format!("https://{CONTROL}:{API_PORT}"),
        );
        write_kubeconfig(&file, &url, &ca, &Credentials::Certificate(&pair))?;
        Ok(file)
    }
}

/// A running control plane.
pub(super) struct Control {
    // Ended in this order.
    controllers: Vec<Process>,
    pub(super) registry: Registry,
    api_server: Process,
    etcd: Process,
    pub(super) client: ApiClient,
    pub(super) admin: PathBuf,
    kubectl: PathBuf,
    _forward: Forward,
}

impl Control {
    /// Starts it and waits until the API server is ready.
    pub(super) fn start(files: &Files, network: &Network, options: &RealOptions) -> Result<Control> {
        let (authority, tools, logs) = (&files.authority, &files.tools, &files.logs);
        let start = |launch: &Launch| network.launch(launch).start(logs);
        let store = "http://127.0.0.1:2379";
        let etcd = start(&etcd(tools, &files.dir, store, "http://127.0.0.1:2380"))?;

        let signer = authority.signer("service-accounts")?;
        let inside = SocketAddr::from((CONTROL, API_PORT));
        let kubelets = authority.client("kube-apiserver-kubelet-client", Some("system:masters"))?;
        let api_server = api_server(tools, authority, &signer, &files.dir, store, inside)?
            .flag("endpoint-reconciler-type", "lease")
            .flag("allow-privileged", "true")
            .flag("kubelet-client-certificate", kubelets.cert)
            .flag("kubelet-client-key", kubelets.key)
            .flag("kubelet-certificate-authority", authority.pair().cert)
            .flag("kubelet-preferred-address-types", "InternalIP")
            // It knows no Service addresses: there is no kube-proxy where it runs.
            .flag("enable-aggregator-routing", "true");
        let api_server = start(&api_server)?;
        let registry = Registry::start_within(network, SocketAddr::from((CONTROL, REGISTRY_PORT)))?;

        let forward = Forward::start(network, inside)?;
        let admin = files.dir.join("admin.kubeconfig");
        let pair = authority.client("bpfleet-e2e-admin", Some("system:masters"))?;
        let (ca, url) = (authority.pair().cert, format!("https://{}", forward.outside()));
        write_kubeconfig(&admin, &url, &ca, &Credentials::Certificate(&pair))?;
        let client = ApiClient::new(&admin)?;
        wait_ready(&api_server, &client)?;

        let kubeconfig = files.kubeconfig("system:kube-controller-manager", None)?;
        let mut manager = controller_manager(tools, &authority.pair(), &signer, &kubeconfig)
            .flag("controllers", "*")
            .flag("allocate-node-cidrs", "false")
            .flag("cluster-cidr", "10.244.0.0/16")
            .flag("cluster-signing-cert-file", authority.pair().cert)
            .flag("cluster-signing-key-file", authority.pair().key);
        if let Some(grace) = options.node_grace {
            manager = manager
                .flag(
                    "node-monitor-grace-period",
                    format!("{}s", grace.as_secs().max(1)),
                )
                .flag("node-monitor-period", "1s");
        }
        let kubeconfig = files.kubeconfig("system:kube-scheduler", None)?;
        let scheduler = Launch::new("kube-scheduler", &files.node_tools.scheduler)
            .flag("kubeconfig", &kubeconfig)
            .flag("authentication-kubeconfig", &kubeconfig)
            .flag("authorization-kubeconfig", &kubeconfig)
            .flag("bind-address", "127.0.0.1")
            .flag("leader-elect", "false")
            .flag("kube-api-qps", "500")
            .flag("kube-api-burst", "1000");
        Ok(Control {
            controllers: vec![start(&manager)?, start(&scheduler)?],
            registry,
            api_server,
            etcd,
            client,
            admin,
            kubectl: tools.kubectl.clone(),
            _forward: forward,
        })
    }

    /// Fails if one of its programs has ended.
    pub(super) fn check(&self, during: &str) -> Result<()> {
        let all = [&self.etcd, &self.api_server]
            .into_iter()
            .chain(&self.controllers);
        all.into_iter().try_for_each(|process| process.check(during))
    }

    pub(super) fn kubectl(&self) -> Kubectl {
        Kubectl::new(&self.kubectl, &self.admin)
    }

    pub(super) fn deploy_dns(&self, node: &str) -> Result<()> {
        self.kubectl().apply(&config::coredns(node)).map(drop)
    }
}
