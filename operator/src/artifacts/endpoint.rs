//! The HTTPS server: `GET /v1/objects/sha256:<hex>`.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bpfleet_crds::{BpfNode, Digest, names::ARTIFACT_OBJECTS_PATH};
use futures::FutureExt as _;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use kube::{Api, core::DeserializeGuard};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{
    auth::{Authenticator, Caller, Refused},
    store::{Store, StoreError},
    tls::Tls,
};
use crate::{error::chain, index::Index, metrics::Metrics, view::BpfNodeView, view::RevisionView};

/// Most connections at once.
const MAX_CONNECTIONS: usize = 1024;
/// Longest time for the TLS handshake, and for the header of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time until an answer begins: an image may have to be pulled again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(150);
/// Longest life of a connection, whatever is sent on it.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(600);
/// Time for answers under way when the server stops.
const GRACE: Duration = Duration::from_secs(15);
/// Largest header of a request, in bytes.
const MAX_HEADER_BYTES: usize = 32 << 10;

/// What answers need.
pub struct Shared {
    /// Objects.
    pub store: Arc<Store>,
    /// Who may ask.
    pub authenticator: Authenticator,
    /// What each node shall run, from the API server itself: a node may ask the moment it is told.
    pub bpf_nodes: Api<DeserializeGuard<BpfNode>>,
    /// What each revision consists of.
    pub revisions: Arc<Index<RevisionView>>,
    /// Numbers.
    pub metrics: Arc<Metrics>,
}

/// Why there is no object; becomes a status code and a JSON body.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(code, message) = self;
        let kind = [(header::CONTENT_TYPE, "application/json")];
        let mut response = (code, kind, json!({"message": message}).to_string()).into_response();
        if code == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The routes.
pub fn router(shared: Arc<Shared>) -> Router {
    let metrics = shared.metrics.clone();
    let count = move |response: Response| {
        metrics.artifact_request(response.status().as_u16());
        async { response }
    };
    Router::new()
        .route(&format!("{ARTIFACT_OBJECTS_PATH}{{digest}}"), get(object))
        .fallback(async || {
            Refusal(
                StatusCode::NOT_FOUND,
                format!("there is nothing but {ARTIFACT_OBJECTS_PATH}sha256:…"),
            )
        })
        .method_not_allowed_fallback(async || {
            Refusal(StatusCode::METHOD_NOT_ALLOWED, "use GET or HEAD".to_owned())
        })
        .layer(axum::middleware::map_response(count))
        .with_state(shared)
}

async fn object(
    State(shared): State<Arc<Shared>>,
    Path(digest): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer(&shared, &digest, &headers)).await;
    answer.unwrap_or_else(|_| {
        Err(Refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "the object's source does not answer; try again".to_owned(),
        ))
    })
}

async fn answer(shared: &Shared, digest: &str, headers: &HeaderMap) -> Result<Response, Refusal> {
    let authorization = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let caller = shared
        .authenticator
        .check(authorization)
        .await
        .map_err(|refused| {
            let code = match refused {
                Refused::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
                Refused::Forbidden(_) => StatusCode::FORBIDDEN,
                Refused::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            Refusal(code, refused.to_string())
        })?;
    let digest: Digest = digest
        .parse()
        .map_err(|error| Refusal(StatusCode::NOT_FOUND, format!("{error}")))?;
    may_have(shared, &caller, digest).await?;
    let bytes = shared.store.get(digest).await.map_err(|error| match error {
        StoreError::Unknown(_) => Refusal(StatusCode::NOT_FOUND, error.to_string()),
        StoreError::Unavailable { .. } => Refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    })?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::ETAG, format!("\"{digest}\"")),
        (header::CACHE_CONTROL, "private, immutable".to_owned()),
    ];
    Ok((headers, bytes).into_response())
}

/// A node gets only objects of revisions that it shall run by its BpfNode's spec, which the operator writes. Not by its
/// status: that is written with the node's own token, and who has stolen it could name there whatever it likes.
async fn may_have(shared: &Shared, caller: &Caller, digest: Digest) -> Result<(), Refusal> {
    if !shared.store.knows(digest) {
        return Err(Refusal(
            StatusCode::NOT_FOUND,
            format!("no BpfRevision names {digest}"),
        ));
    }
    let found = shared.bpf_nodes.get_opt(&caller.node).await;
    let found = found.map_err(|error| {
        Refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("cannot read BpfNode {}: {}", caller.node, chain(&error)),
        )
    })?;
    let bpf_node = found.map(BpfNodeView::new).unwrap_or_default();
    let names = |revision: &str| {
        let view = shared.revisions.get(revision);
        let variants = view
            .as_ref()
            .and_then(|view| view.live())
            .map(|live| live.spec.variants.as_slice());
        variants
            .into_iter()
            .flatten()
            .flat_map(|variant| &variant.objects)
            .any(|object| object.digest == digest)
    };
    if bpf_node.programs.iter().any(|entry| names(&entry.revision)) {
        Ok(())
    } else {
        let message = format!("node {} shall run nothing that needs {digest}", caller.node);
        Err(Refusal(StatusCode::FORBIDDEN, message))
    }
}

/// Serves until `stop` turns true, then finishes what is under way.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<Tls>,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(tls);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let router = router(shared);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // Ended ones, so that the set does not grow.
        while connections.join_next().now_or_never().flatten().is_some() {}
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = async {
                let place = places.clone().acquire_owned().await;
                (listener.accept().await, place)
            } => accepted,
        };
        match accepted {
            (Ok((stream, _)), Ok(place)) => {
                let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
                connections.spawn(async move {
                    let _ =
                        tokio::time::timeout(CONNECTION_TIMEOUT, connection(stream, acceptor, router, stop))
                            .await;
                    drop(place);
                });
            }
            (Err(error), _) => {
                // Too many open files, most likely: let some close.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            (_, Err(_)) => break,
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let stream = match tokio::time::timeout(HEADER_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            return;
        }
        Err(_) => return,
    };
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => {
            if let Err(error) = result {
                tracing::debug!(%error, "connection ended early");
            }
            return;
        }
        _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
