//! `BpfRevision`: one validated, immutable input of a BpfProgram.

#![allow(clippy::duplicated_attributes, reason = "columns of the CRD repeat keys")]

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    hook::Hook,
    map::MapSettings,
    object::{ConfigMapSource, SecretReference},
    requirement::Requirement,
};

/// A snapshot of a BpfProgram in which every reference is replaced by the digest of what it named.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "bpfleet.io",
    version = "v1alpha1",
    kind = "BpfRevision",
    plural = "bpfrevisions",
    shortname = "bpfr",
    category = "bpfleet",
    status = "BpfRevisionStatus",
    derive = "PartialEq",
    doc = "A BpfRevision is one validated, immutable input of a BpfProgram. bpfleet writes it; nodes run it. It is not meant to be edited.",
    validation = Rule::new("self.spec == oldSelf.spec").message("a BpfRevision's spec is immutable: edit the BpfProgram, and bpfleet makes a new revision"),
    printcolumn(name = "PROGRAM", type_ = "string", json_path = ".spec.program"),
    printcolumn(name = "OBJECT", type_ = "string", json_path = ".spec.variants[0].objects[0].digest"),
    printcolumn(name = "SIZE", type_ = "integer", json_path = ".spec.variants[0].objects[0].sizeBytes", priority = 1),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct BpfRevisionSpec {
    /// The BpfProgram this is a revision of.
    #[schemars(length(min = 1, max = 63))]
    pub program: String,
    /// The builds, best first.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub variants: Vec<RevisionVariant>,
    /// The hooks as the BpfProgram names them. Absent: every program at its SEC() target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub hooks: Option<Vec<Hook>>,
    /// What maps are to be, other than the objects say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub maps: Option<Vec<MapSettings>>,
}

/// One build with its objects by content.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionVariant {
    /// Name of the variant.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The object for each architecture, or one for all.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub objects: Vec<RevisionObject>,
    /// What a node must have for this variant to be used there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub requires: Option<Vec<Requirement>>,
}

/// An eBPF object by content.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionObject {
    /// The architecture it is for, in Kubernetes' words (`amd64`, `arm64`). Absent: every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub architecture: Option<String>,
    /// Content of the ELF file. Agents refuse bytes with another digest.
    pub digest: Digest,
    /// Size of the ELF file in bytes.
    pub size_bytes: u64,
}

/// What is not part of a revision's identity: where its bytes can be had.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BpfRevisionStatus {
    /// Where the bytes of each object come from; any replica of the operator can fetch them again from there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub sources: Vec<RevisionSource>,
}

/// Where the bytes of one object can be had: either `configMap` or `image`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionSource {
    /// The object.
    pub digest: Digest,
    /// An immutable ConfigMap in bpfleet's own namespace, made and owned by bpfleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapSource>,
    /// The ConfigMap that the BpfProgram named, and that `configMap` is a copy of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<ConfigMapSource>,
    /// A file in an image, by the image's digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<RevisionImage>,
}

/// A file in an image, by digest.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionImage {
    /// `repository@sha256:…` of the image manifest of one architecture.
    #[schemars(length(min = 1, max = 768))]
    pub reference: String,
    /// Name of the file in it.
    #[schemars(length(min = 1, max = 255))]
    pub file: String,
    /// Credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret: Option<SecretReference>,
    /// What the BpfProgram named: while that stays, a tag is not resolved again.
    #[schemars(length(min = 1, max = 512))]
    pub resolved_from: String,
}

impl RevisionVariant {
    /// The object for a node of this architecture (Kubernetes' word): its own one, else the one for all.
    pub fn object_for(&self, architecture: &str) -> Option<&RevisionObject> {
        self.objects
            .iter()
            .find(|object| object.architecture.as_deref() == Some(architecture))
            .or_else(|| self.objects.iter().find(|object| object.architecture.is_none()))
    }
}
