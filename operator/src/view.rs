//! What the operator keeps of each object: small values without clients, made from the API's objects.

use std::collections::BTreeMap;

use bpfleet_crds::{
    BpfNode, BpfProgram, BpfRevision, conditions,
    node::{Fact, HookChoice, MAX_MESSAGE_BYTES, NodeProgram, ProgramStatus},
};
use bpfleet_fit::{feature::Feature, kernel::KernelVersion};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube::{
    ResourceExt as _,
    core::{DeserializeGuard, ObjectMeta, PartialObjectMeta},
};

/// A BpfProgram, or why it cannot be read.
#[derive(Debug, PartialEq)]
pub struct ProgramView {
    /// Name.
    pub name: String,
    /// The object without what nobody here reads, or why it has not the shape of a BpfProgram.
    pub object: Result<BpfProgram, String>,
}

impl ProgramView {
    /// Made from the API's object.
    pub fn new(object: DeserializeGuard<BpfProgram>) -> Self {
        match object.0 {
            Ok(mut program) => {
                strip(&mut program.metadata);
                Self {
                    name: program.name_any(),
                    object: Ok(program),
                }
            }
            Err(invalid) => Self {
                name: invalid.metadata.name.unwrap_or_default(),
                object: Err(invalid.error),
            },
        }
    }
}

/// A Linux node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    /// Name.
    pub name: String,
    /// Identity: a node made again under the same name has another.
    pub uid: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Whether Kubernetes hears from it.
    pub ready: bool,
}

impl NodeView {
    /// Made from the API's object; none if the node does not run Linux or is being deleted.
    pub fn new(node: Node) -> Option<Self> {
        const OS: &str = "kubernetes.io/os";
        let name = node.name_any();
        let uid = node.uid()?;
        let status = node.status.unwrap_or_default();
        let labels = node.metadata.labels.unwrap_or_default();
        let os = labels
            .get(OS)
            .cloned()
            .or_else(|| status.node_info.map(|info| info.operating_system));
        let ready = status
            .conditions
            .iter()
            .flatten()
            .any(|c| c.type_ == "Ready" && c.status == "True");
        let deleted = node.metadata.deletion_timestamp.is_some();
        (os.as_deref() == Some("linux") && !deleted).then_some(Self {
            name,
            uid,
            labels,
            ready,
        })
    }
}

/// A pod of the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentView {
    /// The node it runs on.
    pub node: String,
    /// Whether it is Ready and not terminating.
    pub live: bool,
}

impl AgentView {
    /// Made from the API's object; none as long as it runs nowhere.
    pub fn new(pod: Pod) -> Option<Self> {
        let node = pod.spec.and_then(|spec| spec.node_name)?;
        let status = pod.status.unwrap_or_default();
        let ready = status
            .conditions
            .iter()
            .flatten()
            .any(|c| c.type_ == "Ready" && c.status == "True");
        Some(Self {
            node,
            live: ready && pod.metadata.deletion_timestamp.is_none(),
        })
    }
}

/// A BpfNode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BpfNodeView {
    /// Name: that of the node.
    pub name: String,
    /// Identity.
    pub uid: String,
    /// The Node that owns it, by identity.
    pub owner: Option<String>,
    /// Being deleted.
    pub deleting: bool,
    /// metadata.generation.
    pub generation: i64,
    /// The generation that its agent has seen.
    pub observed_generation: i64,
    /// What it shall run.
    pub programs: Vec<NodeProgram>,
    /// What its agent says of each program; only what is read here.
    pub rows: Vec<ProgramStatus>,
    /// Architecture, once its agent has told.
    pub architecture: Option<String>,
    /// Kernel, once its agent has told.
    pub kernel: Option<String>,
    /// The kernel's version, once its agent has told.
    pub kernel_version: Option<KernelVersion>,
    /// Whether its kernel carries BTF.
    pub btf: Fact,
    /// What its kernel has not, of the features that this version knows.
    pub missing: Box<[Feature]>,
    /// What its agent could not find out.
    pub unknown: Box<[Feature]>,
}

impl BpfNodeView {
    /// Made from the API's object. One that cannot be read counts as empty: what it shall run is written
    /// again.
    pub fn new(object: DeserializeGuard<BpfNode>) -> Self {
        let (metadata, spec, status) = match object.0 {
            Ok(node) => (node.metadata, node.spec, node.status.unwrap_or_default()),
            Err(invalid) => {
                tracing::warn!(
                    name = invalid.metadata.name,
                    error = invalid.error,
                    "BpfNode cannot be read"
                );
                (invalid.metadata, Default::default(), Default::default())
            }
        };
        let facts = status.facts;
        Self {
            name: metadata.name.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default(),
            owner: metadata
                .owner_references
                .iter()
                .flatten()
                .find(|o| o.kind == "Node")
                .map(|o| o.uid.clone()),
            deleting: metadata.deletion_timestamp.is_some(),
            generation: metadata.generation.unwrap_or_default(),
            observed_generation: status.observed_generation.unwrap_or_default(),
            programs: spec.programs,
            rows: status.programs.into_iter().map(slim).collect(),
            architecture: facts.as_ref().map(|facts| facts.architecture.clone()),
            kernel: facts.as_ref().map(|facts| facts.kernel_release.clone()),
            kernel_version: facts.as_ref().and_then(|facts| facts.kernel_version.parse().ok()),
            btf: facts.as_ref().map_or(Fact::Unknown, |facts| facts.btf.kernel),
            missing: features(facts.as_ref().map(|facts| facts.missing.as_slice())),
            unknown: features(facts.as_ref().map(|facts| facts.unknown.as_slice())),
        }
    }

    /// Whether its agent has seen what the node shall run now.
    pub fn is_current(&self) -> bool {
        self.observed_generation >= self.generation
    }

