//! The endpoint's certificate in its Secret, in use, and published for the agents. All three are put right
//! when somebody deletes or alters them.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
};

use bpfleet_crds::names::{
    APP_LABEL, APP_NAME, ARTIFACT_ADDRESS_KEY, ARTIFACT_CA_KEY, ARTIFACT_CONFIG_MAP,
    ARTIFACT_SERVER_NAME_KEY, ARTIFACT_TLS_SECRET,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::json;

use super::certificate::{CertificateError, Material, renew};
use crate::error::ApiError;

/// How often writers that met each other try again.
const ATTEMPTS: usize = 5;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The API server refused or cannot be reached.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// It cannot be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The library does not take it.
    #[error("the certificate in Secret {ARTIFACT_TLS_SECRET} cannot be used: {0}; delete the Secret")]
    Unusable(String),
    /// Other replicas wrote each time.
    #[error("Secret {ARTIFACT_TLS_SECRET} changed each time it was to be written; trying again")]
    Contended,
}

/// The certificate in use.
#[derive(Debug)]
pub struct Tls {
    server_name: String,
    current: RwLock<Option<(Material, Arc<CertifiedKey>)>>,
}

impl Tls {
    /// For the endpoint of one namespace; there is no certificate yet.
    pub fn new(namespace: &str) -> Self {
        Self {
            server_name: format!("bpfleet-artifacts.{namespace}.svc"),
            current: RwLock::default(),
        }
    }

    /// Whether there is a certificate.
    pub fn is_ready(&self) -> bool {
        self.current().is_some()
    }

    /// Reads the Secret, makes or renews what is due, and uses it. Several replicas may do this at once: of
    /// two writers one fails, and takes what the other wrote.
    ///
    /// # Errors
    /// There is no usable certificate; one that is in use stays in use.
    pub async fn ensure(&self, secrets: &Api<Secret>, now: Timestamp) -> Result<(), TlsError> {
        for _ in 0..ATTEMPTS {
            let read = secrets.get_opt(ARTIFACT_TLS_SECRET).await;
            let found =
                read.map_err(|error| ApiError::new(format!("read Secret {ARTIFACT_TLS_SECRET}"), error))?;
            let stored = found
                .as_ref()
                .and_then(|secret| secret.data.as_ref())
                .and_then(Material::from_secret);
            // A Secret that was deleted or damaged gets back what agents trust already.
            let known = stored
                .clone()
                .or_else(|| self.current().map(|(material, _)| material));
            let wanted = renew(known.as_ref(), &self.server_name, now)?.or(known);
            let Some(wanted) = wanted else {
                return Err(TlsError::Contended);
            };
            if stored.as_ref() == Some(&wanted) {
                return self.take(wanted);
            }
            let secret = Secret {
                metadata: ObjectMeta {
                    name: Some(ARTIFACT_TLS_SECRET.to_owned()),
                    labels: Some([(APP_LABEL.to_owned(), APP_NAME.to_owned())].into()),
                    resource_version: found
                        .as_ref()
                        .and_then(|secret| secret.metadata.resource_version.clone()),
                    ..ObjectMeta::default()
                },
                type_: found.as_ref().and_then(|secret| secret.type_.clone()),
                data: Some(wanted.to_secret()),
                ..Secret::default()
            };
            let params = PostParams::default();
            let written = match found {
                Some(_) => secrets.replace(ARTIFACT_TLS_SECRET, &params, &secret).await,
                None => secrets.create(&params, &secret).await,
            };
            match written {
                Ok(_) => {
                    tracing::info!("wrote a certificate for the artifact endpoint");
                    return self.take(wanted);
                }
                Err(kube::Error::Api(status))
                    if status.is_conflict() || status.is_already_exists() || status.is_not_found() => {}
                Err(error) => {
                    return Err(ApiError::new(format!("write Secret {ARTIFACT_TLS_SECRET}"), error).into());
                }
            }
        }
        Err(TlsError::Contended)
    }

    /// Tells the agents the address, the name and the CA. Writes nothing if they can read them already.
    ///
    /// # Errors
    /// The API server refused or cannot be reached.
    pub async fn publish(&self, config_maps: &Api<ConfigMap>, address: SocketAddr) -> Result<(), ApiError> {
        let Some((material, _)) = self.current() else {
            return Ok(());
        };
        let error =
            |what: &str, error| ApiError::new(format!("{what} ConfigMap {ARTIFACT_CONFIG_MAP}"), error);
        let data: BTreeMap<String, String> = [
            (ARTIFACT_CA_KEY, material.ca_bundle),
            (ARTIFACT_ADDRESS_KEY, address.to_string()),
            (ARTIFACT_SERVER_NAME_KEY, self.server_name.clone()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        let Some(known) = config_maps
            .get_opt(ARTIFACT_CONFIG_MAP)
            .await
            .map_err(|e| error("read", e))?
        else {
            let metadata = ObjectMeta {
                name: Some(ARTIFACT_CONFIG_MAP.to_owned()),
                labels: Some([(APP_LABEL.to_owned(), APP_NAME.to_owned())].into()),
                ..ObjectMeta::default()
            };
            let map = ConfigMap {
                metadata,
                data: Some(data),
                ..ConfigMap::default()
            };
            return config_maps
                .create(&PostParams::default(), &map)
                .await
                .map(|_| ())
                .map_err(|e| error("create", e));
        };
        let same = data
            .iter()
            .all(|(key, value)| known.data.as_ref().and_then(|known| known.get(key)) == Some(value));
        if same {
            return Ok(());
        }
        let patch = Patch::Merge(json!({"data": data}));
        let patched = config_maps
            .patch(ARTIFACT_CONFIG_MAP, &PatchParams::default(), &patch)
            .await;
        patched.map(|_| ()).map_err(|e| error("write", e))
    }

    fn current(&self) -> Option<(Material, Arc<CertifiedKey>)> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn take(&self, material: Material) -> Result<(), TlsError> {
        if self.current().is_some_and(|(known, _)| known == material) {
            return Ok(());
        }
        let key = certified(&material)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some((material, Arc::new(key)));
        Ok(())
    }
}

impl ResolvesServerCert for Tls {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current().map(|(_, key)| key)
    }
}

fn certified(material: &Material) -> Result<CertifiedKey, TlsError> {
    let unusable = |error: &dyn std::error::Error| TlsError::Unusable(error.to_string());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(material.certificate.as_bytes()).collect();
    let chain = chain.map_err(|error| unusable(&error))?;
    let key = PrivateKeyDer::from_pem_slice(material.key.as_bytes()).map_err(|error| unusable(&error))?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(|error| unusable(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_taken_by_the_tls_library() {
        let tls = Tls::new("ns");
        assert!(!tls.is_ready());
        let material = renew(None, &tls.server_name, Timestamp::now()).unwrap().unwrap();
        tls.take(material.clone()).unwrap();
        assert!(tls.is_ready());
        let error = tls
            .take(Material {
                key: "no key".to_owned(),
                ..material
            })
            .unwrap_err();
        assert!(error.to_string().contains("delete the Secret"), "{error}");
        assert!(tls.is_ready(), "what is in use stays in use");
    }
}
