//! Who may ask: agents, by their service account's token, each only for what its node shall run.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bpfleet_crds::names::{AGENT_SERVICE_ACCOUNT, ARTIFACT_AUDIENCE};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{Api, Client, api::PostParams};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::error::chain;

/// How long an answer of the API server is believed.
const BELIEVED: Duration = Duration::from_secs(60);
/// How long a refusal is: the cause may be mended.
const REFUSED: Duration = Duration::from_secs(5);
/// Most answers remembered.
const MAX_REMEMBERED: usize = 16_384;
/// Longest time for a review.
const TIMEOUT: Duration = Duration::from_secs(10);
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// Why somebody may not ask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No token, or one that is not valid here.
    #[error("{0}")]
    Unauthenticated(String),
    /// A valid token of somebody else.
    #[error("{0}")]
    Forbidden(String),
    /// The API server could not be asked.
    #[error("the token cannot be checked now: {0}")]
    Unavailable(String),
}

/// An agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The node that its pod runs on.
    pub node: String,
}

/// Checks callers.
pub struct Authenticator {
    api: Api<TokenReview>,
    user: String,
    known: Mutex<Cache>,
}

impl Authenticator {
    /// Takes agents of one namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            api: Api::all(client),
            user: format!("system:serviceaccount:{namespace}:{AGENT_SERVICE_ACCOUNT}"),
            known: Mutex::default(),
        }
    }

    /// Checks the Authorization header of a request.
    ///
    /// # Errors
    /// Why this caller may not ask.
    pub async fn check(&self, authorization: Option<&str>) -> Result<Caller, Refused> {
        let token = bearer(authorization)?;
        let key: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let now = Instant::now();
        if let Some(known) = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key, now)
        {
            return known;
        }
        let spec = TokenReviewSpec {
            token: Some(token.to_owned()),
            audiences: Some(vec![ARTIFACT_AUDIENCE.to_owned()]),
        };
        let review = TokenReview {
            spec,
            ..TokenReview::default()
        };
        let params = PostParams::default();
        let asked = tokio::time::timeout(TIMEOUT, self.api.create(&params, &review)).await;
        let review = match asked {
            Ok(Ok(review)) => review,
            Ok(Err(error)) => return Err(Refused::Unavailable(chain(&error))),
            Err(_) => return Err(Refused::Unavailable("the API server does not answer".to_owned())),
        };
        let outcome = judge(&review.status.unwrap_or_default(), &self.user);
        let believed = match &outcome {
            Ok(_) => believed(expiry(token), jiff::Timestamp::now().as_second()),
            Err(_) => REFUSED,
        };
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .put(key, now, believed, outcome.clone());
        outcome
    }
}

fn bearer(authorization: Option<&str>) -> Result<&str, Refused> {
    let unauthenticated = |text: &str| Refused::Unauthenticated(text.to_owned());
    let header =
        authorization.ok_or_else(|| unauthenticated("send the agent's token: Authorization: Bearer …"))?;
    match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            Ok(token.trim())
        }
        _ => Err(unauthenticated(
            "the Authorization header is not of the form: Bearer …",
        )),
    }
}

/// What the API server's answer means.
fn judge(status: &TokenReviewStatus, user: &str) -> Result<Caller, Refused> {
    let audience = status
        .audiences
        .iter()
        .flatten()
        .any(|audience| audience == ARTIFACT_AUDIENCE);
    if status.authenticated != Some(true) || !audience {
        // The API server's own text may show parts of the token.
        let message = format!("the token is not valid for audience {ARTIFACT_AUDIENCE}, or no longer");
        return Err(Refused::Unauthenticated(message));
    }
    let info = status.user.clone().unwrap_or_default();
    let name = info.username.unwrap_or_default();
    if name != user {
        return Err(Refused::Forbidden(format!(
            "{name} may not fetch objects; only {user} may"
        )));
    }
    let node = info
        .extra
        .unwrap_or_default()
        .remove(NODE_NAME)
        .and_then(|mut names| names.pop());
    match node {
        Some(node) => Ok(Caller { node }),
        None => Err(Refused::Forbidden(
            "the token is not bound to a pod on a node; use a projected token".to_owned(),
        )),
    }
}

/// When a token expires, in seconds since 1970. It is not verified here: the API server has done that.
fn expiry(token: &str) -> Option<i64> {
    #[derive(Deserialize)]
    struct Claims {
        exp: i64,
    }
    let payload = token.split('.').nth(1)?;
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(payload.trim_end_matches('='))
        .ok()?;
    Some(serde_json::from_slice::<Claims>(&bytes).ok()?.exp)
}

