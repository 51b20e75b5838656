//! Revisions from the API server, objects from the operator, both kept in the node's cache.

use std::{collections::BTreeSet, path::PathBuf};

use bpfleet_crds::{
    BpfRevision, BpfRevisionSpec, NodeReason, canonical::revision_name, revision::RevisionObject, strict,
};
use futures::{FutureExt, future::BoxFuture};
use kube::{Api, Client, Resource, api::DynamicObject, core::ApiResource};
use serde_json::Value;

use super::artifacts::{ArtifactConfig, fetch};
use crate::{cache::Cache, engine::source::Source, load::request::Failure};

/// A cluster as the source.
pub struct ClusterSource {
    revisions: Api<DynamicObject>,
    cache: Cache,
    artifacts: ArtifactConfig,
}

impl ClusterSource {
    /// With this client and cache.
    pub fn new(client: Client, cache: Cache, artifacts: ArtifactConfig) -> Self {
        let resource = ApiResource {
            group: BpfRevision::group(&()).into_owned(),
            version: BpfRevision::version(&()).into_owned(),
            api_version: BpfRevision::api_version(&()).into_owned(),
            kind: BpfRevision::kind(&()).into_owned(),
            plural: BpfRevision::plural(&()).into_owned(),
        };
        Self {
            revisions: Api::all_with(client, &resource),
            cache,
            artifacts,
        }
    }

    async fn fetch_revision(&self, name: &str) -> Result<Value, Failure> {
        let found = self.revisions.get_opt(name).await.map_err(|error| {
            let message = format!(
                "revision {name} cannot be read from the API server: {}",
                super::describe(&error)
            );
            Failure::new(NodeReason::ApiUnavailable, message)
        })?;
        let object = found.ok_or_else(|| {
            let message = format!(
                "BpfRevision {name} does not exist; the operator makes it again when the BpfProgram is there"
            );
            Failure::new(NodeReason::RevisionNotFound, message)
        })?;
        Ok(object.data.get("spec").cloned().unwrap_or_default())
    }
}

impl Source for ClusterSource {
    fn revision<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<BpfRevisionSpec, Failure>> {
        async move {
            // Revisions never change, so one that is here needs no question.
            if let Some(value) = self.cache.revision::<Value>(name) {
                return read(name, &value);
            }
            let value = self.fetch_revision(name).await?;
            let spec = read(name, &value)?;
            self.cache
                .put_revision(name, &value)
                .map_err(|error| Failure::new(NodeReason::CacheFailed, error.to_string()))?;
            Ok(spec)
        }
        .boxed()
    }

    fn object<'a>(&'a self, object: &'a RevisionObject) -> BoxFuture<'a, Result<PathBuf, Failure>> {
        async move {
            if let Some(path) = self.cache.object(&object.digest) {
                return Ok(path);
            }
            let bytes = fetch(&self.artifacts, object).await?;
            self.cache
                .put_object(&object.digest, &bytes)
                .map_err(|error| Failure::new(NodeReason::CacheFailed, error.to_string()))
        }
        .boxed()
    }

    fn retain(&self, revisions: &BTreeSet<String>) {
        let objects = revisions
            .iter()
            .filter_map(|name| self.cache.revision::<BpfRevisionSpec>(name))
            .flat_map(|spec| spec.variants)
            .flat_map(|variant| variant.objects)
            .map(|object| object.digest)
            .collect();
        if let Err(error) = self.cache.retain(revisions, &objects) {
            tracing::warn!(%error, "the cache keeps more than is in use");
        }
    }
}

/// Reads a revision whole, or refuses it. Its name is a hash of its content, which tells when something is missing:
/// with CRDs older than the operator that made it, the API server drops fields in silence.
fn read(name: &str, value: &Value) -> Result<BpfRevisionSpec, Failure> {
    let spec: BpfRevisionSpec = strict::from_value(value).map_err(|error| match error {
        strict::StrictError::UnknownFields(_) => Failure::new(
            NodeReason::AgentTooOld,
            format!(
                "revision {name} has what this agent ({}) does not know: {error}; upgrade the agent",
                env!("CARGO_PKG_VERSION")
            ),
        ),
        strict::StrictError::Invalid(error) => Failure::new(
            NodeReason::InvalidRevision,
            format!("revision {name} cannot be read: {error}"),
        ),
    })?;
    match revision_name(&spec) {
        Ok(own) if own == name => Ok(spec),
        Ok(own) => Err(Failure::new(
            NodeReason::InvalidRevision,
            format!(
                "BpfRevision {name} does not hold what it was named for (that is {own}): it was edited, or CRDs older than \
                 the operator dropped fields of it; bring the CRDs to the operator's version, or delete the BpfRevision"
            ),
        )),
        Err(error) => Err(Failure::new(
            NodeReason::InvalidRevision,
            format!("revision {name} cannot be named anew: {error}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_revision_is_what_its_name_says_or_refused() {
        let object = json!({"digest": format!("sha256:{}", "0".repeat(64)), "sizeBytes": 1});
        let value = json!({"program": "p", "variants": [{"name": "main", "objects": [object]}]});
        let spec: BpfRevisionSpec = serde_json::from_value(value.clone()).unwrap();
        let name = revision_name(&spec).unwrap();
        assert_eq!(read(&name, &value).unwrap(), spec);
        let mut pruned = value.clone();
        pruned["variants"][0]["name"] = json!("other");
        let failure = read(&name, &pruned).unwrap_err();
        assert_eq!(failure.reason, NodeReason::InvalidRevision);
        assert!(failure.message.contains("dropped fields"), "{failure}");
        let mut newer = value;
        newer["sandbox"] = json!({"strict": true});
        assert_eq!(read(&name, &newer).unwrap_err().reason, NodeReason::AgentTooOld);
    }
}