    /// What its agent says of a program.
    pub fn row(&self, program: &str) -> Option<&ProgramStatus> {
        self.rows.iter().find(|row| row.name == program)
    }

    /// The revision of a program that it shall run.
    pub fn wanted(&self, program: &str) -> Option<&str> {
        self.programs
            .iter()
            .find(|entry| entry.name == program)
            .map(|entry| entry.revision.as_str())
    }

    /// Every revision that it shall run, runs or tries to run.
    pub fn revisions(&self) -> impl Iterator<Item = &str> {
        let rows = self
            .rows
            .iter()
            .flat_map(|row| [row.revision.as_deref(), row.failing_revision.as_deref()]);
        self.programs
            .iter()
            .map(|entry| entry.revision.as_str())
            .chain(rows.flatten())
    }
}

/// Names of features; what only a newer agent knows is asked for by nobody here.
fn features(names: Option<&[String]>) -> Box<[Feature]> {
    names
        .unwrap_or_default()
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect()
}

/// A row without the long texts of a healthy or well-explained program: there are thousands.
fn slim(row: ProgramStatus) -> ProgramStatus {
    let message = row.message.or_else(|| {
        let hook = row.failed_hooks.first()?;
        let text = format!("hook {}: {}: {}", hook.name, hook.reason, hook.message);
        Some(conditions::truncate(&text, MAX_MESSAGE_BYTES).to_owned())
    });
    let reason = row
        .reason
        .or_else(|| row.failed_hooks.first().map(|hook| hook.reason.clone()));
    ProgramStatus {
        message,
        reason,
        log_tail: None,
        failed_hooks: Vec::new(),
        passed_over: Vec::new(),
        choices: row
            .choices
            .into_iter()
            .map(|choice| HookChoice {
                message: String::new(),
                ..choice
            })
            .collect(),
        ..row
    }
}

/// A BpfRevision, or why it cannot be read.
#[derive(Debug, PartialEq)]
pub struct RevisionView {
    /// Name.
    pub name: String,
    /// The object without what nobody here reads, or why it has not the shape of a BpfRevision.
    pub object: Result<BpfRevision, String>,
}

impl RevisionView {
    /// Made from the API's object.
    pub fn new(object: DeserializeGuard<BpfRevision>) -> Self {
        match object.0 {
            Ok(mut revision) => {
                strip(&mut revision.metadata);
                Self {
                    name: revision.name_any(),
                    object: Ok(revision),
                }
            }
            Err(invalid) => Self {
                name: invalid.metadata.name.unwrap_or_default(),
                object: Err(invalid.error),
            },
        }
    }

    /// The object, if it can be read and stays.
    pub fn live(&self) -> Option<&BpfRevision> {
        self.object
            .as_ref()
            .ok()
            .filter(|revision| revision.metadata.deletion_timestamp.is_none())
    }
}

/// A ConfigMap, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMapView {
    /// Identity and version: another value means that the content may be another.
    pub version: String,
    /// Identities of its owners.
    pub owners: Vec<String>,
}

impl ConfigMapView {
    /// Made from the API's object.
    pub fn new(object: PartialObjectMeta<ConfigMap>) -> Option<Self> {
        let metadata = object.metadata;
        if metadata.deletion_timestamp.is_some() {
            return None;
        }
        let version = format!(
            "{}/{}",
            metadata.uid.as_deref().unwrap_or_default(),
            metadata.resource_version.as_deref().unwrap_or_default()
        );
        let owners = metadata
            .owner_references
            .into_iter()
            .flatten()
            .map(|owner| owner.uid)
            .collect();
        Some(Self { version, owners })
    }
}

fn strip(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    // A second copy of the object, written by kubectl.
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(labels: Value, os: &str, ready: &str) -> Option<NodeView> {
        let info = json!({"operatingSystem": os, "architecture": "", "bootID": "", "containerRuntimeVersion": "",
            "kernelVersion": "", "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "", "osImage": "", "systemUUID": ""});
        let node = json!({"metadata": {"name": "n", "uid": "u", "labels": labels},
            "status": {"nodeInfo": info, "conditions": [{"type": "Ready", "status": ready}]}});
        NodeView::new(serde_json::from_value(node).unwrap())
    }

    #[test]
    fn only_linux_nodes_are_seen() {
        assert!(
            node(json!({"kubernetes.io/os": "linux"}), "", "True")
                .unwrap()
                .ready
        );
        assert!(!node(json!({}), "linux", "Unknown").unwrap().ready);
        assert_eq!(
            node(json!({"kubernetes.io/os": "windows"}), "linux", "True"),
            None
        );
        assert_eq!(node(json!({}), "", "True"), None);
    }

    #[test]
    fn a_terminating_agent_is_not_live() {
        let pod = |deleted: Value| {
            let pod = json!({"metadata": {"name": "p", "deletionTimestamp": deleted},
                "spec": {"nodeName": "n", "containers": []}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
            AgentView::new(serde_json::from_value(pod).unwrap()).unwrap()
        };
        assert!(pod(Value::Null).live);
        assert!(!pod(json!("2026-01-01T00:00:00Z")).live);
    }

    #[test]
    fn an_object_of_another_shape_is_kept_as_such_and_breaks_nothing() {
        let object = json!({"apiVersion": "bpfleet.io/v1alpha1", "kind": "BpfProgram", "metadata": {"name": "odd"}, "spec": {"variants": 7}});
        let view = ProgramView::new(serde_json::from_value(object).unwrap());
        assert_eq!(view.name, "odd");
        let error = view.object.unwrap_err();
        assert!(
            error.contains("variants") || error.contains("sequence"),
            "{error}"
        );
    }
}
