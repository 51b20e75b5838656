//! A control plane with bpfleet's CRDs, RBAC and service accounts, as the chart would install them.

use std::future::Future;
use std::path::{Path, PathBuf};

use bpfleet_crds::names;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};

use crate::api_client::{Credentials, write_kubeconfig};
use crate::control_plane::ControlPlane;
use crate::error::{During, Error, Result, write_file};
use crate::kubectl::Kubectl;
use crate::node::Node;
use crate::scratch::Scratch;
use crate::tools::repository;
use crate::vm::{self, VmNode};

/// Longer than any run; kubelet would renew a token after 80 % of its life.
const TOKEN_SECONDS: i64 = 24 * 3600;

/// A running cluster with bpfleet installed but for its workloads. Dropping it ends it.
pub struct Cluster {
    plane: ControlPlane,
    operator_kubeconfig: PathBuf,
}

impl Cluster {
    /// Starts one in a new temporary directory.
    pub fn start() -> Result<Cluster> {
        Cluster::start_in(Scratch::new("e2e")?)
    }

    /// Starts one with its files in the given directory.
    pub fn start_in(scratch: Scratch) -> Result<Cluster> {
        let plane = ControlPlane::start_in(scratch)?;
        let kubectl = plane.kubectl();
        let crds = manifest("crds.yaml")?;
        kubectl.apply_file_server_side(&crds)?;
        kubectl.run(&[
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            "-f",
            &crds.to_string_lossy(),
        ])?;
        plane.start_controllers()?;
        kubectl.apply(&accounts())?;
        kubectl.apply_file_server_side(&manifest("rbac.yaml")?)?;

        let operator_kubeconfig = plane.scratch().path().join("operator.kubeconfig");
        let cluster = Cluster {
            plane,
            operator_kubeconfig,
        };
        let token = cluster.token(names::OPERATOR_SERVICE_ACCOUNT, &[], None)?;
        cluster.write_token_kubeconfig(&cluster.operator_kubeconfig, &token)?;
        Ok(cluster)
    }

    /// The control plane under it.
    pub fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> Kubectl {
        self.plane.kubectl()
    }

    /// The administrator's client, for use inside [`Cluster::block_on`].
    pub fn client(&self) -> kube::Client {
        self.plane.client().client()
    }

    /// Runs a future to its end.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.plane.client().block_on(future)
    }

    /// Namespace of operator, agents, and the ConfigMaps and Secrets that the operator reads.
    pub fn namespace(&self) -> &'static str {
        names::DEFAULT_NAMESPACE
    }

    /// Kubeconfig with a token of the operator's service account.
    pub fn operator_kubeconfig(&self) -> &Path {
        &self.operator_kubeconfig
    }

    /// A new Ready node with an agent pod that is Ready; see [`Node`]. Names must be unique in the cluster.
    pub fn add_node(&self, name: &str) -> Result<Node<'_>> {
        Node::add(self, name)
    }

    /// A new Ready node that is a guest with a kernel of its own, in which its agent runs; see [`VmNode`].
    pub fn add_vm(&self, name: &str, kernel: &vm::Kernel, options: &vm::GuestOptions) -> Result<VmNode<'_>> {
        VmNode::add(self, name, kernel, options)
    }

    /// A token of a service account for the given audiences (none: the API server's), bound to a pod.
    pub fn token(
        &self,
        account: &str,
        audiences: &[&str],
        pod: Option<&BoundObjectReference>,
    ) -> Result<String> {
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audiences.iter().map(ToString::to_string).collect(),
                expiration_seconds: Some(TOKEN_SECONDS),
                bound_object_ref: pod.cloned(),
            },
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), self.namespace());
        let made = self
            .block_on(accounts.create_token_request(account, &PostParams::default(), &request))
            .during(|| format!("requesting a token of service account {account}"))?;
        made.status
            .map(|status| status.token)
            .ok_or_else(|| Error::Other(format!("the API server returned no token for {account}")))
    }

    /// Writes a kubeconfig whose token lies in a file beside it (`<name>.token`), where it can be replaced.
    pub fn write_token_kubeconfig(&self, path: &Path, token: &str) -> Result<()> {
        let file = path.with_extension("token");
        write_file(&file, token)?;
        write_kubeconfig(
            path,
            self.plane.url(),
            self.plane.ca(),
            &Credentials::TokenFile(&file),
        )
    }
}

/// A committed rendering of the chart.
fn manifest(name: &str) -> Result<PathBuf> {
    let path = repository().join("e2e/manifests").join(name);
    if path.exists() {
        return Ok(path);
    }
    Err(Error::Missing {
        path,
        hint: "it is generated from the chart; run `make generate`".into(),
    })
}

/// What Helm's `--create-namespace` and the chart make before anything else.
fn accounts() -> String {
    let namespace = names::DEFAULT_NAMESPACE;
    let account = |name: &str| {
        format!(
            "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
        )
    };
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n{}{}",
        account(names::OPERATOR_SERVICE_ACCOUNT),
        account(names::AGENT_SERVICE_ACCOUNT)
    )
}
