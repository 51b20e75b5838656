//! A node: containerd, kubelet and kube-proxy in namespaces and control groups of their own.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::cgroups::Group;
use super::control::{END, Files, parent};
use super::inner::{PID, READY, Spec};
use super::network::{self, Network};
use super::options::NodeOptions;
use super::{command, config, images, output};
use crate::certs::Pair;
use crate::error::{During, Error, Result, make_dir, write_file};
use crate::process::{Launch, Process};
use crate::tools::installed;
use crate::{binaries, wait};

/// Time for what takes a fraction of a second on an idle machine.
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
    // First, because everything ends with it, and whoever waits outside for a program inside must outlive
    // that program: an orphan would go to the host's first process, which may be slow to reap it.
    machine: Machine,
    containerd: Option<Process>,
    proxy: Option<Process>,
    kubelet: Option<Process>,
}

/// The namespaces of a node, which end with their first process, and everything in them with it.
struct Machine {
    outer: Process,
    pid: i32,
    group: Group,
    daemons: Group,
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The outer process waits for the first one inside, and that one's end for all others': when the
        // outer one has ended, nothing of the node runs any more.
        let ended = match self.outer.status() {
            None => kill(Pid::from_raw(self.pid), Signal::SIGKILL)
                .during(|| format!("killing {}", self.outer.name()))
                .and_then(|()| self.outer.wait(END).map(drop)),
            Some(_) => Ok(()),
        };
        let removed = ended.and_then(|()| {
            wait::until("the control groups of a node to be empty", END, || {
                self.group.remove()
            })
        });
        if let Err(error) = removed {
            eprintln!("something of {} is left: {error}", self.outer.name());
        }
    }
}

impl RealNode {
    pub(super) fn new(options: &NodeOptions, index: usize, shared: &Arc<Shared>) -> Result<RealNode> {
        let node = RealNode {
            options: options.clone(),
            index,
            dir: shared.files.dir.join(&options.name),
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
            .map(|running| running.machine.pid)
            .ok_or_else(|| self.dead())
    }

    /// Its root directory, as the host can reach it.
    pub fn root(&self) -> Result<PathBuf> {
        Ok(PathBuf::from(format!("/proc/{}/root", self.pid()?)))
    }

    /// A program that will run on the node, to which arguments can be added.
    pub fn command(&self, program: &str) -> Result<Command> {
        let running = self.lock();
        let machine = &running.as_ref().ok_or_else(|| self.dead())?.machine;
        let mut prefix = joined(&binaries::find("bpfleet-e2e")?, &machine.daemons, false);
        prefix.extend(enter(machine.pid));
        Ok(command(&prefix, program))
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

    /// Starts it again after [`RealNode::kill`], as a machine with an empty disk and a new kernel's empty
    /// bpffs that has the same name. What the old one ran in the kernel of this machine has ended with its
    /// pins.
    pub fn boot(&self) -> Result<()> {
        self.start_machine(&images::all(&self.shared.files.node_tools)?)?;
        self.start_kubelet()
    }

    /// Ends the kubelet; its pods go on.
    pub fn stop_kubelet(&self) -> Result<()> {
        let kubelet = self.lock().as_mut().ok_or_else(|| self.dead())?.kubelet.take();
        let Some(kubelet) = kubelet else { return Ok(()) };
        // The process outside only waits for the one inside.
        let file = format!("/proc/{0}/task/{0}/children", kubelet.pid());
        let children = std::fs::read_to_string(&file).during(|| format!("reading {file}"))?;
        for pid in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).during(|| format!("killing {}", kubelet.name()))?;
        }
        kubelet.wait(END).map(drop)
    }

    /// Starts the kubelet and, at first, kube-proxy.
    pub fn start_kubelet(&self) -> Result<()> {
        let tools = &self.shared.files.node_tools;
        let mut running = self.lock();
        let running = running.as_mut().ok_or_else(|| self.dead())?;
        if running.proxy.is_none() {
            let proxy = Launch::new(self.daemon_name("kube-proxy"), &tools.proxy)
                .flag("config", self.dir.join("kube-proxy.json"));
            running.proxy = Some(self.daemon(&running.machine, &proxy)?);
        }
        let kubelet = Launch::new(self.daemon_name("kubelet"), &tools.kubelet)
            .flag("config", self.dir.join("kubelet.json"))
            .flag("kubeconfig", self.kubeconfig("system:node:"))
            .flag("hostname-override", self.name())
            .flag("node-ip", self.address().to_string());
        running.kubelet = Some(self.daemon(&running.machine, &kubelet)?);
        Ok(())
    }

