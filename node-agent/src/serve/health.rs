//! Health, readiness and metrics over HTTP.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::sync::watch as channel;

use super::{ServeError, metrics::Metrics, watch::Latest};
use crate::engine::View;

#[derive(Clone)]
struct Shared {
    node: Latest,
    view: channel::Receiver<View>,
    metrics: Arc<Metrics>,
}

/// Binds the port; the future serves it.
pub async fn serve(
    address: SocketAddr,
    node: Latest,
    view: channel::Receiver<View>,
    metrics: Arc<Metrics>,
) -> Result<impl Future<Output = ()>, ServeError> {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Listen { address, source })?;
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(text))
        .with_state(Shared { node, view, metrics });
    Ok(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the health endpoint failed");
        }
    })
}

/// Ready: the agent has seen its BpfNode, or runs what its cache says.
async fn ready(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    let seen = shared.node.borrow().is_some() || shared.view.borrow().generation.is_some();
    if seen {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "this node's BpfNode has not been seen yet\n",
        )
    }
}

async fn text(State(shared): State<Shared>) -> Result<String, StatusCode> {
    let view = shared.view.borrow().clone();
    shared
        .metrics
        .text(&view)
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
