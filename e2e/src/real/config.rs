//! Configurations of what runs on a node, and the manifest of CoreDNS.

use std::net::Ipv4Addr;
use std::path::Path;

use serde_json::{Value, json};

use super::network::{CONTROL, pod_range};
use super::{PAUSE_IMAGE, REGISTRY, REGISTRY_PORT, images};
use crate::certs::Pair;

/// Where pods find their resolver.
const DNS_SERVICE: &str = "10.96.0.10";

/// The kubelet's configuration.
pub fn kubelet(ca: &Path, server: &Pair, fast: bool) -> Value {
    let mut config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": ca},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": server.cert,
        "tlsPrivateKeyFile": server.key,
        "address": "0.0.0.0",
        "cgroupDriver": "cgroupfs",
        // Some machines still have version 1.
        "failCgroupV1": false,
        "failSwapOn": false,
        // Lowering it takes a capability that a container may lack.
        "oomScoreAdj": 0,
        "featureGates": {"KubeletInUserNamespace": true},
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "resolvConf": "/etc/resolv.conf",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        // The default is on the root file system, which may be read-only.
        "volumePluginDir": "/var/lib/kubelet/plugins-exec",
        // The machine is shared: how full its disk is, is not the node's affair.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "serializeImagePulls": false,
    });
    if fast && let Some(map) = config.as_object_mut() {
        map.insert("nodeStatusUpdateFrequency".into(), json!("2s"));
        // It renews its lease four times in this time.
        map.insert("nodeLeaseDurationSeconds".into(), json!(4));
    }
    config
}

/// kube-proxy's configuration.
pub fn proxy(name: &str, kubeconfig: &Path) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": kubeconfig},
        "mode": "iptables",
        "clusterCIDR": "10.244.0.0/16",
        "hostnameOverride": name,
        "oomScoreAdj": 0,
        // These are the whole machine's.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"minSyncPeriod": "0s"},
    })
}

/// containerd's configuration, whose files of the node lie in `dir`. AppArmor stays as containerd finds it.
pub fn containerd(dir: &Path, cni_programs: &Path) -> String {
    let (dir, cni_programs) = (dir.display(), cni_programs.display());
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_programs}"
    conf_dir = "{dir}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{dir}/registries"
"#
    )
}

/// How containerd reaches the cluster's registry: without TLS.
pub fn registry_hosts() -> String {
    format!(
        "server = \"http://{REGISTRY}\"\n[host.\"http://{REGISTRY}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
    )
}

/// The pods' network on a node: routed, not bridged, so that packets between pods of one node pass the
/// rules of kube-proxy on every kernel.
pub fn cni(index: usize) -> Value {
    json!({"cniVersion": "0.4.0", "name": "e2e", "plugins": [
        {"type": "ptp", "ipMasq": false, "ipam": {
            "type": "host-local",
            "dataDir": "/run/cni-ipam",
            "ranges": [[{"subnet": pod_range(index)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }},
        {"type": "portmap", "capabilities": {"portMappings": true}},
    ]})
}

/// A node's `/etc/hosts`.
pub fn hosts<'n>(nodes: impl Iterator<Item = (&'n str, Ipv4Addr)>) -> String {
    let mut text = format!("127.0.0.1 localhost\n{CONTROL} {}\n", registry_name());
    for (name, address) in nodes {
        text.push_str(&format!("{address} {name}\n"));
    }
    text
}

fn registry_name() -> &'static str {
    REGISTRY.split(':').next().unwrap_or_default()
}

/// CoreDNS on the given node, as a cluster of kubeadm has it; it also knows the registry.
pub fn coredns(node: &str) -> String {
    let (image, registry) = (images::COREDNS, registry_name());
    // Braces of the Corefile would be doubled in a format string.
    let text = include_str!("coredns.yaml");
    [
        ("@image@", image),
        ("@node@", node),
        ("@registry@", &format!("{CONTROL} {registry}")),
        ("@service@", DNS_SERVICE),
    ]
    .iter()
    .fold(text.to_owned(), |text, (word, value)| text.replace(word, value))
}

/// Name of the directory with [`registry_hosts`].
pub fn registry_dir() -> String {
    format!("{}:{REGISTRY_PORT}", registry_name())
}
