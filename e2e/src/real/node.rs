//! A node: containerd, kubelet and kube-proxy in namespaces and control groups of their own.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::cgroups::Group;
use super::control::Files;
use super::machine::{Machine, end, enter};
use super::network::{self, Network};
use super::options::{NodeOptions, Spec};
use super::run::output;
use super::{config, images};
use crate::certs::Pair;
use crate::error::{During, Error, Result, make_dir, write_file};
use crate::process::{Launch, Process};
use crate::tools::installed;
use crate::wait;

/// Time for containerd to start, on a machine that also compiles.
const SOON: Duration = Duration::from_secs(60);

/// What a node shares with the cluster.
pub(super) struct Shared {
    pub(super) files: Files,
    pub(super) network: Network,
    pub(super) group: Group,
    pub(super) count: usize,
    pub(super) hosts: String,
    pub(super) fast: bool,
}

/// A node of a real cluster. It runs until it is killed, or its cluster is dropped.
pub struct RealNode {
    options: NodeOptions,
    index: usize,
    dir: PathBuf,
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

/// What a living node consists of.
struct Running {
    // First, because the others outlive what they wait for, and that ends with it.
    machine: Machine,
    containerd: Option<Process>,
    proxy: Option<Process>,
    kubelet: Option<Process>,
}

impl RealNode {
    pub(super) fn new(options: &NodeOptions, index: usize, shared: &Arc<Shared>) -> Result<RealNode> {
        let node = RealNode {
            options: options.clone(),
            index,
            dir: shared.files.dir.join("nodes").join(&options.name),
            shared: Arc::clone(shared),
            running: Mutex::default(),
        };
        node.write_files()?;
        Ok(node)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// Its address in the cluster's network.
    pub fn address(&self) -> Ipv4Addr {
        network::node_address(self.index)
    }

    /// The first process of its namespaces, by the host's numbering.
    pub fn pid(&self) -> Result<i32> {
        self.lock()
            .as_ref()
            .map(|running| running.machine.pid())
            .ok_or_else(|| self.dead())
    }

    /// Its root directory, as the host can reach it.
    pub fn root(&self) -> Result<PathBuf> {
        Ok(PathBuf::from(format!("/proc/{}/root", self.pid()?)))
    }

    /// A program that will run on the node, to which arguments can be added.
    pub fn command(&self, program: &str) -> Result<Command> {
        let running = self.lock();
        let running = running.as_ref().ok_or_else(|| self.dead())?;
        Ok(running.machine.command(program))
    }

    /// Runs a program on the node and returns its standard output.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        let (program, args) = args.split_first().unwrap_or((&"true", &[]));
        output(self.command(program)?.args(args))
    }

    /// What a person puts before a program that shall run on the node, outside of its control groups.
    pub fn prefix(&self) -> Result<Vec<String>> {
        Ok(enter(self.pid()?))
    }

    /// Gives the node an image from an archive (`docker save`, or an OCI layout in a tar).
    pub fn import_image(&self, archive: &Path) -> Result<()> {
        let file = File::open(archive).during(|| format!("opening the image {}", archive.display()))?;
        let mut import = self.command("ctr")?;
        output(
            import
                .args(["--namespace", "k8s.io", "images", "import", "-"])
                .stdin(file),
        )
        .map(drop)
    }

    /// Ends it as a power failure would: nothing on it runs any more, and nothing of it is kept.
    pub fn kill(&self) -> Result<()> {
        let running = self.lock().take().ok_or_else(|| self.dead())?;
        drop(running);
        self.shared.network.disconnect(self.index)
    }

    /// Starts it again after [`RealNode::kill`], under the same name, with an empty disk (images that were
    /// imported are gone) and an empty bpffs.
    pub fn boot(&self) -> Result<()> {
        self.start_machine(&images::all(&self.shared.files.node_tools)?)?;
        self.start_kubelet()
    }

    /// Ends the kubelet; its pods go on.
    pub fn stop_kubelet(&self) -> Result<()> {
        let kubelet = self.lock().as_mut().ok_or_else(|| self.dead())?.kubelet.take();
        let Some(kubelet) = kubelet else { return Ok(()) };
        end(&kubelet)
    }

