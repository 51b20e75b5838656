//! A network of its own for each cluster, and ways into it from the host, whose own network stays as it is.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, setns, unshare};

use super::run::command;
use crate::error::{During, Error, Result};
use crate::process::Launch;

/// Where the control plane is in the cluster's network, and with it the registry.
pub const CONTROL: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);

/// Hardware address of the bridge. By itself it takes one of its ports', and with a node that ends another
/// one: then all others would talk to nobody for seconds.
const BRIDGE: &str = "02:00:00:63:00:02";

/// Address of a node, by its place among the nodes.
pub fn node_address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 0, 11 + low(index))
}

/// Addresses of a node's pods.
pub fn pod_range(index: usize) -> String {
    format!("10.244.{}.0/24", 1 + low(index))
}

/// Clusters are small: `RealCluster::start` refuses more nodes than there are numbers.
fn low(index: usize) -> u8 {
    u8::try_from(index).unwrap_or(u8::MAX - 11)
}

/// The control plane's network namespace: a bridge to which every node has a cable.
///
/// An open file holds it, so that it ends with this process without anybody's help.
pub struct Network {
    namespace: File,
}

impl Network {
    /// A new network with nothing but the control plane's address in it.
    pub fn new() -> Result<Network> {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).during(|| "making a network namespace (needs root)")?;
            // Only who forwards packets says of an address that it cannot be reached.
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")
                .during(|| "letting the new network forward packets")?;
            File::open("/proc/thread-self/ns/net").during(|| "opening the new network namespace")
        });
        let namespace = made
            .join()
            .unwrap_or_else(|_| Err(Error::Other("the thread that makes the network panicked".into())))?;
        let network = Network { namespace };
        // Nodes send here what they know no way for: what is outside of the cluster, and Services that their
        // kube-proxy has not heard of yet. Refused, a client tries again; unanswered, it would hang, for the
        // node remembers a connection that it began without a rule.
        network.ip(&format!(
            "link set lo up\nlink add br0 address {BRIDGE} type bridge\naddress add {CONTROL}/24 dev br0\nlink set br0 up\n\
             route add unreachable default\n"
        ))?;
        Ok(network)
    }

    /// The file by which `nsenter --net=…` finds it, for as long as this process lives.
    pub fn path(&self) -> PathBuf {
        use std::os::fd::AsRawFd;
        PathBuf::from(format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.namespace.as_raw_fd()
        ))
    }

    /// Moves the calling thread into it, and with it all sockets that it will make.
    pub fn join(namespace: &File) -> std::io::Result<()> {
        setns(namespace, CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from)
    }

    /// Another handle of it, for [`Network::join`].
    pub fn handle(&self) -> Result<File> {
        self.namespace
            .try_clone()
            .during(|| "duplicating the handle of a network namespace")
    }

    /// What `nsenter` needs before a program that shall run in this network.
    pub fn prefix(&self) -> Vec<String> {
        vec![
            "nsenter".into(),
            format!("--net={}", self.path().display()),
            "--".into(),
        ]
    }

    /// A program of the host that uses this network.
    pub fn command(&self, program: &str) -> Command {
        command(&self.prefix(), program)
    }

    /// A long-running program of the host in this network.
    pub fn launch(&self, launch: &Launch) -> Launch {
        // Traffic of the cluster never goes through a proxy that the host may have.
        launch
            .within(&self.prefix())
            .env("NO_PROXY", "*")
            .env("no_proxy", "*")
    }

    /// Runs lines of `ip -batch` in this network.
    pub fn ip(&self, lines: &str) -> Result<()> {
        ip(&self.prefix(), lines)
    }

    /// Connects a node, whose first process is `pid`, and sets up its side as well.
    pub fn connect(&self, index: usize, nodes: usize, pid: i32) -> Result<()> {
        let (address, number) = (node_address(index), index + 1);
        // The same hardware address each time, for neighbours that remember the one before.
        let hardware = format!("02:00:00:63:01:{:02x}", low(index));
        self.ip(&format!(
            "link add node{number} type veth peer name eth0 address {hardware} netns {pid}\nlink set node{number} master br0\n\
             link set node{number} up\nroute replace {} via {address}\n",
            pod_range(index)
        ))?;
        let others = (0..nodes).filter(|other| *other != index);
        let routes: String = others
            .map(|other| format!("route add {} via {}\n", pod_range(other), node_address(other)))
            .collect();
        let prefix = ["nsenter", "--net", &format!("--target={pid}"), "--"].map(String::from);
        ip(
            &prefix,
            &format!(
                "link set lo up\naddress add {address}/24 dev eth0\nlink set eth0 up\n\
                 route add default via {CONTROL}\n{routes}"
            ),
        )
    }

    /// Takes a node's cable away, unless that has gone with the node already.
    pub fn disconnect(&self, index: usize) -> Result<()> {
        let name = format!("node{}", index + 1);
        match self.ip(&format!("link delete {name}\n")) {
            Err(Error::Command { output, .. }) if output.contains("Cannot find device") => Ok(()),
            done => done,
        }
    }
}

/// Runs lines of `ip -batch` behind a prefix of `nsenter`.
fn ip(prefix: &[String], lines: &str) -> Result<()> {
    use std::io::Write;
    let mut child = command(prefix, "ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .during(|| "starting `ip` (Debian package iproute2)")?;
    // An `ip` that gives up early says why on its own; the broken pipe tells nothing.
    let _ = child
        .stdin
        .take()
        .map(|mut pipe| pipe.write_all(lines.as_bytes()));
    let output = child.wait_with_output().during(|| "running `ip`")?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Command {
        command: format!("ip -batch - <<END\n{lines}END"),
        status: output.status,
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
