//! The committed CRDs are the ones that the Rust types say.

use std::{fs, path::Path};

use bpfleet_crds::manifests::{crds, helm_template, yaml};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[test]
fn the_charts_crds_are_generated_from_the_types() {
    for (name, crd) in crds().unwrap() {
        let path = root().join("charts/bpfleet/templates/crds").join(name);
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == helm_template(&crd).unwrap(),
            "charts/bpfleet/templates/crds/{name} is not what the types say: run `make generate`"
        );
    }
}

#[test]
fn the_plain_crds_for_the_tests_are_generated_from_the_types() {
    let expected: String = crds()
        .unwrap()
        .iter()
        .map(|(_, crd)| format!("---\n{}", yaml(crd).unwrap()))
        .collect();
    let committed = fs::read_to_string(root().join("e2e/manifests/crds.yaml")).unwrap_or_default();
    assert!(
        committed == expected,
        "e2e/manifests/crds.yaml is not what the types say: run `make generate`"
    );
}

#[test]
fn every_field_is_described_for_kubectl_explain() {
    fn walk(path: &str, schema: &serde_json::Value, missing: &mut Vec<String>) {
        if let Some(properties) = schema.get("properties").and_then(|p| p.as_object()) {
            for (name, inner) in properties {
                let path = format!("{path}.{name}");
                if inner.get("description").is_none() {
                    missing.push(path.clone());
                }
                walk(&path, inner, missing);
            }
        }
        if let Some(items) = schema.get("items") {
            walk(path, items, missing);
        }
    }
    let mut missing = Vec::new();
    for (_, crd) in crds().unwrap() {
        let schema = crd.spec.versions[0]
            .schema
            .as_ref()
            .unwrap()
            .open_api_v3_schema
            .as_ref()
            .unwrap();
        let schema = serde_json::to_value(schema).unwrap();
        for half in ["spec", "status"] {
            walk(
                &format!("{}.{half}", crd.spec.names.kind),
                &schema["properties"][half],
                &mut missing,
            );
        }
    }
    assert!(missing.is_empty(), "no description: {missing:?}");
}

#[test]
fn every_list_and_string_of_a_spec_has_a_bound() {
    fn walk(path: &str, schema: &serde_json::Value, unbounded: &mut Vec<String>) {
        // Types of Kubernetes itself are bounded by Kubernetes' own checks.
        if path.contains("nodeSelector") {
            return;
        }
        match schema.get("type").and_then(|t| t.as_str()) {
            Some("array") if schema.get("maxItems").is_none() => unbounded.push(path.to_owned()),
            Some("string") if schema.get("maxLength").is_none() && schema.get("enum").is_none() => {
                unbounded.push(path.to_owned());
            }
            _ => {}
        }
        if let Some(properties) = schema.get("properties").and_then(|p| p.as_object()) {
            for (name, inner) in properties {
                walk(&format!("{path}.{name}"), inner, unbounded);
            }
        }
        if let Some(items) = schema.get("items") {
            walk(&format!("{path}[]"), items, unbounded);
        }
    }
    let mut unbounded = Vec::new();
    for (_, crd) in crds().unwrap() {
        let schema = crd.spec.versions[0]
            .schema
            .as_ref()
            .unwrap()
            .open_api_v3_schema
            .as_ref()
            .unwrap();
        let schema = serde_json::to_value(schema).unwrap();
        walk(
            &crd.spec.names.kind,
            &schema["properties"]["spec"],
            &mut unbounded,
        );
    }
    assert!(unbounded.is_empty(), "no bound: {unbounded:?}");
}
