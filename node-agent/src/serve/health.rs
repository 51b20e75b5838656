//! Health, readiness and metrics over HTTP.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::{net::TcpListener, sync::watch as channel};

use super::{ServeError, metrics::Metrics, watch::Latest};
use crate::engine::View;

#[derive(Clone)]
struct Shared {
    node: Latest,
    view: channel::Receiver<View>,
    metrics: Arc<Metrics>,
}

/// Binds the ports: the first is for everything, the second for metrics alone. The future serves them.
pub async fn serve(
    addresses: [Option<SocketAddr>; 2],
    node: Latest,
    view: channel::Receiver<View>,
    metrics: Arc<Metrics>,
) -> Result<impl Future<Output = ()>, ServeError> {
    let shared = Shared { node, view, metrics };
    let only_metrics = Router::new().route("/metrics", get(text));
    let everything = only_metrics
        .clone()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready));
    let mut servers = Vec::new();
    for (address, router) in addresses.into_iter().zip([everything, only_metrics]) {
        let Some(address) = address else { continue };
        let listener = bind(address)
            .await
            .map_err(|source| ServeError::Listen { address, source })?;
        servers.push(axum::serve(listener, router.with_state(shared.clone())).into_future());
    }
    Ok(async move {
        // They never end by themselves.
        let (ended, ..) = futures::future::select_all(servers).await;
        if let Err(error) = ended {
            tracing::error!(%error, "the health endpoint failed");
        }
    })
}

/// Binds a port. `[::]` stands for every address of both families, and where there is no IPv6 for those of IPv4.
async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error)
            if address.is_ipv6()
                && address.ip().is_unspecified()
                && error.kind() != io::ErrorKind::AddrInUse =>
        {
            let instead = TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await;
            instead.map_err(|_| error)
        }
        bound => bound,
    }
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
