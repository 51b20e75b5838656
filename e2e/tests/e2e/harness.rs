//! The harness itself: what every other test relies on.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bpfleet_crds::names;
use bpfleet_e2e::scratch::Scratch;
use bpfleet_e2e::{Cluster, ControlPlane, diagnose, wait};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::{Api, PostParams};

use crate::shared;

/// Time for what takes a fraction of a second on an idle machine.
const SOON: Duration = Duration::from_secs(30);

fn review(cluster: &Cluster, token: &str, audience: Option<&str>) -> TokenReview {
    let spec = TokenReviewSpec {
        token: Some(token.into()),
        audiences: audience.map(|audience| vec![audience.into()]),
    };
    let reviews: Api<TokenReview> = Api::all(cluster.client());
    let review = TokenReview {
        spec,
        ..TokenReview::default()
    };
    cluster
        .block_on(reviews.create(&PostParams::default(), &review))
        .unwrap()
}

/// The node that the API server believes a token's bearer to be on; nothing if the token is not accepted.
fn node_claim(review: &TokenReview) -> Option<String> {
    let status = review.status.as_ref()?;
    let extra = status.user.as_ref()?.extra.as_ref()?;
    status.authenticated?.then(|| {
        extra
            .get("authentication.kubernetes.io/node-name")?
            .first()
            .cloned()
    })?
}

#[test]
fn a_node_bound_token_carries_the_claim_of_its_node_for_its_audience_only() {
    let cluster = shared::cluster();
    let _watch = diagnose::on_failure(cluster);
    let node = cluster.add_node("claimed").unwrap();
    let api = std::fs::read_to_string(node.kubeconfig().with_extension("token")).unwrap();
    let artifact = std::fs::read_to_string(node.artifact_token()).unwrap();

    assert_eq!(
        node_claim(&review(cluster, &api, None)).as_deref(),
        Some("claimed")
    );
    let for_artifacts = review(cluster, &artifact, Some(names::ARTIFACT_AUDIENCE));
    assert_eq!(node_claim(&for_artifacts).as_deref(), Some("claimed"));
    assert_eq!(
        node_claim(&review(cluster, &artifact, None)),
        None,
        "not for the API server"
    );
    assert_eq!(
        node_claim(&review(cluster, &api, Some(names::ARTIFACT_AUDIENCE))),
        None,
        "nor the other way"
    );
}

#[test]
fn an_agents_token_ends_with_its_pod() {
    let cluster = shared::cluster();
    let _watch = diagnose::on_failure(cluster);
    let node = cluster.add_node("leaving").unwrap();
    let token = std::fs::read_to_string(node.artifact_token()).unwrap();
    node.remove().unwrap();
    // The API server remembers accepted tokens for some seconds.
    wait::until("the token to be refused", SOON, || {
        match node_claim(&review(cluster, &token, Some(names::ARTIFACT_AUDIENCE))) {
            None => Ok(()),
            Some(node) => Err(format!("accepted for node {node}")),
        }
    })
    .unwrap();
}

#[test]
fn an_agent_may_read_bpfnodes_and_nothing_secret() {
    let cluster = shared::cluster();
    let _watch = diagnose::on_failure(cluster);
    let node = cluster.add_node("modest").unwrap();
    let agent = cluster.kubectl().with_kubeconfig(&node.kubeconfig());
    agent.run(&["get", "bpfnodes"]).unwrap();
    let refused = agent
        .run(&["get", "secrets", "-n", cluster.namespace()])
        .unwrap_err()
        .to_string();
    assert!(refused.contains("Forbidden"), "{refused}");
}

#[test]
fn the_artifact_config_map_is_projected_and_kept_up_to_date() {
    let cluster = shared::cluster();
    let _watch = diagnose::on_failure(cluster);
    let node = cluster.add_node("projected").unwrap();
    let dir = bpfleet_e2e::kubelet::Projection::start(cluster, "projected-test", &node.dir().join("volume"));
    let _projection = dir.unwrap();
    let shows = |content: &str| {
        let file = node.dir().join("volume/key");
        wait::until(format!("{content:?} in {}", file.display()), SOON, || {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if text == content {
                Ok(())
            } else {
                Err(format!("{text:?}"))
            }
        })
        .unwrap();
    };
    let map = |value: &str| {
        let namespace = cluster.namespace();
        format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: projected-test, namespace: {namespace}}}, \
             data: {{key: {value}}}}}"
        )
    };
    cluster.kubectl().apply(&map("one")).unwrap();
    shows("one");
    cluster.kubectl().apply(&map("two")).unwrap();
    shows("two");
    cluster
        .kubectl()
        .run(&["delete", "configmap", "projected-test", "-n", cluster.namespace()])
        .unwrap();
    shows("");
}

#[test]
fn what_a_deleted_node_owns_is_collected() {
    let cluster = shared::cluster();
    let _watch = diagnose::on_failure(cluster);
    let node = cluster.add_node("owner").unwrap();
    let kubectl = cluster.kubectl();
    let uid = kubectl
        .run(&["get", "node", "owner", "-o", "jsonpath={.metadata.uid}"])
        .unwrap();
    let owned = format!(
        "{{apiVersion: bpfleet.io/v1alpha1, kind: BpfNode, metadata: {{name: owner, ownerReferences: \
         [{{apiVersion: v1, kind: Node, name: owner, uid: {uid}}}]}}, spec: {{}}}}"
    );
    kubectl.apply(&owned).unwrap();
    node.remove().unwrap();
    wait::until("the BpfNode to be collected", SOON, || {
        match kubectl
            .run(&["get", "bpfnode", "owner", "--ignore-not-found", "-o", "name"])
            .unwrap()
            .trim()
        {
            "" => Ok(()),
            name => Err(format!("{name} is there")),
        }
    })
    .unwrap();
}

