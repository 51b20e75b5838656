//! Getting objects from the operator's artifact endpoint.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use bpfleet_crds::{Digest, NodeReason, names, object::MAX_OBJECT_BYTES, revision::RevisionObject};
use futures::StreamExt;
use reqwest::{Certificate, StatusCode};

use crate::load::request::Failure;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(60);
/// Most of an error's body that is shown.
const MAX_ERROR_BYTES: usize = 512;

/// How the endpoint is found. Both are read again for every fetch, since both rotate.
#[derive(Clone, Debug)]
pub struct ArtifactConfig {
    /// Directory with the keys of the published ConfigMap as files.
    pub directory: PathBuf,
    /// File with this pod's token for the endpoint.
    pub token_file: PathBuf,
}

/// Gets an object and checks its digest.
pub async fn fetch(config: &ArtifactConfig, object: &RevisionObject) -> Result<Vec<u8>, Failure> {
    let unavailable = |message: String| Failure::new(NodeReason::ArtifactUnavailable, message);
    let read = |name: &str| {
        let path = config.directory.join(name);
        fs::read_to_string(&path).map_err(|error| {
            unavailable(format!(
                "{} cannot be read: {error}; the operator publishes it in ConfigMap {}: does the operator run?",
                path.display(),
                names::ARTIFACT_CONFIG_MAP
            ))
        })
    };
    let ca = read(names::ARTIFACT_CA_KEY)?;
    let address = read(names::ARTIFACT_ADDRESS_KEY)?;
    let server_name = read(names::ARTIFACT_SERVER_NAME_KEY)?;
    let (address, server_name) = (address.trim(), server_name.trim());
    let socket: SocketAddr = address
        .parse()
        .map_err(|_| unavailable(format!("the operator's address {address:?} is not IP:PORT")))?;
    let token = fs::read_to_string(&config.token_file).map_err(|error| {
        unavailable(format!(
            "the token {} cannot be read: {error}",
            config.token_file.display()
        ))
    })?;
    let certificates = Certificate::from_pem_bundle(ca.as_bytes())
        .map_err(|error| unavailable(format!("the published CA is not a certificate: {error}")))?;
    let client = reqwest::Client::builder()
        .tls_certs_only(certificates)
        .resolve(server_name, socket)
        .no_proxy()
        .https_only(true)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TOTAL_TIMEOUT)
        .build()
        .map_err(|error| unavailable(format!("cannot make a client: {error}")))?;
    let url = format!(
        "https://{server_name}:{}{}{}",
        socket.port(),
        names::ARTIFACT_OBJECTS_PATH,
        object.digest
    );
    let response = client
        .get(&url)
        .bearer_auth(token.trim())
        .send()
        .await
        .map_err(|error| {
            unavailable(format!(
                "the operator at {address} does not answer: {}",
                chain(&error)
            ))
        })?;
    let status = response.status();
    let limit = usize::try_from(MAX_OBJECT_BYTES).unwrap_or(usize::MAX);
    let limit = if status == StatusCode::OK {
        limit
    } else {
        MAX_ERROR_BYTES
    };
    let mut bytes = Vec::new();
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| {
            unavailable(format!("the operator at {address} broke off: {}", chain(&error)))
        })?;
        if bytes.len() + chunk.len() > limit {
            if status == StatusCode::OK {
                return Err(unavailable(format!(
                    "the operator sends more than {limit} bytes for {}",
                    object.digest
                )));
            }
            break;
        }
        bytes.extend_from_slice(&chunk);
    }
    if status != StatusCode::OK {
        let said = String::from_utf8_lossy(&bytes);
        return Err(unavailable(format!(
            "the operator at {address} answers {status} for {}: {said}",
            object.digest
        )));
    }
    let found = Digest::of(&bytes);
    if found == object.digest {
        Ok(bytes)
    } else {
        let message = format!(
            "the operator at {address} sent {found} for {}; nothing of it is loaded",
            object.digest
        );
        Err(Failure::new(NodeReason::DigestMismatch, message))
    }
}

fn chain(error: &reqwest::Error) -> String {
    crate::load::error_chain(error)
}
