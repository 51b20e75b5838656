use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::{artifacts::cache::Cache, objects::registry::Registry};

fn revision(sources: serde_json::Value) -> BpfRevision {
    let digest = Digest::of(b"x");
    serde_json::from_value(json!({
        "apiVersion": "bpfleet.io/v1alpha1", "kind": "BpfRevision", "metadata": {"name": "p-1"},
        "spec": {"program": "p", "variants": [{"name": "main", "objects": [{"digest": digest, "sizeBytes": 1}]}]},
        "status": {"sources": sources},
    }))
    .unwrap()
}

#[test]
fn a_tag_stays_resolved_as_long_as_the_reference_stays() {
    let image = json!({"reference": "r/i@sha256:0", "file": "x.o", "resolvedFrom": "r/i:v1"});
    let current = revision(json!([{"digest": Digest::of(b"x"), "image": image}]));
    let place = |reference: &str| ImageSource {
        reference: reference.to_owned(),
        file: None,
        pull_secret: None,
    };
    assert_eq!(pinned(&place("r/i:v1"), "main", &current).len(), 1);
    assert!(pinned(&place("r/i:v2"), "main", &current).is_empty());
    assert!(pinned(&place("r/i:v1"), "other", &current).is_empty());
}

#[test]
fn a_lost_config_map_is_replaced_by_its_copy_only_for_the_same_place() {
    let place = |name: &str| ConfigMapSource {
        name: name.to_owned(),
        key: "k".to_owned(),
    };
    let source = json!({"digest": Digest::of(b"x"), "configMap": config_map::copy_source(Digest::of(b"x")), "copiedFrom": place("m")});
    let current = revision(json!([source]));
    let fault = Fault::permanent(ProgramReason::ConfigMapNotFound, "gone");
    let found = kept(&place("m"), Some(&current), &fault).unwrap();
    assert_eq!(found.objects[0].object.digest, Digest::of(b"x"));
    assert!(found.warning.unwrap().contains("kept"));
    assert_eq!(kept(&place("other"), Some(&current), &fault), None);
    assert_eq!(kept(&place("m"), None, &fault), None);
}

/// An API server that has one Secret or none, and the times that it was asked for.
type Secrets = Arc<Mutex<(Option<Value>, u32)>>;

fn store_with(secrets: &Secrets) -> Store {
    async fn answer(State(secrets): State<Secrets>) -> (StatusCode, String) {
        let mut secrets = secrets.lock().unwrap();
        secrets.1 += 1;
        match &secrets.0 {
            Some(secret) => (StatusCode::OK, secret.to_string()),
            None => {
                let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "reason": "NotFound", "code": 404, "message": "not found"});
                (StatusCode::NOT_FOUND, status.to_string())
            }
        }
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Router::new().fallback(answer).with_state(secrets.clone());
    let client = kube::Client::new(server, "default");
    let registry = Registry::new(Vec::new()).unwrap();
    Store::new(
        &client,
        "default",
        registry,
        Cache::new(None).unwrap(),
        Arc::default(),
    )
}

#[tokio::test(start_paused = true)]
async fn after_many_failures_a_changed_pull_secret_is_noticed_at_the_next_look() {
    let secrets = Secrets::default();
    let (store, resolver) = (store_with(&secrets), Resolver::default());
    let image = json!({"reference": "127.0.0.1:9/i:v1", "pullSecret": {"name": "s"}});
    let source: ObjectSource = serde_json::from_value(json!({"image": image})).unwrap();
    let config_maps = Index::default();
    let resolve = async || {
        let found = resolver.resolve(("p", "main"), &source, None, &store, &config_maps);
        found.await.unwrap_err()
    };
    let next = || resolver.retry_at("p").unwrap().duration_since(Instant::now());
    // An hour of it: waits between attempts have long become longer than those between looks.
    let started = Instant::now();
    let missing = resolve().await;
    assert_eq!(missing.reason, ProgramReason::InvalidPullSecret);
    while started.elapsed() < Duration::from_secs(3600) {
        assert!(next() <= Duration::from_secs(30));
        tokio::time::advance(next()).await;
        assert_eq!(resolve().await, missing);
    }
    // Between two looks nothing is asked.
    let asked = secrets.lock().unwrap().1;
    resolve().await;
    assert_eq!(secrets.lock().unwrap().1, asked);
    assert!(
        asked < 200,
        "{asked} requests in an hour are more than looks every 30 s"
    );

    let opaque = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "type": "Opaque"});
    secrets.lock().unwrap().0 = Some(opaque);
    tokio::time::advance(next()).await;
    let seen = resolve().await;
    assert!(seen.message.contains("is of type Opaque"), "{seen}");
    assert!(next() <= Duration::from_secs(1), "the waits begin anew");
}
