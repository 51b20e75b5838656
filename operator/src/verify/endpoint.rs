//! Whether the artifact endpoint answers where agents look for it, and turns away who shows no token.

use std::{net::SocketAddr, time::Duration};

use bpfleet_crds::names::{
    ARTIFACT_ADDRESS_KEY, ARTIFACT_CA_KEY, ARTIFACT_CONFIG_MAP, ARTIFACT_OBJECTS_PATH,
    ARTIFACT_SERVER_NAME_KEY,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use reqwest::{Certificate, StatusCode};

use super::Check;
use crate::error::{ApiError, chain};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks it without a token, as the agents would with one.
pub async fn check(config_maps: &Api<ConfigMap>) -> Check {
    let (ok, message) = match ask(config_maps).await {
        Ok(address) => (
            true,
            format!("answers at {address}, and turns away who has no token"),
        ),
        Err(why) => (false, why),
    };
    Check {
        part: "artifacts",
        ok,
        message,
    }
}

async fn ask(config_maps: &Api<ConfigMap>) -> Result<SocketAddr, String> {
    let found = config_maps.get_opt(ARTIFACT_CONFIG_MAP).await;
    let found = found.map_err(|error| {
        chain(&ApiError::new(
            format!("read ConfigMap {ARTIFACT_CONFIG_MAP}"),
            error,
        ))
    })?;
    let data = found.and_then(|map| map.data).ok_or_else(|| {
        format!("ConfigMap {ARTIFACT_CONFIG_MAP} does not exist: the operator that leads publishes it; see its log")
    })?;
    let part = |key: &str| {
        data.get(key)
            .map(|text| text.trim())
            .ok_or_else(|| format!("ConfigMap {ARTIFACT_CONFIG_MAP} has no {key}"))
    };
    let (name, address) = (part(ARTIFACT_SERVER_NAME_KEY)?, part(ARTIFACT_ADDRESS_KEY)?);
    let socket: SocketAddr = address
        .parse()
        .map_err(|_| format!("the published address {address:?} is not IP:PORT"))?;
    let certificates = Certificate::from_pem_bundle(part(ARTIFACT_CA_KEY)?.as_bytes())
        .map_err(|error| format!("the published CA is no certificate: {error}"))?;
    let client = reqwest::Client::builder()
        .tls_certs_only(certificates)
        .resolve(name, socket)
        .no_proxy()
        .https_only(true)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .build()
        .map_err(|error| format!("cannot make a client: {error}"))?;
    let url = format!(
        "https://{name}:{}{ARTIFACT_OBJECTS_PATH}sha256:{}",
        socket.port(),
        "0".repeat(64)
    );
    let answer = client.get(url).send().await.map_err(|error| {
        format!(
            "{address} does not answer: {}; does a NetworkPolicy or firewall stand in between?",
            chain(&error)
        )
    })?;
    match answer.status() {
        StatusCode::UNAUTHORIZED => Ok(socket),
        other => Err(format!(
            "{address} answers {other} to who has no token, instead of 401"
        )),
    }
}