    /// Fails, with its log's end, if a program that belongs to the node has ended by itself.
    pub fn check(&self, during: &str) -> Result<()> {
        let running = self.lock();
        let Some(running) = running.as_ref() else {
            return Ok(());
        };
        let daemons = [&running.containerd, &running.kubelet, &running.proxy];
        let all = daemons.into_iter().flatten().chain([&running.machine.outer]);
        all.into_iter().try_for_each(|process| process.check(during))
    }

    /// Makes the namespaces and starts containerd with images in it: all that needs no control plane.
    pub(super) fn start_machine(&self, archives: &[PathBuf]) -> Result<()> {
        let machine = self.machine()?;
        self.shared
            .network
            .connect(self.index, self.shared.count, machine.pid)?;
        let launch = Launch::new(
            self.daemon_name("containerd"),
            installed("containerd", "containerd")?,
        )
        .arg("--config")
        .arg(self.dir.join("containerd.toml"));
        let socket = format!("/proc/{}/root/run/containerd/containerd.sock", machine.pid);
        let mut running = Running {
            machine,
            containerd: None,
            proxy: None,
            kubelet: None,
        };
        let containerd = running.containerd.insert(self.daemon(&running.machine, &launch)?);
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

    fn machine(&self) -> Result<Machine> {
        let group = self.shared.group.node(self.name())?;
        for file in [PID, READY] {
            let _ = std::fs::remove_file(self.dir.join(file));
        }
        let itself = binaries::find("bpfleet-e2e")?;
        let unshare = Launch::new(self.name(), "unshare")
            .args([
                "--mount",
                "--net",
                "--pid",
                "--uts",
                "--ipc",
                "--cgroup",
                "--propagation",
                "private",
            ])
            .args(["--fork", "--kill-child=KILL", "--"])
            .arg(&itself)
            .args(["inner", "first"])
            .arg(self.dir.join("spec.json"));
        let outer = unshare
            .within(&joined(&itself, &group, false))
            .start(&self.shared.files.logs)?;
        let ready = self.dir.join(READY);
        wait::until(format!("the namespaces of {}", self.name()), SOON, || match outer
            .check("its namespaces were awaited")
        {
            Err(ended) => Ok(Err(ended)),
            Ok(()) if ready.exists() => Ok(Ok(())),
            Ok(()) => Err("they are not ready"),
        })??;
        let file = self.dir.join(PID);
        let pid = std::fs::read_to_string(&file).during(|| format!("reading {}", file.display()))?;
        let pid = pid
            .parse()
            .map_err(|error| Error::Other(format!("{}: {error}: {pid}", file.display())))?;
        let daemons = group.settle()?;
        Ok(Machine {
            outer,
            pid,
            group,
            daemons,
        })
    }

    /// Starts a program of the host on the node.
    fn daemon(&self, machine: &Machine, launch: &Launch) -> Result<Process> {
        let mut prefix = joined(&binaries::find("bpfleet-e2e")?, &machine.daemons, true);
        prefix.extend(enter(machine.pid));
        let launch = launch
            .within(&prefix)
            .env("PATH", super::path())
            .env("HOME", "/root")
            .env("NO_PROXY", "*")
            .env("no_proxy", "*");
        launch.start(&self.shared.files.logs)
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
        let spec = Spec {
            options: self.options.clone(),
            dir: self.dir.clone(),
            needed: vec![
                files.authority.dir().to_owned(),
                parent(&files.node_tools.kubelet),
                parent(&binaries::find("bpfleet-e2e")?),
            ],
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

/// What puts a program into control groups.
fn joined(itself: &Path, group: &Group, outlive: bool) -> Vec<String> {
    let mut prefix = vec![itself.display().to_string(), "inner".into(), "join".into()];
    prefix.extend(outlive.then(|| "--outlive".into()));
    prefix.extend(group.dirs().map(|dir| format!("--group={}", dir.display())));
    prefix.push("--".into());
    prefix
}

fn enter(pid: i32) -> Vec<String> {
    let target = format!("--target={pid}");
    [
        "nsenter", &target, "--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--",
    ]
    .map(String::from)
    .to_vec()
}
