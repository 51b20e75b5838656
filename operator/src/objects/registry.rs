//! Reading from an OCI registry. Every answer is bounded, and nothing is believed that its digest does not
//! show.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use oci_spec::distribution::Reference;
use reqwest::{
    Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, WWW_AUTHENTICATE},
};
use serde::Deserialize;

/// Largest manifest or index, in bytes.
const MAX_MANIFEST_BYTES: usize = 4 << 20;
/// Largest answer of a token service, in bytes.
const MAX_TOKEN_BYTES: usize = 256 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence in the middle of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const MANIFEST_TYPES: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// Why a registry gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No connection, or no answer in time.
    #[error("cannot reach {registry}: {detail}")]
    Unreachable {
        /// The registry.
        registry: String,
        /// Why.
        detail: String,
    },
    /// It asks for credentials or refuses those it got.
    #[error("{registry} refuses access to {what} ({status})")]
    Denied {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// Its answer.
        status: StatusCode,
    },
    /// It has no such thing.
    #[error("{registry} has no {what}")]
    NotFound {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
    },
    /// It answered with an error, or with what no registry should answer.
    #[error("{registry} answered to {what}: {detail}")]
    BadAnswer {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// Its answer.
        detail: String,
    },
    /// More than was allowed or announced.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        what: String,
        /// The bound.
        limit: u64,
    },
}

/// A user name and password, or a token that stands for them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Connections to registries.
#[derive(Clone, Debug)]
pub struct Registry {
    http: reqwest::Client,
    insecure: Vec<String>,
}

impl Registry {
    /// `insecure` lists registries (`HOST:PORT`) that are spoken to in plain HTTP.
    ///
    /// # Errors
    /// The machine's certificate store cannot be read.
    pub fn new(insecure: Vec<String>) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .pool_max_idle_per_host(2)
            .pool_idle_timeout(Duration::from_secs(20))
            .user_agent(concat!("bpfleet-operator/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, insecure })
    }

    /// Begins to read one repository.
    pub fn session(&self, reference: &Reference, credentials: Option<Credentials>) -> Session<'_> {
        let registry = reference.resolve_registry().to_owned();
        let plain = self.insecure.contains(&registry);
        Session {
            http: &self.http,
            base: format!(
                "{}://{registry}/v2/{}",
                if plain { "http" } else { "https" },
                reference.repository()
            ),
            plain,
            repository: reference.repository().to_owned(),
            registry,
            credentials,
            authorization: None,
        }
    }
}