/// How long an acceptance is believed: never beyond the token's own end, and not at all if that is unknown.
fn believed(expiry: Option<i64>, now: i64) -> Duration {
    let left = expiry.map_or(0, |expiry| expiry.saturating_sub(now));
    u64::try_from(left).map_or(Duration::ZERO, |left| Duration::from_secs(left).min(BELIEVED))
}

#[derive(Debug, Default)]
struct Cache {
    known: HashMap<[u8; 32], (Instant, Result<Caller, Refused>)>,
}

impl Cache {
    fn get(&self, key: [u8; 32], now: Instant) -> Option<Result<Caller, Refused>> {
        self.known
            .get(&key)
            .filter(|(until, _)| now < *until)
            .map(|(_, outcome)| outcome.clone())
    }

    fn put(&mut self, key: [u8; 32], now: Instant, time: Duration, outcome: Result<Caller, Refused>) {
        if time.is_zero() {
            return;
        }
        if self.known.len() >= MAX_REMEMBERED {
            self.known.retain(|_, (until, _)| now < *until);
        }
        // Full of answers that still hold: this one is asked for again.
        if self.known.len() < MAX_REMEMBERED {
            self.known.insert(key, (now + time, outcome));
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    const USER: &str = "system:serviceaccount:ns:bpfleet-agent";

    fn status(authenticated: bool, audience: &str, user: &str, extra: Value) -> TokenReviewStatus {
        serde_json::from_value(json!({"authenticated": authenticated, "audiences": [audience],
            "user": {"username": user, "extra": extra}}))
        .unwrap()
    }

    #[test]
    fn an_agent_bound_to_a_node_is_let_in() {
        let caller = judge(
            &status(true, ARTIFACT_AUDIENCE, USER, json!({NODE_NAME: ["n1"]})),
            USER,
        );
        assert_eq!(
            caller,
            Ok(Caller {
                node: "n1".to_owned()
            })
        );
    }

    #[rstest]
    #[case::invalid(status(false, ARTIFACT_AUDIENCE, USER, json!({NODE_NAME: ["n"]})), true)]
    #[case::for_the_api_server(status(true, "https://kubernetes.default.svc", USER, json!({NODE_NAME: ["n"]})), true)]
    #[case::somebody_else(status(true, ARTIFACT_AUDIENCE, "system:serviceaccount:other:bpfleet-agent", json!({NODE_NAME: ["n"]})), false)]
    #[case::not_bound_to_a_node(status(true, ARTIFACT_AUDIENCE, USER, json!({})), false)]
    fn others_are_refused(#[case] status: TokenReviewStatus, #[case] unauthenticated: bool) {
        let refused = judge(&status, USER).unwrap_err();
        assert_eq!(
            matches!(refused, Refused::Unauthenticated(_)),
            unauthenticated,
            "{refused}"
        );
    }

    #[rstest]
    #[case(None)]
    #[case(Some("Basic dTpw"))]
    #[case(Some("Bearer "))]
    #[case(Some("Bearer"))]
    fn a_request_without_token_is_refused(#[case] header: Option<&str>) {
        assert!(matches!(bearer(header), Err(Refused::Unauthenticated(_))));
    }

    #[rstest]
    #[case::long(Some(1000 + 3600), 60)]
    #[case::ends_sooner(Some(1000 + 7), 7)]
    #[case::over(Some(999), 0)]
    #[case::unknown(None, 0)]
    fn an_answer_is_believed_for_a_minute_at_most_and_never_beyond_the_tokens_end(
        #[case] expiry: Option<i64>,
        #[case] seconds: u64,
    ) {
        assert_eq!(believed(expiry, 1000), Duration::from_secs(seconds));
    }

    #[test]
    fn the_end_of_a_token_is_read_from_it() {
        let token = |claims: &str| format!("e30.{}.sig", BASE64_URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(expiry(&token(r#"{"exp": 1234}"#)), Some(1234));
        assert_eq!(expiry(&token("{}")), None);
        assert_eq!(expiry("no-jwt"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_cache_forgets_in_time_and_is_bounded() {
        let mut cache = Cache::default();
        let now = Instant::now();
        let caller = Ok(Caller { node: "n".to_owned() });
        cache.put([1; 32], now, Duration::from_secs(7), caller.clone());
        assert_eq!(
            cache.get([1; 32], now + Duration::from_secs(6)),
            Some(caller.clone())
        );
        assert_eq!(cache.get([1; 32], now + Duration::from_secs(7)), None);
        for index in 0..u32::try_from(MAX_REMEMBERED).unwrap() + 10 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&index.to_le_bytes());
            cache.put(key, now, Duration::from_secs(60), caller.clone());
        }
        assert_eq!(cache.known.len(), MAX_REMEMBERED);
        cache.put(
            [2; 32],
            now + Duration::from_secs(61),
            Duration::from_secs(60),
            caller,
        );
        assert_eq!(cache.known.len(), 1);
    }
}
