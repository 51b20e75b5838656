//! /healthz, /readyz and /metrics.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};

use crate::{artifacts::tls::Tls, context::Context};

/// What the health endpoint speaks of.
#[derive(Clone)]
pub struct Health {
    /// The reconcilers' view.
    pub context: Arc<Context>,
    /// The artifact endpoint's certificate.
    pub tls: Arc<Tls>,
}

/// The routes of the health endpoint.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health)
}

/// Ready: it knows the cluster, and can serve artifacts. A replica that does not lead is ready, too.
async fn ready(State(health): State<Health>) -> impl IntoResponse {
    let mut missing = Vec::new();
    if !health.context.is_synced() {
        missing.push("the API server has not sent everything yet");
    }
    if !health.tls.is_ready() {
        missing.push("there is no certificate for the artifact endpoint yet");
    }
    if missing.is_empty() {
        (StatusCode::OK, "ok".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, missing.join("; "))
    }
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    let kind = [(
        "content-type",
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    )];
    match health.context.metrics.encode() {
        Ok(text) => (StatusCode::OK, kind, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, kind, error.to_string()),
    }
}
