//! One CA however many replicas begin at once, and certificates and tokens that change without a restart.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bpfleet_crds::{Digest, names};
use bpfleet_e2e::{Cluster, OperatorOptions, diagnose, wait};
use rcgen::{CertificateParams, Issuer, KeyPair};
use serde_json::{Value, json};

use crate::{
    flow_support::*,
    operator_artifacts::{fetch_at, object_path},
    operator_support::*,
};

#[test]
fn two_replicas_that_race_to_make_the_ca_end_with_one() {
    let cluster = &Cluster::start().unwrap();
    let _report = diagnose::on_failure(cluster);
    let kubectl = cluster.kubectl();
    // Neither waits for the other.
    let start = |identity: &str| {
        let options = OperatorOptions {
            identity: Some(identity.to_owned()),
            ..OperatorOptions::default()
        };
        bpfleet_e2e::Operator::start(cluster, &options).unwrap()
    };
    let operators = ["first", "second"].map(start);
    for operator in &operators {
        operator.wait_ready(SOON).unwrap();
    }
    let node = cluster.add_node("race").unwrap();
    wait_bpf_node(&kubectl, "race");
    wait::until("the CA to be published", SOON, || {
        std::fs::metadata(node.artifact_config().join(names::ARTIFACT_CA_KEY))
    })
    .unwrap();
    let ca = std::fs::read_to_string(node.artifact_config().join(names::ARTIFACT_CA_KEY)).unwrap();
    assert_eq!(ca.matches("BEGIN CERTIFICATE").count(), 1, "{ca}");
    // Whoever trusts that one CA can talk to both: they turn away who shows no token, and are what they say they are.
    let path = object_path(Digest::of(b"nobody has this"));
    for operator in &operators {
        let answer = fetch_at(cluster, &node, &operator.artifact_address(), &path, None);
        assert_eq!(answer.unwrap().0, 401);
    }
}

fn secret(cluster: &Cluster) -> BTreeMap<String, String> {
    let found = wait_own(
        &cluster.kubectl(),
        &format!("secret/{}", names::ARTIFACT_TLS_SECRET),
    );
    let data = found["data"].as_object().unwrap();
    let text =
        |value: &Value| String::from_utf8(BASE64_STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap();
    data.iter()
        .map(|(key, value)| (key.clone(), text(value)))
        .collect()
}

#[test]
fn a_certificate_that_is_due_and_a_token_that_is_over_are_replaced_while_everything_runs() {
    let cluster = &Cluster::start().unwrap();
    let kubectl = cluster.kubectl();
    let _operator = start_operator(cluster, "operator", &[]);
    let rig = Rig::start(cluster, "rotation");
    let _report = diagnose::on_failure(cluster).about(&["rotation"]);
    kubectl.apply(&config_map("rotation", &exec_object(0))).unwrap();
    kubectl
        .apply(&program("rotation", "rotation", from_config_map("rotation")).to_string())
        .unwrap();
    wait_ready(&kubectl, "rotation");
    let first = wait_updated(cluster, "rotation", None);

    // A certificate of the same CA that has ten of its ninety days left: it is renewed, and served at once.
    let before = secret(cluster);
    let published =
        std::fs::read_to_string(rig.node.artifact_config().join(names::ARTIFACT_SERVER_NAME_KEY)).unwrap();
    let (now, day) = (time::OffsetDateTime::now_utc(), time::Duration::DAY);
    let mut due = CertificateParams::new(vec![published]).unwrap();
    (due.not_before, due.not_after) = (now - day * 80, now + day * 10);
    let issuer = Issuer::from_ca_cert_pem(
        &before[names::ARTIFACT_CA_KEY],
        KeyPair::from_pem(&before["ca.key"]).unwrap(),
    )
    .unwrap();
    let key = KeyPair::generate().unwrap();
    let due = due.signed_by(&key, &issuer).unwrap().pem();
    let encoded = |text: &str| BASE64_STANDARD.encode(text);
    let patch = json!({"data": {"tls.crt": encoded(&due), "tls.key": encoded(&key.serialize_pem())}});
    kubectl
        .run(&[
            "-n",
            cluster.namespace(),
            "patch",
            "secret",
            names::ARTIFACT_TLS_SECRET,
            "--type=merge",
            "-p",
            &patch.to_string(),
        ])
        .unwrap();
    let after = wait::until("the certificate to be renewed", SOON, || {
        let now = secret(cluster);
        if now["tls.crt"] == due {
            return Err("not yet");
        }
        Ok(now)
    })
    .unwrap();
    assert_ne!(after["tls.crt"], before["tls.crt"]);
    assert_eq!(
        (&after[names::ARTIFACT_CA_KEY], &after["ca.key"]),
        (&before[names::ARTIFACT_CA_KEY], &before["ca.key"])
    );
    kubectl.apply(&config_map("rotation", &exec_object(1))).unwrap();
    let second = wait_updated(cluster, "rotation", Some(&first));

    // A token that is no longer good, and then its successor in the same file: the agent goes on with it.
    let good = std::fs::read_to_string(rig.node.artifact_token()).unwrap();
    std::fs::write(rig.node.artifact_token(), "over").unwrap();
    kubectl.apply(&config_map("rotation", &exec_object(2))).unwrap();
    let row = rig.wait_row("rotation", |row| {
        row.reason.as_deref() == Some("ArtifactUnavailable")
    });
    assert_eq!(row.revision.as_deref(), Some(second.as_str()), "what ran runs on");
    assert!(row.message.unwrap().contains("401"));
    std::fs::write(rig.node.artifact_token(), good).unwrap();
    wait_updated(cluster, "rotation", Some(&second));
    wait_ready(&kubectl, "rotation");
}
