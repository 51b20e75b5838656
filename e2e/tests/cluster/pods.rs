//! What pods find in a real cluster, and what its nodes are like.

use std::sync::OnceLock;
use std::time::Duration;

use bpfleet_e2e::real::{NodeOptions, REGISTRY, Tracefs, diagnose, images};
use bpfleet_e2e::{RealCluster, RealOptions, wait};

/// Time for a pod to start, on a machine that also compiles.
const SOON: Duration = Duration::from_secs(60);

/// The cluster of all tests here: two ordinary nodes, and one that lacks everything that can be lacking.
fn cluster() -> &'static RealCluster {
    static CLUSTER: OnceLock<Result<RealCluster, String>> = OnceLock::new();
    let start = || {
        let odd = NodeOptions {
            bpffs: false,
            tracefs: Tracefs::Absent,
            read_only_root: true,
            btf: false,
            ..NodeOptions::named("odd")
        };
        let ordinary = ["node1", "node2"].map(NodeOptions::named);
        let options = RealOptions::with_nodes(ordinary.into_iter().chain([odd]));
        RealCluster::start(&options).map_err(|error| format!("{error:?}"))
    };
    CLUSTER
        .get_or_init(start)
        .as_ref()
        .unwrap_or_else(|error| panic!("the cluster did not start: {error}"))
}

/// A pod of busybox on a node that runs a script in its shell.
fn pod(name: &str, node: &str, image: &str, script: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\nspec:\n\
         \x20 nodeName: {node}\n  restartPolicy: Never\n  terminationGracePeriodSeconds: 0\n\
         \x20 containers:\n  - name: main\n    image: \"{image}\"\n    imagePullPolicy: IfNotPresent\n\
         \x20   command: [/bin/sh, -c, \"{script}\"]\n"
    )
}

#[test]
fn a_daemonsets_pods_on_the_hosts_network_pin_in_the_bpffs_of_their_node_alone() {
    let cluster = cluster();
    let _watch = diagnose::on_failure(cluster).about(&["pinning"]);
    let kubectl = cluster.kubectl();
    kubectl
        .apply(
            r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: pinning}
spec:
  selector: {matchLabels: {app: pinning}}
  template:
    metadata: {labels: {app: pinning}}
    spec:
      hostNetwork: true
      terminationGracePeriodSeconds: 0
      nodeSelector: {kubernetes.io/os: linux}
      containers:
      - name: main
        image: e2e.test/busybox:1
        imagePullPolicy: Never
        command: [sh, -c, 'mkdir "/sys/fs/bpf/$NODE"; exec sleep 1000000']
        securityContext: {privileged: true}
        env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
        volumeMounts: [{name: bpffs, mountPath: /sys/fs/bpf}]
      volumes: [{name: bpffs, hostPath: {path: /sys/fs/bpf, type: Directory}}]
"#,
        )
        .unwrap();
    kubectl
        .run(&["rollout", "status", "daemonset/pinning", "--timeout=60s"])
        .unwrap();
    for name in ["node1", "node2"] {
        let node = cluster.node(name).unwrap();
        wait::until(format!("the pin on {name}"), SOON, || {
            let found = node
                .run(&["ls", "/sys/fs/bpf"])
                .map_err(|error| error.to_string())?;
            // The kernel may have files of its own there.
            let pins: Vec<&str> = found.lines().filter(|file| !file.ends_with(".debug")).collect();
            if pins == [name] { Ok(()) } else { Err(found) }
        })
        .unwrap();
        let address = kubectl
            .run(&[
                "get",
                "pods",
                "-l",
                "app=pinning",
                &format!("--field-selector=spec.nodeName={name}"),
                "-o",
                "jsonpath={.items[*].status.podIP}",
            ])
            .unwrap();
        assert_eq!(address, node.address().to_string());
    }
}

#[test]
fn a_pod_reaches_a_service_on_another_node_by_its_name() {
    let cluster = cluster();
    let _watch = diagnose::on_failure(cluster).about(&["web", "visitor", "coredns"]);
    let kubectl = cluster.kubectl();
    let serve = "mkdir /www && echo found >/www/index.html && exec httpd -f -p 8080 -h /www";
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\n\
                   spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}\n";
    kubectl
        .apply(&format!(
            "{}{service}",
            pod("web", "node2", images::BUSYBOX, serve)
        ))
        .unwrap();
    let visit = "until timeout 5 wget -qO- http://web.default.svc.cluster.local/; do sleep 0.1; done";
    kubectl
        .apply(&pod("visitor", "node1", images::BUSYBOX, visit))
        .unwrap();
    kubectl
        .wait_for("pod/visitor", "jsonpath={.status.phase}=Succeeded", SOON)
        .unwrap();
    assert_eq!(kubectl.run(&["logs", "visitor", "--tail=1"]).unwrap(), "found\n");
}

#[test]
fn an_image_that_was_pushed_to_the_registry_is_pulled_by_a_node_and_pods_find_the_registry_too() {
    let cluster = cluster();
    let _watch = diagnose::on_failure(cluster).about(&["pulled", "coredns"]);
    let layer = images::busybox().unwrap();
    cluster
        .registry()
        .push_image("tests/pulled", "v1", images::architecture(), &[layer])
        .unwrap();
    let ask = format!("/bin/wget -qO- http://{REGISTRY}/v2/tests/pulled/tags/list");
    let kubectl = cluster.kubectl();
    kubectl
        .apply(&pod(
            "pulled",
            "node2",
            &format!("{REGISTRY}/tests/pulled:v1"),
            &ask,
        ))
        .unwrap();
    kubectl
        .wait_for("pod/pulled", "jsonpath={.status.phase}=Succeeded", SOON)
        .unwrap();
    assert_eq!(
        kubectl.run(&["logs", "pulled"]).unwrap().trim(),
        r#"{"name":"tests/pulled","tags":["v1"]}"#
    );
}

