//! Where an eBPF object comes from.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Largest eBPF object that bpfleet takes, in bytes. The largest objects in the wild (a few MiB) fit well;
/// the bound keeps one bad reference from filling memory and disks of a fleet.
pub const MAX_OBJECT_BYTES: u64 = 16 << 20;

/// Where the eBPF object file comes from: exactly one of the members.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.image) != has(self.configMap)").message("set exactly one of object.image and object.configMap"))]
#[serde(rename_all = "camelCase")]
pub struct ObjectSource {
    /// A file in an OCI image or artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSource>,
    /// An entry of a ConfigMap's binaryData in bpfleet's own namespace. Needs no registry; the object must
    /// be smaller than 1 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapSource>,
}

/// A file in an OCI image or artifact.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageSource {
    /// Image reference by tag or digest. A tag is resolved to its digest once, when this field changes:
    /// a tag that moves later changes nothing. An image index gives each node the manifest of its architecture.
    #[schemars(length(min = 1, max = 512))]
    pub reference: String,
    /// Name of the object file: a path inside the image's layers, or the title of an artifact's layer.
    /// Absent: the image must hold exactly one file that ends in `.o`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub file: Option<String>,
    /// Secret of type kubernetes.io/dockerconfigjson in bpfleet's own namespace, for a registry that asks
    /// for credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret: Option<SecretReference>,
}

/// A Secret in bpfleet's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// An entry of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapSource {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in its binaryData (`kubectl create configmap NAME --from-file KEY=FILE`).
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}