/// Reads one repository, with the authorization that its registry asked for.
#[derive(Debug)]
pub struct Session<'a> {
    http: &'a reqwest::Client,
    base: String,
    plain: bool,
    registry: String,
    repository: String,
    credentials: Option<Credentials>,
    authorization: Option<String>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Session<'_> {
    /// Whether it has credentials to show.
    pub fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }

    /// The manifest or index of a tag or digest.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn manifest(&mut self, tag_or_digest: &str) -> Result<Bytes, RegistryError> {
        let what = format!("manifest {}:{tag_or_digest}", self.repository);
        let url = format!("{}/manifests/{tag_or_digest}", self.base);
        let response = self.get(&url, &what, Some(MANIFEST_TYPES)).await?;
        self.body(response, &what, MAX_MANIFEST_BYTES).await
    }

    /// A blob, to be read chunk by chunk with [`Session::chunk`].
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn blob(&mut self, digest: &str) -> Result<Response, RegistryError> {
        let what = format!("blob {}@{digest}", self.repository);
        let url = format!("{}/blobs/{digest}", self.base);
        self.get(&url, &what, None).await
    }

    /// The next bytes of an answer; none at its end.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>, RegistryError> {
        response.chunk().await.map_err(|error| self.unreachable(&error))
    }

    async fn get(&mut self, url: &str, what: &str, accept: Option<&str>) -> Result<Response, RegistryError> {
        let mut tried = false;
        loop {
            let mut request = self.http.get(url);
            if let Some(accept) = accept {
                request = request.header(ACCEPT, accept);
            }
            if let Some(authorization) = &self.authorization {
                request = request.header(AUTHORIZATION, authorization);
            }
            let response = request.send().await.map_err(|error| self.unreachable(&error))?;
            let (registry, what) = (self.registry.clone(), what.to_owned());
            match response.status() {
                status if status.is_success() => return Ok(response),
                StatusCode::UNAUTHORIZED if !tried => {
                    tried = true;
                    self.authorize(&response).await?;
                }
                status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                    return Err(RegistryError::Denied {
                        registry,
                        what,
                        status,
                    });
                }
                StatusCode::NOT_FOUND => return Err(RegistryError::NotFound { registry, what }),
                status => {
                    return Err(RegistryError::BadAnswer {
                        registry,
                        what,
                        detail: status.to_string(),
                    });
                }
            }
        }
    }

    /// Gets what the challenge in a 401 asks for.
    async fn authorize(&mut self, response: &Response) -> Result<(), RegistryError> {
        let denied = |what: &str, status| RegistryError::Denied {
            registry: self.registry.clone(),
            what: what.to_owned(),
            status,
        };
        let headers = response.headers().get_all(WWW_AUTHENTICATE);
        let texts: Vec<&str> = headers.iter().filter_map(|value| value.to_str().ok()).collect();
        let challenges = texts
            .iter()
            .flat_map(|text| http_auth::parse_challenges(text).unwrap_or_default());
        let challenges: Vec<_> = challenges.collect();
        let scheme = |name: &str| {
            challenges
                .iter()
                .find(|challenge| challenge.scheme.eq_ignore_ascii_case(name))
        };
        let basic = self
            .credentials
            .as_ref()
            .map(|Credentials { username, password }| {
                format!(
                    "Basic {}",
                    BASE64_STANDARD.encode(format!("{username}:{password}"))
                )
            });
        if let Some(bearer) = scheme("Bearer") {
            let param = |name: &str| {
                let found = bearer
                    .params
                    .iter()
                    .find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_unescaped())
            };
            let realm = param("realm").and_then(|realm| reqwest::Url::parse(&realm).ok());
            let realm = realm.filter(|url| url.scheme() == "https" || (self.plain && url.scheme() == "http"));
            let Some(mut url) = realm else {
                return Err(RegistryError::BadAnswer {
                    registry: self.registry.clone(),
                    what: "a request without a token".to_owned(),
                    detail: "a challenge whose realm is no https address".to_owned(),
                });
            };
            url.query_pairs_mut()
                .append_pair("scope", &format!("repository:{}:pull", self.repository));
            if let Some(service) = param("service") {
                url.query_pairs_mut().append_pair("service", &service);
            }
            let mut request = self.http.get(url);
            if let Some(basic) = &basic {
                request = request.header(AUTHORIZATION, basic);
            }
            let response = request.send().await.map_err(|error| self.unreachable(&error))?;
            let what = "a token to pull";
            match response.status() {
                status if status.is_success() => {}
                status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                    return Err(denied(what, status));
                }
                status => {
                    let (registry, detail) = (self.registry.clone(), status.to_string());
                    return Err(RegistryError::BadAnswer {
                        registry,
                        what: what.to_owned(),
                        detail,
                    });
                }
            }
            let body = self.body(response, what, MAX_TOKEN_BYTES).await?;
            let token: Option<Token> = serde_json::from_slice(&body).ok();
            let Some(token) = token.and_then(|token| token.token.or(token.access_token)) else {
                let (registry, detail) = (self.registry.clone(), "an answer without a token".to_owned());
                return Err(RegistryError::BadAnswer {
                    registry,
                    what: what.to_owned(),
                    detail,
                });
            };
            self.authorization = Some(format!("Bearer {token}"));
            return Ok(());
        }
        match (scheme("Basic"), basic) {
            (Some(_), Some(basic)) => {
                self.authorization = Some(basic);
                Ok(())
            }
            _ => Err(denied(
                &format!("repository {}", self.repository),
                response.status(),
            )),
        }
    }

    async fn body(&self, mut response: Response, what: &str, limit: usize) -> Result<Bytes, RegistryError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk(&mut response).await? {
            if body.len() + chunk.len() > limit {
                return Err(RegistryError::TooLarge {
                    what: what.to_owned(),
                    limit: limit as u64,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }

    fn unreachable(&self, error: &reqwest::Error) -> RegistryError {
        // The URL may carry a token in its query.
        let detail = match crate::error::chain(error) {
            text if text.contains("invalid certificate") || text.contains("InvalidCertificate") => {
                format!("its certificate is not trusted: {text}")
            }
            text => text,
        };
        RegistryError::Unreachable {
            registry: self.registry.clone(),
            detail,
        }
    }
}