    /// Starts the kubelet and, at first, kube-proxy.
    pub fn start_kubelet(&self) -> Result<()> {
        let (tools, logs) = (&self.shared.files.node_tools, &self.shared.files.logs);
        let mut running = self.lock();
        let running = running.as_mut().ok_or_else(|| self.dead())?;
        if running.proxy.is_none() {
            let proxy = Launch::new(self.daemon_name("kube-proxy"), &tools.proxy)
                .flag("config", self.dir.join("kube-proxy.json"));
            running.proxy = Some(running.machine.daemon(&proxy, logs)?);
        }
        let kubelet = Launch::new(self.daemon_name("kubelet"), &tools.kubelet)
            .flag("config", self.dir.join("kubelet.json"))
            .flag("kubeconfig", self.kubeconfig("system:node:"))
            .flag("hostname-override", self.name())
            .flag("node-ip", self.address().to_string());
        running.kubelet = Some(running.machine.daemon(&kubelet, logs)?);
        Ok(())
    }

    /// Fails, with its log's end, if a program that belongs to the node has ended by itself.
    pub fn check(&self, during: &str) -> Result<()> {
        let running = self.lock();
        let Some(running) = running.as_ref() else {
            return Ok(());
        };
        let daemons = [&running.containerd, &running.kubelet, &running.proxy];
        let all = daemons.into_iter().flatten().chain([running.machine.outer()]);
        all.into_iter().try_for_each(|process| process.check(during))
    }

    /// Makes the namespaces and starts containerd with images in it: all that needs no control plane.
    pub(super) fn start_machine(&self, archives: &[PathBuf]) -> Result<()> {
        let logs = &self.shared.files.logs;
        let machine = Machine::start(self.name(), &self.dir, &self.shared.group, logs)?;
        self.shared
            .network
            .connect(self.index, self.shared.count, machine.pid())?;
        let launch = Launch::new(
            self.daemon_name("containerd"),
            installed("containerd", "containerd")?,
        )
        .arg("--config")
        .arg(self.dir.join("containerd.toml"));
        let socket = format!("/proc/{}/root/run/containerd/containerd.sock", machine.pid());
        let mut running = Running {
            machine,
            containerd: None,
            proxy: None,
            kubelet: None,
        };
        let containerd = running.containerd.insert(running.machine.daemon(&launch, logs)?);
        wait::until(
            format!("containerd of {}", self.name()),
            SOON,
            || match containerd.check("its socket was awaited") {
                Err(ended) => Ok(Err(ended)),
                Ok(()) => UnixStream::connect(&socket).map(|_| Ok(())),
            },
        )??;
        *self.lock() = Some(running);
        // Only the first node runs CoreDNS.
        let wanted = if self.index == 0 {
            archives
        } else {
            archives.get(..1).unwrap_or_default()
        };
        wanted.iter().try_for_each(|archive| self.import_image(archive))
    }

    fn write_files(&self) -> Result<()> {
        let files = &self.shared.files;
        make_dir(&self.dir)?;
        let json = |name: &str, value: &Value| write_file(&self.dir.join(name), format!("{value:#}\n"));
        let server: Pair = files.authority.server(
            &format!("kubelet-{}", self.name()),
            &[self.name(), &self.address().to_string()],
        )?;
        json(
            "kubelet.json",
            &config::kubelet(&files.authority.pair().cert, &server, self.shared.fast),
        )?;
        files.kubeconfig(&format!("system:node:{}", self.name()), Some("system:nodes"))?;
        let proxy = files.authority.dir().join("system-kube-proxy.kubeconfig");
        json("kube-proxy.json", &config::proxy(self.name(), &proxy))?;
        write_file(
            &self.dir.join("containerd.toml"),
            config::containerd(&self.dir, &images::cni_programs()?),
        )?;
        let registry = self.dir.join("registries").join(config::registry_dir());
        for dir in [&self.dir.join("cni"), &registry] {
            make_dir(dir)?;
        }
        write_file(&registry.join("hosts.toml"), config::registry_hosts())?;
        json("cni/10-e2e.conflist", &config::cni(self.index))?;
        let tools = files.node_tools.kubelet.parent().unwrap_or(Path::new("/"));
        let spec = Spec {
            options: self.options.clone(),
            dir: self.dir.clone(),
            needed: vec![files.authority.dir().to_owned(), tools.to_owned()],
            hosts: self.shared.hosts.clone(),
        };
        let spec = serde_json::to_string_pretty(&spec)
            .map_err(|error| Error::Other(format!("describing node {}: {error}", self.name())))?;
        write_file(&self.dir.join("spec.json"), spec)
    }

    fn daemon_name(&self, program: &str) -> String {
        format!("{}-{program}", self.name())
    }

    fn kubeconfig(&self, user: &str) -> PathBuf {
        let name = format!("{user}{}", self.name()).replace(':', "-");
        self.shared
            .files
            .authority
            .dir()
            .join(format!("{name}.kubeconfig"))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dead(&self) -> Error {
        Error::Other(format!("node {} was killed and not started again", self.name()))
    }
}
