//! The operator alone: the artifact endpoint, and two replicas.

use bpfleet_crds::{Digest, names};
use bpfleet_e2e::{Cluster, Node, wait};
use serde_json::Value;

use crate::operator_support::*;

/// Asks the endpoint as a node would, with what it finds in its mounted files.
pub fn fetch(
    cluster: &Cluster,
    node: &Node<'_>,
    path: &str,
    token: Option<&str>,
) -> Result<(u16, Vec<u8>), String> {
    let address = node.artifact_config().join(names::ARTIFACT_ADDRESS_KEY);
    let address = std::fs::read_to_string(address).map_err(|error| format!("the address: {error}"))?;
    fetch_at(cluster, node, &address, path, token)
}

/// The same at an address of the test's own.
pub fn fetch_at(
    cluster: &Cluster,
    node: &Node<'_>,
    address: &str,
    path: &str,
    token: Option<&str>,
) -> Result<(u16, Vec<u8>), String> {
    let read = |key: &str| {
        std::fs::read_to_string(node.artifact_config().join(key)).map_err(|error| format!("{key}: {error}"))
    };
    let ca = read(names::ARTIFACT_CA_KEY)?;
    let server = read(names::ARTIFACT_SERVER_NAME_KEY)?;
    let address: std::net::SocketAddr = address.parse().map_err(|error| format!("{address}: {error}"))?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .tls_certs_only(
            reqwest::Certificate::from_pem_bundle(ca.as_bytes()).map_err(|error| error.to_string())?,
        )
        .resolve(&server, address)
        .no_proxy()
        .build()
        .map_err(|error| format!("{error:?}"))?;
    cluster.block_on(async {
        let mut request = client.get(format!("https://{server}:{}{path}", address.port()));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(|error| format!("{error:?}"))?;
        let code = response.status().as_u16();
        Ok((
            code,
            response
                .bytes()
                .await
                .map_err(|error| format!("{error:?}"))?
                .to_vec(),
        ))
    })
}

pub fn object_path(digest: Digest) -> String {
    format!("{}{digest}", names::ARTIFACT_OBJECTS_PATH)
}

#[test]
fn an_agent_gets_what_its_node_runs_and_nobody_gets_anything_else() {
    let world = world();
    let (cluster, kubectl) = (&world.cluster, world.cluster.kubectl());
    let (node, other) = (
        cluster.add_node("op-art").unwrap(),
        cluster.add_node("op-art-other").unwrap(),
    );
    let _report = bpfleet_e2e::diagnose::on_failure(cluster);
    let object = exec_object(1);
    kubectl.apply(&config_map("art", &object)).unwrap();
    kubectl
        .apply(&program("art", "op-art", from_config_map("art")).to_string())
        .unwrap();
    wait_wanted(&kubectl, "op-art", "art", None);

    let path = object_path(Digest::of(&object));
    let token = |node: &Node<'_>| std::fs::read_to_string(node.artifact_token()).unwrap();
    let (code, bytes) = wait::until("the endpoint", SOON, || {
        fetch(cluster, &node, &path, Some(&token(&node)))
    })
    .unwrap();
    assert_eq!(
        (code, bytes == object),
        (200, true),
        "{}",
        String::from_utf8_lossy(&bytes)
    );

    let api_token = cluster.token(names::AGENT_SERVICE_ACCOUNT, &[], None).unwrap();
    let unbound = cluster
        .token(names::AGENT_SERVICE_ACCOUNT, &[names::ARTIFACT_AUDIENCE], None)
        .unwrap();
    let operator = cluster
        .token(names::OPERATOR_SERVICE_ACCOUNT, &[names::ARTIFACT_AUDIENCE], None)
        .unwrap();
    let unknown = object_path(Digest::of(b"nobody has this"));
    let cases: [(&str, &str, Option<String>, u16); 8] = [
        ("no token", &path, None, 401),
        ("nonsense", &path, Some("nonsense".to_owned()), 401),
        ("a token for the API server", &path, Some(api_token), 401),
        ("a token bound to no node", &path, Some(unbound), 403),
        ("another service account", &path, Some(operator), 403),
        ("another node", &path, Some(token(&other)), 403),
        (
            "an object that no revision names",
            &unknown,
            Some(token(&node)),
            404,
        ),
        ("another path", "/v1/secrets", Some(token(&node)), 404),
    ];
    for (what, path, token, expected) in cases {
        let (code, body) = fetch(cluster, &node, path, token.as_deref()).unwrap();
        assert_eq!(code, expected, "{what}");
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert!(body["message"].is_string(), "{what}: {body}");
    }
    kubectl
        .run(&["delete", "bpfprogram", "art", "--wait=false"])
        .unwrap();
    wait::until("the entry's removal", SOON, || {
        wanted(&kubectl, "op-art", "art").map_or(Ok(()), Err)
    })
    .unwrap();
    play_agent(cluster, &node, None);
}

