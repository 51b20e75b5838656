//! Requests that are not given up at the first silence, and objects that may be gone already.

use std::time::Duration;

use kube::{
    Api, Resource,
    api::{DeleteParams, ListParams},
};
use serde::de::DeserializeOwned;

use crate::error::{ApiError, chain};

/// Objects in one answer of the API server.
const PAGE: u32 = 500;
/// Tries of a request, a second apart: an API server may be restarting just now.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);
/// Longest time for one try.
const ANSWER: Duration = Duration::from_secs(15);

/// Deletes an object; one that is gone already is as well.
pub async fn delete<K>(api: &Api<K>, kind: &str, name: &str) -> Result<(), ApiError>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let params = DeleteParams::default();
    gone_is_fine(persist(&format!("delete {kind} {name}"), || api.delete(name, &params)).await)
}

/// Lists all, page by page. Of a kind whose CRD is gone there are none.
pub async fn list<K>(api: &Api<K>, what: &str, params: ListParams) -> Result<Vec<K>, ApiError>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut params = params.limit(PAGE);
    let mut items = Vec::new();
    loop {
        let page = match persist(&format!("list {what}"), || api.list(&params)).await {
            Err(error) if error.code() == Some(404) => return Ok(items),
            page => page?,
        };
        items.extend(page.items);
        match page.metadata.continue_ {
            Some(token) if !token.is_empty() => params = params.continue_token(&token),
            _ => return Ok(items),
        }
    }
}

/// Whoever wanted to change an object that is gone has nothing left to do.
pub fn gone_is_fine<T>(result: Result<T, ApiError>) -> Result<(), ApiError> {
    match result {
        Err(error) if error.code() != Some(404) => Err(error),
        _ => Ok(()),
    }
}

/// Tries a request until it is answered: refusals are final, silence and errors of the server are not.
pub async fn persist<T, F>(what: &str, attempt: impl Fn() -> F) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    let mut tries = 1;
    loop {
        let error = match tokio::time::timeout(ANSWER, attempt()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => ApiError::new(what, error),
            Err(late) => ApiError::new(what, kube::Error::Service(Box::new(late))),
        };
        // Of two that write at once, one has to look again.
        let passing = error
            .code()
            .is_none_or(|code| code == 409 || code == 429 || code >= 500);
        if !passing || tries == TRIES {
            return Err(error);
        }
        tracing::warn!(error = chain(&error), "trying again");
        tries += 1;
        tokio::time::sleep(PAUSE).await;
    }
}
