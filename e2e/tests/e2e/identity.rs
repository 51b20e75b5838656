//! Who may do what with whose token: RBAC, the admission policy on the node-name claim, and the artifact endpoint.

use std::path::Path;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bpfleet_crds::{BpfNode, Digest, names};
use bpfleet_e2e::{Cluster, api_client::ApiClient, diagnose, wait};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde_json::{Value, json};

use crate::{
    operator_artifacts::{fetch, object_path},
    operator_support::*,
};

/// What a thief of a node's token has.
struct Thief {
    api: ApiClient,
}

impl Thief {
    fn new(kubeconfig: &Path) -> Thief {
        Thief {
            api: ApiClient::new(kubeconfig).unwrap(),
        }
    }

    /// Writes the status of a BpfNode, as an agent does.
    fn write_status(&self, name: &str) -> Result<(), String> {
        let patch = json!([{"op": "add", "path": "/status", "value": {"agentVersion": "taken over"}}]);
        let patch = Patch::Json::<()>(serde_json::from_value(patch).unwrap());
        let nodes: Api<BpfNode> = Api::all(self.api.client());
        let written = self
            .api
            .block_on(nodes.patch_status(name, &PatchParams::default(), &patch));
        written.map(|_| ()).map_err(|error| error.to_string())
    }
}

#[test]
fn an_agents_token_writes_the_status_of_its_own_node_and_nothing_else() {
    let world = world();
    let (cluster, admin) = (&world.cluster, world.cluster.kubectl());
    let (own, _other) = (
        cluster.add_node("id-own").unwrap(),
        cluster.add_node("id-other").unwrap(),
    );
    let _report = diagnose::on_failure(cluster).about(&["id-own", "id-other"]);
    for name in ["id-own", "id-other"] {
        wait_bpf_node(&admin, name);
    }
    let thief = Thief::new(&own.kubeconfig());
    thief.write_status("id-own").unwrap();
    // The API server takes a new policy into account some time after it was made.
    let said = wait::until("the admission policy to hold", SOON, || {
        match thief.write_status("id-other") {
            Err(said) => Ok(said),
            Ok(()) => Err("it was written"),
        }
    })
    .unwrap();
    assert!(
        said.contains(r#"the bpfleet agent of node "id-own" may not write the status of BpfNode "id-other""#),
        "{said}"
    );
    thief.write_status("id-own").unwrap();

    let spec = r#"{"spec": {"programs": [{"name": "x", "revision": "x-1"}]}}"#;
    let made = json!({"apiVersion": "bpfleet.io/v1alpha1", "kind": "BpfNode", "metadata": {"name": "id-new"}, "spec": {}});
    let forbidden: [(&[&str], &str, &str); 9] = [
        (
            &["patch", "bpfnode", "id-own", "--type=merge", "-p", spec],
            "",
            "cannot patch",
        ),
        (
            &["patch", "bpfnode", "id-other", "--type=merge", "-p", spec],
            "",
            "cannot patch",
        ),
        (&["create", "-f", "-"], &made.to_string(), "cannot create"),
        (&["delete", "bpfnode", "id-own"], "", "cannot delete"),
        (&["delete", "bpfnode", "id-other"], "", "cannot delete"),
        (&["get", "bpfprograms"], "", "cannot list"),
        (&["get", "bpfrevisions"], "", "cannot list"),
        (&["-n", "bpfleet-system", "get", "secrets"], "", "cannot list"),
        (&["-n", "bpfleet-system", "get", "configmaps"], "", "cannot list"),
    ];
    let kubectl = admin.with_kubeconfig(&own.kubeconfig());
    for (args, input, words) in forbidden {
        let said = kubectl
            .run_with_input(args, input)
            .expect_err(&format!("kubectl {} was allowed", args.join(" ")))
            .to_string();
        assert!(
            said.contains("forbidden") && said.contains(words),
            "{args:?}: {said}"
        );
    }

    // A token that is bound to no pod, as somebody makes who may create serviceaccounts/token.
    let unbound = cluster.token(names::AGENT_SERVICE_ACCOUNT, &[], None).unwrap();
    let kubeconfig = own.dir().join("unbound.kubeconfig");
    cluster.write_token_kubeconfig(&kubeconfig, &unbound).unwrap();
    let said = Thief::new(&kubeconfig).write_status("id-own").unwrap_err();
    assert!(said.contains("bound to no pod on a node"), "{said}");
}

/// The same claims, valid until another time, signed anew with the API server's key.
fn with_expiry(cluster: &Cluster, token: &str, shift: i64) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let decode = |part: &str| -> Value {
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    let mut claims = decode(parts[1]);
    for claim in ["exp", "iat", "nbf"] {
        claims[claim] = json!(claims[claim].as_i64().unwrap() + shift);
    }
    let pem = cluster.plane().scratch().path().join("pki/service-accounts.key");
    let key = PrivatePkcs8KeyDer::from_pem_file(pem).unwrap();
    let random = SystemRandom::new();
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der(), &random).unwrap();
    let signed = format!(
        "{}.{}",
        parts[0],
        BASE64_URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let signature = pair.sign(&random, signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn a_token_that_is_over_opens_nothing() {
    let world = world();
    let (cluster, kubectl) = (&world.cluster, world.cluster.kubectl());
    let node = cluster.add_node("id-over").unwrap();
    let _report = diagnose::on_failure(cluster).about(&["id-over"]);
    let object = exec_object(2);
    kubectl.apply(&config_map("id-over", &object)).unwrap();
    kubectl
        .apply(&program("id-over", "id-over", from_config_map("id-over")).to_string())
        .unwrap();
    wait_wanted(&kubectl, "id-over", "id-over", None);
    let path = object_path(Digest::of(&object));
    let token = std::fs::read_to_string(node.artifact_token()).unwrap();
    let ask = |token: &str| fetch(cluster, &node, &path, Some(token)).map(|(code, _)| code);

    // One that only looks alike does open: what follows is refused for its time alone.
    let alike = with_expiry(cluster, &token, 0);
    let code = wait::until("the endpoint to answer", SOON, || ask(&alike)).unwrap();
    assert_eq!(code, 200);
    let expired = with_expiry(cluster, &token, -3 * 24 * 3600);
    assert_eq!(ask(&expired), Ok(401));

    // A token ends with its pod. What the endpoint has believed once, it may believe for a minute.
    let pods: Api<Pod> = Api::namespaced(cluster.client(), cluster.namespace());
    let fresh = with_expiry(cluster, &token, 60);
    cluster
        .block_on(pods.delete(&node.pod_name(), &DeleteParams::default().grace_period(0)))
        .unwrap();
    wait::until("the pod's end", SOON, || {
        match cluster.block_on(pods.get_opt(&node.pod_name())) {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .unwrap();
    assert_eq!(ask(&fresh), Ok(401));
    kubectl
        .run(&["delete", "bpfprogram", "id-over", "--wait=false"])
        .unwrap();
}