#[test]
fn what_publishes_the_endpoint_is_made_again_with_the_same_ca() {
    let cluster = Cluster::start().unwrap();
    let _report = bpfleet_e2e::diagnose::on_failure(&cluster);
    let kubectl = cluster.kubectl();
    let _operator = start_operator(&cluster, "operator", &[]);
    let config_map = format!("configmap/{}", names::ARTIFACT_CONFIG_MAP);
    let secret = format!("secret/{}", names::ARTIFACT_TLS_SECRET);
    let get = |what: &str| wait_own(&kubectl, what);
    let (map, keys) = (get(&config_map), get(&secret));
    delete_own(&kubectl, &config_map);
    delete_own(&kubectl, &secret);
    assert_eq!(get(&config_map)["data"], map["data"]);
    assert_eq!(get(&secret)["data"], keys["data"]);
}

#[test]
fn of_two_replicas_one_writes_both_serve_and_the_other_takes_over() {
    let cluster = Cluster::start().unwrap();
    let _report = bpfleet_e2e::diagnose::on_failure(&cluster);
    let kubectl = cluster.kubectl();
    let first = start_operator(&cluster, "first", &[]);
    let node = cluster.add_node("replicas").unwrap();
    wait_bpf_node(&kubectl, "replicas");
    let second = start_operator(&cluster, "second", &[]);
    let leads = |operator: &bpfleet_e2e::Operator| {
        let (_, text) = bpfleet_e2e::http::get(&operator.health_url("/metrics")).unwrap();
        text.lines().any(|line| line == "bpfleet_operator_leader 1")
    };
    assert!(leads(&first) && !leads(&second));

    let object = exec_object(1);
    kubectl.apply(&config_map("r", &object)).unwrap();
    kubectl
        .apply(&program("r", "replicas", from_config_map("r")).to_string())
        .unwrap();
    let revision = wait_wanted(&kubectl, "replicas", "r", None);
    play_agent(&cluster, &node, None);
    kubectl.wait_for("bpfprogram/r", "condition=Ready", SOON).unwrap();

    // The second has never seen the object; it serves it from the copy.
    let token = std::fs::read_to_string(node.artifact_token()).unwrap();
    let path = object_path(Digest::of(&object));
    let patch = format!(r#"{{"data": {{"address": "{}"}}}}"#, second.artifact_address());
    first.kill().unwrap();
    kubectl
        .run(&[
            "-n",
            cluster.namespace(),
            "patch",
            "configmap",
            names::ARTIFACT_CONFIG_MAP,
            "--type=merge",
            "-p",
            &patch,
        ])
        .unwrap();
    let bytes = wait::until("the other replica", SOON, || {
        match fetch(&cluster, &node, &path, Some(&token)) {
            Ok((200, bytes)) => Ok(bytes),
            other => Err(format!("{other:?}")),
        }
    })
    .unwrap();
    assert_eq!(bytes, object);

    wait::until("the other replica to lead", SOON, || {
        if leads(&second) { Ok(()) } else { Err("not yet") }
    })
    .unwrap();
    assert_eq!(wanted(&kubectl, "replicas", "r"), Some(revision.clone()));
    kubectl.apply(&config_map("r", &exec_object(2))).unwrap();
    wait_wanted(&kubectl, "replicas", "r", Some(&revision));
}

#[test]
fn an_operator_that_restarts_or_loses_the_api_server_changes_nothing() {
    let cluster = Cluster::start().unwrap();
    let _report = bpfleet_e2e::diagnose::on_failure(&cluster);
    let kubectl = cluster.kubectl();
    let mut operator = start_operator(&cluster, "operator", &[]);
    let node = cluster.add_node("steady").unwrap();
    kubectl.apply(&config_map("steady", &exec_object(1))).unwrap();
    kubectl
        .apply(&program("steady", "steady", from_config_map("steady")).to_string())
        .unwrap();
    let revision = wait_wanted(&kubectl, "steady", "steady", None);
    play_agent(&cluster, &node, None);
    kubectl
        .wait_for("bpfprogram/steady", "condition=Ready", SOON)
        .unwrap();
    let writes = || {
        let ours = |write: &bpfleet_e2e::audit::Write| {
            write.resource.starts_with("bpf") && write.user.contains("operator")
        };
        cluster.plane().writes(ours).unwrap()
    };
    let metric = |operator: &bpfleet_e2e::Operator| {
        let (_, text) = bpfleet_e2e::http::get(&operator.health_url("/metrics")).unwrap();
        text.contains(r#"reconciles_total{kind="BpfProgram",outcome="done"}"#)
    };
    let before = writes();
    operator.kill().unwrap();
    operator.restart().unwrap();
    operator.wait_ready(SOON).unwrap();
    wait::until("a look at the program", SOON, || {
        if metric(&operator) {
            Ok(())
        } else {
            Err("none yet")
        }
    })
    .unwrap();
    assert_eq!(writes(), before);

    cluster.plane().kill_api_server().unwrap();
    wait::until("the loss of leadership", SOON, || {
        let (_, text) =
            bpfleet_e2e::http::get(&operator.health_url("/metrics")).map_err(|error| error.to_string())?;
        if text.lines().any(|line| line == "bpfleet_operator_leader 0") {
            Ok(())
        } else {
            Err("still leads".to_owned())
        }
    })
    .unwrap();
    cluster.plane().start_api_server().unwrap();
    kubectl.apply(&config_map("steady", &exec_object(2))).unwrap();
    wait_wanted(&kubectl, "steady", "steady", Some(&revision));
}