#[test]
fn writes_are_counted_by_user_and_object() {
    let cluster = shared::cluster();
    let node = cluster.add_node("counted").unwrap();
    let count = || {
        let of_node =
            |write: &bpfleet_e2e::audit::Write| write.resource == "nodes" && write.name == "counted";
        cluster.plane().writes(of_node).unwrap().len()
    };
    let before = count();
    node.label(&serde_json::json!({"zone": "a"})).unwrap();
    wait::until("one more write", SOON, || match count() {
        now if now == before + 1 => Ok(()),
        now => Err(format!("{before} before, {now} now")),
    })
    .unwrap();
}

#[test]
fn the_api_server_can_go_away_and_come_back_with_everything() {
    let plane = ControlPlane::start().unwrap();
    let kubectl = plane.kubectl();
    kubectl.run(&["create", "namespace", "kept"]).unwrap();
    plane.kill_api_server().unwrap();
    assert!(kubectl.run(&["get", "namespace", "kept"]).is_err());
    plane.start_api_server().unwrap();
    kubectl.run(&["get", "namespace", "kept"]).unwrap();
}

/// Command lines of all processes that mention `word`.
fn processes_with(word: &str) -> Vec<String> {
    let ours = std::process::id().to_string();
    let dirs = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = dirs.filter(|dir| dir.file_name().to_string_lossy().parse::<u32>().is_ok());
    pids.filter(|dir| dir.file_name().to_string_lossy() != ours)
        .filter_map(|dir| std::fs::read(dir.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(word))
        .collect()
}

fn nothing_is_left(state: &Path) {
    let word = state.to_string_lossy().into_owned();
    wait::until("processes and files to be gone", SOON, || {
        let left = processes_with(&word);
        if left.is_empty() && !state.exists() {
            Ok(())
        } else {
            Err(format!("{left:?}, {}", state.exists()))
        }
    })
    .unwrap();
}

fn up(state: &Path) -> std::process::Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bpfleet-e2e"))
        .args(["up", "--control-plane-only", "--state"])
        .arg(state)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let ready = wait::until("the environment file", Duration::from_secs(120), || {
        match (state.join("env").exists(), child.try_wait().unwrap()) {
            (_, Some(status)) => Ok(Err(format!("it ended with {status}"))),
            (true, None) => Ok(Ok(())),
            (false, None) => Err("not there"),
        }
    });
    if let Err(problem) = ready.map_err(|error| error.to_string()).and_then(|inner| inner) {
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("{problem}");
    }
    child
}

#[test]
fn nothing_is_left_of_a_process_that_was_killed() {
    let scratch = Scratch::new("killed").unwrap();
    let state = scratch.path().join("state");
    let mut child = up(&state);
    assert!(
        processes_with(&state.to_string_lossy()).len() >= 3,
        "itself, etcd and the API server"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    nothing_is_left(&state);
}

#[test]
fn nothing_is_left_of_a_process_that_was_asked_to_stop() {
    let scratch = Scratch::new("stopped").unwrap();
    let state = scratch.path().join("state");
    let mut child = up(&state);
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
    nothing_is_left(&state);
}

#[test]
fn a_control_plane_is_up_in_seconds() {
    let started = Instant::now();
    let plane = ControlPlane::start().unwrap();
    let took = started.elapsed();
    println!("up after {:.1} s", took.as_secs_f32());
    assert_eq!(plane.client().get_raw("/readyz").unwrap(), "ok");
    // Other tests and compilers share the processors; alone it takes a few seconds.
    assert!(took < Duration::from_secs(60), "{took:?}");
}

#[test]
fn a_report_shows_conditions_events_and_logs() {
    let cluster = shared::cluster();
    let _watch = diagnose::on_failure(cluster);
    let node = cluster.add_node("reported").unwrap();
    let name = node.name();
    let object =
        format!("{{apiVersion: bpfleet.io/v1alpha1, kind: BpfNode, metadata: {{name: {name}}}, spec: {{}}}}");
    cluster.kubectl().apply(&object).unwrap();
    let report = diagnose::report(cluster, &["reported".into()]);
    cluster.kubectl().delete("bpfnode/reported", SOON).unwrap();
    for part in [
        "BpfNode/reported",
        "---- events",
        "kube-apiserver.log",
        "---- bpftool link",
    ] {
        assert!(report.contains(part), "no {part:?} in:\n{report}");
    }
}

#[test]
fn readiness_of_a_node_and_of_its_agent_can_be_changed() {
    let cluster = shared::cluster();
    let _watch = diagnose::on_failure(cluster).about(&["moody"]);
    let node = cluster.add_node("moody").unwrap();
    let ready = |args: &[&str]| {
        let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        cluster
            .kubectl()
            .run(&[&["get", "-n", cluster.namespace(), "-o", path], args].concat())
            .unwrap()
    };
    let pod = node.pod_name();
    let both = || (ready(&["node", "moody"]), ready(&["pod", &pod]));
    assert_eq!(both(), ("True".into(), "True".into()));
    node.set_node_ready(false).unwrap();
    node.set_agent_ready(false).unwrap();
    assert_eq!(both(), ("Unknown".into(), "False".into()));
}
