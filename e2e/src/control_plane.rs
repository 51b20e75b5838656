//! etcd, kube-apiserver and kube-controller-manager on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::api_client::{ApiClient, Credentials, write_kubeconfig};
use crate::certs::{Authority, Pair};
use crate::error::{Result, write_file};
use crate::kubectl::Kubectl;
use crate::process::{Launch, Process};
use crate::scratch::Scratch;
use crate::tools::Tools;
use crate::{audit, ports, vm, wait};

/// Time for the API server to answer `/readyz`, on a machine that also compiles.
const READY: Duration = Duration::from_secs(90);

/// The controllers that bpfleet's design rests on. Not those that judge nodes: no kubelet renews a lease
/// here, and they would declare every node dead and evict its pods.
const CONTROLLERS: [&str; 5] = [
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
    "validatingadmissionpolicy-status-controller",
];

/// A running control plane. Dropping it ends it and removes its files.
pub struct ControlPlane {
    // Ended in this order: the API server before its store.
    controllers: Mutex<Option<Process>>,
    api_server: Mutex<Option<Process>>,
    _etcd: Process,
    client: ApiClient,
    commands: Commands,
    tools: Tools,
    url: String,
    ca: PathBuf,
    admin: PathBuf,
    scratch: Scratch,
}

/// How to start again what a test has stopped.
struct Commands {
    api_server: Launch,
    controllers: Launch,
    logs: PathBuf,
}

impl ControlPlane {
    /// Starts etcd and the API server in a new temporary directory and waits until `/readyz` is ok.
    pub fn start() -> Result<ControlPlane> {
        ControlPlane::start_in(Scratch::new("e2e")?)
    }

    /// Like [`ControlPlane::start`], with its files in the given directory.
    pub fn start_in(scratch: Scratch) -> Result<ControlPlane> {
        let tools = Tools::find()?;
        let (pki, logs) = (scratch.dir("pki")?, scratch.dir("logs")?);
        let authority = Authority::new(&pki)?;
        let (etcd_port, peer_port, api_port) = (ports::free()?, ports::free()?, ports::free()?);
        let store = format!("http://127.0.0.1:{etcd_port}");
        let etcd = etcd(
            &tools,
            scratch.path(),
            &store,
            &format!("http://127.0.0.1:{peer_port}"),
        )
        .start(&logs)?;

        let url = format!("https://127.0.0.1:{api_port}");
        let (ca, admin) = (authority.pair().cert, scratch.path().join("admin.kubeconfig"));
        let pair = authority.client("bpfleet-e2e-admin", Some("system:masters"))?;
        write_kubeconfig(&admin, &url, &ca, &Credentials::Certificate(&pair))?;
        let manager = scratch.path().join("controller-manager.kubeconfig");
        let pair = authority.client("system:kube-controller-manager", None)?;
        write_kubeconfig(&manager, &url, &ca, &Credentials::Certificate(&pair))?;

        let signer = authority.signer("service-accounts")?;
        let commands = Commands {
            api_server: api_server(
                &tools,
                &authority,
                &signer,
                scratch.path(),
                &store,
                SocketAddr::from((Ipv4Addr::LOCALHOST, api_port)),
            )?,
            controllers: controller_manager(&tools, &authority.pair(), &signer, &manager)
                .flag("secure-port", ports::free()?.to_string())
                .flag("controllers", CONTROLLERS.join(",")),
            logs,
        };
        let client = ApiClient::new(&admin)?;
        let plane = ControlPlane {
            controllers: Mutex::default(),
            api_server: Mutex::default(),
            _etcd: etcd,
            client,
            commands,
            tools,
            url,
            ca,
            admin,
            scratch,
        };
        plane.start_api_server()?;
        Ok(plane)
    }

    /// Starts the API server again, on the same port, and waits until it is ready.
    pub fn start_api_server(&self) -> Result<()> {
        let server = self.commands.api_server.start(&self.commands.logs)?;
        wait_ready(&server, &self.client)?;
        set(&self.api_server, Some(server));
        Ok(())
    }

    /// Kills the API server and waits for its end; clients see refused connections.
    pub fn kill_api_server(&self) -> Result<()> {
        set(&self.api_server, None).map_or(Ok(()), |server| server.kill().map(drop))
    }

    /// Starts the controller manager.
    ///
    /// Call it after the CRDs are established: its garbage collector looks for new kinds only every 30 s.
    pub fn start_controllers(&self) -> Result<()> {
        set(
            &self.controllers,
            Some(self.commands.controllers.start(&self.commands.logs)?),
        );
        Ok(())
    }