#[test]
fn a_node_lacks_what_its_options_say_and_still_runs_pods() {
    let cluster = cluster();
    let _watch = diagnose::on_failure(cluster).about(&["on-odd"]);
    let (ordinary, odd) = (cluster.node("node1").unwrap(), cluster.node("odd").unwrap());
    let kind = |path: &str| ["stat", "--file-system", "--format=%T", path].map(str::to_owned);
    let on = |node: &bpfleet_e2e::RealNode, args: &[String]| {
        node.run(&args.iter().map(String::as_str).collect::<Vec<_>>())
            .unwrap()
            .trim()
            .to_owned()
    };
    assert_eq!(on(ordinary, &kind("/sys/fs/bpf")), "bpf_fs");
    assert_eq!(on(odd, &kind("/sys/fs/bpf")), "sysfs");
    assert_eq!(on(ordinary, &kind("/sys/kernel/tracing")), "tracefs");
    assert!(odd.run(&["ls", "/sys/kernel/tracing"]).is_err());
    odd.run(&["ls", "/sys/kernel/mm"])
        .expect("the rest of the directory is there");
    ordinary.run(&["test", "-s", "/sys/kernel/btf/vmlinux"]).unwrap();
    assert_eq!(odd.run(&["ls", "/sys/kernel/btf"]).unwrap(), "");
    ordinary.run(&["mkdir", "/var/lib/bpfleet-test"]).unwrap();
    let refused = odd.run(&["mkdir", "/var/lib/bpfleet-test"]).unwrap_err();
    assert!(refused.to_string().contains("Read-only file system"), "{refused}");
    odd.run(&["touch", "/var/log/x", "/run/x", "/tmp/x", "/var/lib/kubelet/x"])
        .unwrap();
    assert!(
        !std::path::Path::new("/var/lib/bpfleet-test").exists(),
        "what a node writes is not the host's"
    );

    let kubectl = cluster.kubectl();
    kubectl
        .apply(&pod("on-odd", "odd", images::BUSYBOX, "hostname"))
        .unwrap();
    kubectl
        .wait_for("pod/on-odd", "jsonpath={.status.phase}=Succeeded", SOON)
        .unwrap();
}

#[test]
fn what_a_pod_mounts_in_a_directory_of_its_node_reaches_the_node() {
    let cluster = cluster();
    let _watch = diagnose::on_failure(cluster).about(&["mounting"]);
    let kubectl = cluster.kubectl();
    kubectl
        .apply(
            r#"
apiVersion: v1
kind: Pod
metadata: {name: mounting}
spec:
  nodeName: odd
  restartPolicy: Never
  containers:
  - name: main
    image: e2e.test/busybox:1
    imagePullPolicy: Never
    command: [mount, -t, bpf, bpf, /node/run/own-bpffs]
    securityContext: {privileged: true}
    volumeMounts: [{name: run, mountPath: /node/run, mountPropagation: Bidirectional}]
  initContainers:
  - name: directory
    image: e2e.test/busybox:1
    imagePullPolicy: Never
    command: [mkdir, /node/run/own-bpffs]
    volumeMounts: [{name: run, mountPath: /node/run}]
  volumes: [{name: run, hostPath: {path: /run, type: Directory}}]
"#,
        )
        .unwrap();
    kubectl
        .wait_for("pod/mounting", "jsonpath={.status.phase}=Succeeded", SOON)
        .unwrap();
    let odd = cluster.node("odd").unwrap();
    let kind = odd
        .run(&["stat", "--file-system", "--format=%T", "/run/own-bpffs"])
        .unwrap();
    assert_eq!(kind.trim(), "bpf_fs");
}

#[test]
fn what_is_outside_of_the_cluster_cannot_be_reached_and_nobody_waits_for_it() {
    let cluster = cluster();
    let _watch = diagnose::on_failure(cluster).about(&["outward"]);
    let kubectl = cluster.kubectl();
    // A Service's address without a Service, and a documentation address.
    let outward = "for a in 10.96.200.1 192.0.2.1; do timeout 20 wget -qO- http://$a/ 2>&1; done; true";
    kubectl
        .apply(&pod("outward", "node1", images::BUSYBOX, outward))
        .unwrap();
    kubectl
        .wait_for("pod/outward", "jsonpath={.status.phase}=Succeeded", SOON)
        .unwrap();
    let log = kubectl.run(&["logs", "outward"]).unwrap();
    for address in ["10.96.200.1", "192.0.2.1"] {
        assert!(log.contains(&format!("({address}): No route to host")), "{log}");
    }
}

#[test]
fn helm_and_programs_of_the_host_reach_the_cluster() {
    let cluster = cluster();
    assert!(
        cluster
            .helm(&["list", "--all-namespaces"])
            .unwrap()
            .starts_with("NAME")
    );
    let pinged = cluster
        .in_control("bash")
        .args(["-c", "exec 3<>/dev/tcp/10.99.0.11/10250"])
        .status()
        .unwrap();
    assert!(pinged.success(), "the kubelet of node1 listens");
    let stopped = cluster.node("node2").unwrap();
    stopped.stop_kubelet().unwrap();
    stopped.start_kubelet().unwrap();
    cluster.wait_ready(SOON).unwrap();
}
