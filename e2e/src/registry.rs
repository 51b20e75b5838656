//! Debian's docker-registry on loopback, plain HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{During, Result, write_file};
use crate::process::{Launch, Process};
use crate::real::forward::Forward;
use crate::real::network::Network;
use crate::scratch::Scratch;
use crate::{http, ports, tools};

/// User of a registry that asks for one.
pub const USER: &str = "puller";
/// Password of [`USER`].
pub const PASSWORD: &str = "only-for-tests";
/// bcrypt of [`PASSWORD`], the only form the registry takes.
const HTPASSWD: &str = "puller:$2b$04$abcdefghijklmnopqrstuuSOASZ5gFdIXxQU/MI4albXfVKBHc6R2\n";

/// A running registry. Dropping it ends it and removes its content.
pub struct Registry {
    process: Process,
    launch: Launch,
    port: u16,
    pub(crate) auth: bool,
    _forward: Option<Forward>,
    scratch: Scratch,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) http: reqwest::Client,
}

impl Registry {
    /// Starts a registry that anybody may read and write.
    pub fn start() -> Result<Registry> {
        Registry::start_with(false, None)
    }

    /// Starts a registry that wants [`USER`] and [`PASSWORD`].
    pub fn start_with_password() -> Result<Registry> {
        Registry::start_with(true, None)
    }

    /// Starts a registry that anybody may read and write, at an address in a cluster's network. From here
    /// it is reached on loopback as well, and [`Registry::host`] says where.
    pub(crate) fn start_within(network: &Network, address: SocketAddr) -> Result<Registry> {
        Registry::start_with(false, Some((network, address)))
    }

    fn start_with(auth: bool, within: Option<(&Network, SocketAddr)>) -> Result<Registry> {
        let scratch = Scratch::new("registry")?;
        let forward = within
            .map(|(network, address)| Forward::start(network, address))
            .transpose()?;
        let port = match &forward {
            Some(forward) => forward.outside().port(),
            None => ports::free()?,
        };
        let address = within.map_or(SocketAddr::from(([127, 0, 0, 1], port)), |(_, address)| address);
        let storage = scratch.dir("storage")?;
        let mut config = format!(
            "version: 0.1\nlog: {{level: warn, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: \"{address}\"}}\n",
            storage.display()
        );
        if auth {
            let htpasswd = scratch.path().join("htpasswd");
            write_file(&htpasswd, HTPASSWD)?;
            config.push_str(&format!(
                "auth: {{htpasswd: {{realm: test, path: {}}}}}\n",
                htpasswd.display()
            ));
        }
        let file = scratch.path().join("config.yml");
        write_file(&file, config)?;
        let program = tools::installed("docker-registry", "docker-registry")?;
        let mut launch = Launch::new("registry", program).arg("serve").arg(&file);
        if let Some((network, _)) = within {
            launch = network.launch(&launch);
        }
        let process = launch.start(scratch.path())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .during(|| "starting the registry client's runtime")?;
        let registry = Registry {
            process,
            launch,
            port,
            auth,
            _forward: forward,
            scratch,
            runtime,
            http: http::client(),
        };
        registry.wait_ready()?;
        Ok(registry)
    }

    /// `127.0.0.1:PORT`, as it stands in image references.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it: clients see refused connections. Its content stays.
    pub fn kill(&self) -> Result<()> {
        self.process.kill().map(drop)
    }

    /// Starts it again on the same port and content.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.process = self.launch.start(self.scratch.path())?;
        self.wait_ready()
    }

    /// Where its blobs lie, for tests that damage one.
    pub fn storage(&self) -> PathBuf {
        self.scratch.path().join("storage")
    }

    /// File of a blob in [`Registry::storage`], by its digest (`sha256:<hex>`).
    pub fn blob_file(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let start = hex.get(..2).unwrap_or_default();
        self.storage()
            .join("docker/registry/v2/blobs/sha256")
            .join(start)
            .join(hex)
            .join("data")
    }

    fn wait_ready(&self) -> Result<()> {
        http::wait_answer(
            &self.process,
            &format!("http://{}/v2/", self.host()),
            Duration::from_secs(30),
            |_| true,
        )
    }
}