    /// The administrator's client.
    pub fn client(&self) -> &ApiClient {
        &self.client
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(&self.tools.kubectl, &self.admin)
    }

    /// The administrator's kubeconfig.
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.admin
    }

    /// The built commands.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// The API server's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate of the authority that signed the API server's.
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// Where the logs of everything that was started lie.
    pub fn logs(&self) -> &Path {
        &self.commands.logs
    }

    /// A directory that is removed with the control plane, mounts inside it included.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// What was written to the API so far, for which `wanted` holds.
    pub fn writes(&self, wanted: impl Fn(&audit::Write) -> bool) -> Result<Vec<audit::Write>> {
        audit::writes(&self.scratch.path().join("audit.log"), wanted)
    }
}

/// Waits until a started API server is ready.
pub(crate) fn wait_ready(server: &Process, client: &ApiClient) -> Result<()> {
    // A server that has ended will never be ready: the inner result stops the waiting at once.
    wait::until("the API server to be ready", READY, || {
        match server.check("its readiness was awaited") {
            Err(ended) => Ok(Err(ended)),
            Ok(()) => client.get_raw("/readyz").map(|_| Ok(())),
        }
    })?
}

/// Replaces a process and returns the former one.
fn set(slot: &Mutex<Option<Process>>, process: Option<Process>) -> Option<Process> {
    std::mem::replace(&mut *slot.lock().unwrap_or_else(PoisonError::into_inner), process)
}

/// etcd as both kinds of control plane run it.
pub(crate) fn etcd(tools: &Tools, dir: &Path, client: &str, peer: &str) -> Launch {
    Launch::new("etcd", &tools.etcd)
        .flag("name", "e2e")
        .flag("data-dir", dir.join("etcd"))
        .flag("listen-client-urls", client)
        .flag("advertise-client-urls", client)
        .flag("listen-peer-urls", peer)
        .flag("initial-advertise-peer-urls", peer)
        .flag("initial-cluster", format!("e2e={peer}"))
        .flag("log-level", "warn")
        // Nothing here outlives the test.
        .arg("--unsafe-no-fsync")
}

/// The API server as both kinds of control plane run it, at the given address.
pub(crate) fn api_server(
    tools: &Tools,
    authority: &Authority,
    signer: &Pair,
    dir: &Path,
    store: &str,
    address: SocketAddr,
) -> Result<Launch> {
    let policy = dir.join("audit-policy.yaml");
    write_file(&policy, audit::POLICY)?;
    let host = address.ip().to_string();
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "127.0.0.1",
        "10.96.0.1",
        vm::HOST,
        &host,
    ];
    let server = authority.server("kube-apiserver", &names)?;
    Ok(Launch::new("kube-apiserver", &tools.api_server)
        .flag("advertise-address", &host)
        .flag("bind-address", &host)
        .flag("secure-port", address.port().to_string())
        .flag("endpoint-reconciler-type", "none")
        .flag("etcd-servers", store)
        .flag("authorization-mode", "Node,RBAC")
        .flag("enable-admission-plugins", "NodeRestriction")
        .flag("anonymous-auth", "false")
        .flag("client-ca-file", authority.pair().cert)
        .flag("tls-cert-file", server.cert)
        .flag("tls-private-key-file", server.key)
        .flag(
            "service-account-issuer",
            "https://kubernetes.default.svc.cluster.local",
        )
        .flag("service-account-key-file", &signer.cert)
        .flag("service-account-signing-key-file", &signer.key)
        .flag("service-cluster-ip-range", "10.96.0.0/16")
        .flag("audit-policy-file", policy)
        .flag("audit-log-path", dir.join("audit.log"))
        .flag("shutdown-delay-duration", "0s")
        .flag("profiling", "false"))
}

/// The controller manager as both kinds of control plane run it.
pub(crate) fn controller_manager(tools: &Tools, ca: &Pair, signer: &Pair, kubeconfig: &Path) -> Launch {
    Launch::new("kube-controller-manager", &tools.controller_manager)
        .flag("kubeconfig", kubeconfig)
        .flag("authentication-kubeconfig", kubeconfig)
        .flag("authorization-kubeconfig", kubeconfig)
        .flag("bind-address", "127.0.0.1")
        .flag("leader-elect", "false")
        .flag("use-service-account-credentials", "true")
        .flag("service-account-private-key-file", &signer.key)
        .flag("root-ca-file", &ca.cert)
        // The default limits alone cost seconds at the start.
        .flag("kube-api-qps", "500")
        .flag("kube-api-burst", "1000")
}
