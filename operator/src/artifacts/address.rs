//! Where agents reach the artifact endpoint. They run in the host's network, where cluster DNS may not work: they
//! get an address, and verify the name.

use std::net::{IpAddr, SocketAddr};

use bpfleet_crds::names::ARTIFACT_PORT_NAME;
use k8s_openapi::api::core::v1::Service;
use kube::Api;

use crate::error::ApiError;

/// Where the address comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advertise {
    /// It is given.
    Fixed(SocketAddr),
    /// It is that of the Service of this name, in bpfleet's namespace, which may be made anew with another one.
    Service(String),
}

/// Why there is no address.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The API server refused or cannot be reached.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// There is no such Service.
    #[error(
        "Service {0} does not exist in bpfleet's namespace, so that agents cannot reach the artifact endpoint; install the chart again"
    )]
    Missing(String),
    /// The Service has no address that agents could dial.
    #[error("Service {name} cannot be dialled by agents: {why}")]
    Unusable {
        /// The Service.
        name: String,
        /// Why.
        why: String,
    },
}

impl Advertise {
    /// The address now.
    ///
    /// # Errors
    /// The Service is missing or has none, or the API server cannot be asked.
    pub async fn address(&self, services: &Api<Service>) -> Result<SocketAddr, AddressError> {
        let name = match self {
            Self::Fixed(address) => return Ok(*address),
            Self::Service(name) => name,
        };
        let found = services.get_opt(name).await;
        let service = found
            .map_err(|error| ApiError::new(format!("read Service {name}"), error))?
            .ok_or_else(|| AddressError::Missing(name.clone()))?;
        of_service(&service).map_err(|why| AddressError::Unusable {
            name: name.clone(),
            why,
        })
    }
}

/// The address of a Service: its cluster IP, and the port named like the endpoint, else the only one.
fn of_service(service: &Service) -> Result<SocketAddr, String> {
    let spec = service.spec.as_ref().ok_or("it has no spec")?;
    let ip = spec.cluster_ip.as_deref().unwrap_or_default();
    let ip: IpAddr = ip.parse().map_err(|_| match ip {
        "None" => {
            "it is headless; set its clusterIP anew by deleting it and installing the chart again".to_owned()
        }
        "" => "it has no cluster IP yet".to_owned(),
        other => format!("its cluster IP is {other:?}"),
    })?;
    let ports = spec.ports.as_deref().unwrap_or_default();
    let named = ports
        .iter()
        .find(|port| port.name.as_deref() == Some(ARTIFACT_PORT_NAME));
    let port = match (named, ports) {
        (Some(port), _) | (None, [port]) => port.port,
        _ => {
            return Err(format!(
                "none of its {} ports is named {ARTIFACT_PORT_NAME}",
                ports.len()
            ));
        }
    };
    let port = u16::try_from(port).map_err(|_| format!("its port is {port}"))?;
    Ok(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn address(spec: Value) -> Result<SocketAddr, String> {
        of_service(&serde_json::from_value(json!({"spec": spec})).unwrap())
    }

    #[rstest]
    #[case::one_port(json!({"clusterIP": "10.96.0.7", "ports": [{"port": 8443}]}), "10.96.0.7:8443")]
    #[case::six(json!({"clusterIP": "fd00::7", "ports": [{"port": 443, "name": "https"}]}), "[fd00::7]:443")]
    #[case::named(json!({"clusterIP": "10.96.0.7", "ports": [{"port": 1, "name": "x"}, {"port": 2, "name": ARTIFACT_PORT_NAME}]}), "10.96.0.7:2")]
    fn a_service_is_dialled_at_its_cluster_ip(#[case] spec: Value, #[case] expected: &str) {
        assert_eq!(address(spec).unwrap().to_string(), expected);
    }

    #[rstest]
    #[case::headless(json!({"clusterIP": "None", "ports": [{"port": 1}]}), "headless")]
    #[case::pending(json!({"ports": [{"port": 1}]}), "no cluster IP yet")]
    #[case::ports(json!({"clusterIP": "10.0.0.1", "ports": [{"port": 1}, {"port": 2}]}), "none of its 2 ports")]
    #[case::no_port(json!({"clusterIP": "10.0.0.1"}), "none of its 0 ports")]
    #[case::odd_port(json!({"clusterIP": "10.0.0.1", "ports": [{"port": 70000}]}), "70000")]
    fn what_cannot_be_dialled_says_why(#[case] spec: Value, #[case] why: &str) {
        let error = address(spec).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}
