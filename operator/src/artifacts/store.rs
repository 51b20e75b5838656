//! Every object that a live revision names: from the cache, or from where the revision says.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bpfleet_crds::{Digest, revision::RevisionSource};
use bytes::Bytes;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use oci_spec::distribution::Reference;

use super::cache::Cache;
use crate::{
    error::{ApiError, Fault, chain},
    index::Index,
    objects::{config_map, image, pull, registry::Credentials, registry::Registry},
    view::RevisionView,
};

/// Why there are no bytes.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No live revision names the object.
    #[error("no BpfRevision names {0}")]
    Unknown(Digest),
    /// None of its sources gave it.
    #[error("cannot fetch {digest} again: {detail}")]
    Unavailable {
        /// The object.
        digest: Digest,
        /// What each source said.
        detail: String,
    },
}

/// Where bytes are read from.
pub struct Store {
    /// What is at hand.
    pub cache: Cache,
    revisions: Arc<Index<RevisionView>>,
    config_maps: Api<ConfigMap>,
    secrets: Api<Secret>,
    registry: Registry,
    flights: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

impl Store {
    /// A store that reads from one namespace.
    pub fn new(
        client: &Client,
        namespace: &str,
        registry: Registry,
        cache: Cache,
        revisions: Arc<Index<RevisionView>>,
    ) -> Self {
        Self {
            cache,
            revisions,
            config_maps: Api::namespaced(client.clone(), namespace),
            secrets: Api::namespaced(client.clone(), namespace),
            registry,
            flights: Mutex::default(),
        }
    }

    /// The ConfigMaps of the namespace.
    pub fn config_maps(&self) -> &Api<ConfigMap> {
        &self.config_maps
    }

    /// The connections to registries.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// An object that a live revision names. Many may ask at once; it is fetched once.
    ///
    /// # Errors
    /// No revision names it, or no source has it.
    pub async fn get(&self, digest: Digest) -> Result<Bytes, StoreError> {
        let sources = self.sources(digest);
        if sources.is_empty() {
            return Err(StoreError::Unknown(digest));
        }
        if let Some(bytes) = self.cache.get(digest).await {
            return Ok(bytes);
        }
        let flight = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody waits for any more.
            flights.retain(|_, flight| Arc::strong_count(flight) > 1);
            flights.entry(digest).or_default().clone()
        };
        let _alone = flight.lock().await;
        if let Some(bytes) = self.cache.get(digest).await {
            return Ok(bytes);
        }
        let mut failures = Vec::new();
        for source in sources {
            match self.fetch(&source).await {
                Ok(Some(bytes)) => {
                    self.cache.put(digest, bytes.clone()).await;
                    return Ok(bytes);
                }
                Ok(None) => {}
                Err(failure) => failures.push(failure),
            }
        }
        let detail = if failures.is_empty() {
            "it names no source".to_owned()
        } else {
            failures.join("; ")
        };
        Err(StoreError::Unavailable { digest, detail })
    }

    /// Whether a live revision names the object.
    pub fn knows(&self, digest: Digest) -> bool {
        !self.sources(digest).is_empty()
    }

    /// The credentials in a pull secret for a reference's registry.
    ///
    /// # Errors
    /// The secret is missing or is none, or the API server cannot be reached.
    pub async fn credentials(
        &self,
        secret: Option<&str>,
        reference: &Reference,
    ) -> Result<Option<Credentials>, Fault> {
        use bpfleet_crds::ProgramReason::{ApiUnavailable, InvalidPullSecret};
        let Some(name) = secret else { return Ok(None) };
        let found = self.secrets.get_opt(name).await;
        let found = found.map_err(|error| {
            Fault::transient(
                ApiUnavailable,
                chain(&ApiError::new(format!("read Secret {name}"), error)),
            )
        })?;
        let secret = found.ok_or_else(|| {
            let message = format!(
                "there is no Secret {name} in bpfleet's namespace; make it with kubectl create secret docker-registry {name} …"
            );
            Fault::transient(InvalidPullSecret, message)
        })?;
        image::credentials(&secret, name, reference.resolve_registry())
    }

    fn sources(&self, digest: Digest) -> Vec<RevisionSource> {
        let mut sources = Vec::new();
        for view in self.revisions.list() {
            let Some(revision) = view.live() else { continue };
            let named = revision
                .spec
                .variants
                .iter()
                .flat_map(|variant| &variant.objects)
                .any(|o| o.digest == digest);
            if !named {
                continue;
            }
            let listed = revision.status.iter().flat_map(|status| &status.sources);
            sources.extend(listed.filter(|source| source.digest == digest).cloned());
            // The copy has a name that can be known without its revision's status.
            let copy = config_map::copy_source(digest);
            let copy = RevisionSource {
                digest,
                config_map: Some(copy),
                copied_from: None,
                image: None,
            };
            sources.push(copy);
        }
        // The copy in the API first, then registries.
        sources.sort_by_key(|source| source.image.is_some());
        sources.dedup();
        sources
    }

    /// The bytes from one source; none if the source is gone.
    async fn fetch(&self, source: &RevisionSource) -> Result<Option<Bytes>, String> {
        let bytes = if let Some(place) = &source.config_map {
            let Some(map) = config_map::read(&self.config_maps, &place.name)
                .await
                .map_err(|error| chain(&error))?
            else {
                return Ok(None);
            };
            config_map::bytes(map, place).map_err(|fault| fault.message)?
        } else if let Some(place) = &source.image {
            let reference = pull::parse_reference(&place.reference).map_err(|fault| fault.message)?;
            let secret = place.pull_secret.as_ref().map(|secret| secret.name.as_str());
            let credentials = self
                .credentials(secret, &reference)
                .await
                .map_err(|fault| fault.message)?;
            let pulled = pull::pull(&self.registry, &reference, credentials, Some(&place.file)).await;
            match pulled.map_err(|fault| fault.message)?.into_iter().next() {
                Some(pulled) => pulled.bytes,
                None => return Ok(None),
            }
        } else {
            return Ok(None);
        };
        let actual = Digest::of(&bytes);
        if actual != source.digest {
            let name = source.config_map.as_ref().map(|place| place.name.as_str());
            let name = name
                .or(source.image.as_ref().map(|place| place.reference.as_str()))
                .unwrap_or("its source");
            return Err(format!("{name} now holds {actual}"));
        }
        Ok(Some(bytes))
    }
}
