//! A Kubernetes client with a runtime of its own, so that tests need none and can share it.

use std::future::Future;
use std::path::Path;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;

use crate::certs::Pair;
use crate::error::{During, Error, Result, write_file};

/// How a kubeconfig's user proves who it is.
pub enum Credentials<'a> {
    /// A client certificate.
    Certificate(&'a Pair),
    /// A bearer token in a file, read again by the client when it is replaced.
    TokenFile(&'a Path),
}

/// Writes a kubeconfig (JSON, which is YAML).
pub fn write_kubeconfig(path: &Path, server: &str, ca: &Path, credentials: &Credentials<'_>) -> Result<()> {
    write_file(path, kubeconfig(server, ca, credentials))
}

/// The content of a kubeconfig.
pub fn kubeconfig(server: &str, ca: &Path, credentials: &Credentials<'_>) -> String {
    let user = match credentials {
        Credentials::Certificate(pair) => json!({"client-certificate": pair.cert, "client-key": pair.key}),
        Credentials::TokenFile(file) => json!({"tokenFile": file}),
    };
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bpfleet-e2e", "cluster": {"server": server, "certificate-authority": ca}}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "bpfleet-e2e", "context": {"cluster": "bpfleet-e2e", "user": "user"}}],
        "current-context": "bpfleet-e2e",
    });
    format!("{config:#}\n")
}

/// A client and the runtime it lives on.
pub struct ApiClient {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl ApiClient {
    /// A client for a kubeconfig.
    pub fn new(kubeconfig: &Path) -> Result<ApiClient> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .during(|| "starting the API client's runtime")?;
        let failed =
            |error: &dyn std::fmt::Display| Error::Other(format!("{}: {error}", kubeconfig.display()));
        let read = Kubeconfig::read_from(kubeconfig).map_err(|error| failed(&error))?;
        let config = runtime
            .block_on(Config::from_custom_kubeconfig(
                read,
                &KubeConfigOptions::default(),
            ))
            .map_err(|error| failed(&error))?;
        let guard = runtime.enter();
        let client =
            Client::try_from(config).during(|| format!("making a client for {}", kubeconfig.display()))?;
        drop(guard);
        Ok(ApiClient { runtime, client })
    }

    /// The client, for typed access inside [`ApiClient::block_on`].
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Runs a future to its end. Not to be called from another runtime's thread.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Lets a future run in the background until its handle is aborted or the client is dropped.
    pub fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.spawn(future)
    }

    /// GET of a bare path, as text.
    pub fn get_raw(&self, path: &str) -> Result<String> {
        let request = kube::core::Request::new(path)
            .list(&kube::api::ListParams::default())
            .map_err(|error| Error::Other(format!("GET {path}: {error}")))?;
        self.block_on(self.client.request_text(request))
            .during(|| format!("GET {path}"))
    }
}
