//! A node without a kubelet: its Node object, its agent's Pod, and what a kubelet would mount into it.

use std::path::{Path, PathBuf};

use bpfleet_crds::names;
use k8s_openapi::api::authentication::v1::BoundObjectReference;
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};
use kube::Resource;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::error::{During, Error, Result, make_dir, write_file};
use crate::kubelet::Projection;

/// A node of a [`Cluster`]. Dropping it deletes the Node and the Pod.
pub struct Node<'c> {
    cluster: &'c Cluster,
    name: String,
    dir: PathBuf,
    _artifacts: Projection,
}

impl<'c> Node<'c> {
    pub(crate) fn add(cluster: &'c Cluster, name: &str) -> Result<Node<'c>> {
        let dir = cluster.plane().scratch().path().join("nodes").join(name);
        make_dir(&dir)?;
        let artifacts = Projection::start(cluster, names::ARTIFACT_CONFIG_MAP, &dir.join("artifacts"))?;
        // From here on Drop deletes what was made, also when a later step fails.
        let node = Node {
            cluster,
            name: name.to_owned(),
            dir,
            _artifacts: artifacts,
        };
        let labels = json!({
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "kubernetes.io/hostname": name,
        });
        let object = json!({"metadata": {"name": name, "labels": labels}});
        node.create::<NodeObject>(&node.nodes(), object, "Node")?;
        node.set_node_ready(true)?;
        let made = node.create::<Pod>(&node.pods(), node.pod(), "Pod")?;
        node.set_agent_ready(true)?;
        let bound = BoundObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            name: made.metadata.name,
            uid: made.metadata.uid,
        };
        let token = cluster.token(names::AGENT_SERVICE_ACCOUNT, &[], Some(&bound))?;
        cluster.write_token_kubeconfig(&node.kubeconfig(), &token)?;
        let token = cluster.token(
            names::AGENT_SERVICE_ACCOUNT,
            &[names::ARTIFACT_AUDIENCE],
            Some(&bound),
        )?;
        write_file(&node.artifact_token(), token)?;
        Ok(node)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its directory, removed with the cluster.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Kubeconfig of its agent; the token (`agent.token` beside it) is bound to its Pod.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("agent.kubeconfig")
    }

    /// The token that its agent shows to the artifact endpoint.
    pub fn artifact_token(&self) -> PathBuf {
        self.dir.join("artifact-token")
    }

    /// Directory into which the artifact endpoint's ConfigMap is projected.
    pub fn artifact_config(&self) -> PathBuf {
        self.dir.join("artifacts")
    }

    /// Name of its agent's Pod.
    pub fn pod_name(&self) -> String {
        format!("{}-{}", names::AGENT_SERVICE_ACCOUNT, self.name)
    }

    /// Sets the Node's Ready condition.
    pub fn set_node_ready(&self, ready: bool) -> Result<()> {
        let (status, reason) = if ready {
            ("True", "KubeletReady")
        } else {
            ("Unknown", "NodeStatusUnknown")
        };
        let condition = json!({"type": "Ready", "status": status, "reason": reason});
        self.patch_status(&self.nodes(), &self.name, json!({"conditions": [condition]}))
    }

    /// Sets the Ready condition of its agent's Pod.
    pub fn set_agent_ready(&self, ready: bool) -> Result<()> {
        let conditions = json!([{"type": "Ready", "status": if ready { "True" } else { "False" }}]);
        self.patch_status(
            &self.pods(),
            &self.pod_name(),
            json!({"phase": "Running", "conditions": conditions}),
        )
    }

    /// Sets labels of the Node; a null value removes one.
    pub fn label(&self, labels: &Value) -> Result<()> {
        let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
        self.cluster
            .block_on(self.nodes().patch(&self.name, &PatchParams::default(), &patch))
            .during(|| format!("labelling Node {}", self.name))
            .map(drop)
    }

    /// Deletes the Node, and its Pod at once, as a cloud provider and the pod garbage collector would.
    pub fn remove(&self) -> Result<()> {
        let (nodes, pods, pod) = (self.nodes(), self.pods(), self.pod_name());
        let now = DeleteParams::default().grace_period(0);
        self.cluster.block_on(async {
            gone(nodes.delete(&self.name, &now).await).during(|| format!("deleting Node {}", self.name))?;
            gone(pods.delete(&pod, &now).await).during(|| format!("deleting Pod {pod}"))
        })
    }

    fn pod(&self) -> Value {
        let labels = json!({
            names::APP_LABEL: names::APP_NAME,
            names::COMPONENT_LABEL: names::AGENT_COMPONENT,
        });
        json!({
            "metadata": {"name": self.pod_name(), "labels": labels},
            "spec": {
                "nodeName": self.name,
                "serviceAccountName": names::AGENT_SERVICE_ACCOUNT,
                "automountServiceAccountToken": false,
                "containers": [{"name": "agent", "image": "bpfleet-agent"}],
            },
        })
    }

    fn nodes(&self) -> Api<NodeObject> {
        Api::all(self.cluster.client())
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.cluster.client(), self.cluster.namespace())
    }

    fn create<K>(&self, api: &Api<K>, object: Value, kind: &str) -> Result<K>
    where
        K: Resource + Clone + DeserializeOwned + serde::Serialize + std::fmt::Debug,
    {
        let object: K =
            serde_json::from_value(object).map_err(|error| Error::Other(format!("{kind}: {error}")))?;
        self.cluster
            .block_on(api.create(&PostParams::default(), &object))
            .during(|| format!("creating the {kind} of node {}", self.name))
    }

    fn patch_status<K>(&self, api: &Api<K>, name: &str, status: Value) -> Result<()>
    where
        K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let patch = Patch::Strategic(json!({"status": status}));
        self.cluster
            .block_on(api.patch_status(name, &PatchParams::default(), &patch))
            .during(|| format!("patching the status of {name}"))
            .map(drop)
    }
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("node {} was not removed: {error}", self.name);
        }
    }
}

/// Deleting what is gone already is no failure.
fn gone<T>(result: kube::Result<T>) -> kube::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(drop),
    }
}
