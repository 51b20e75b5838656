//! What is rendered is what Kubernetes understands.

use std::fmt::Debug;

use bpfleet_crds::names::{APP_LABEL, APP_NAME, COMPONENT_LABEL, DEFAULT_NAMESPACE};
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    apps::v1::{DaemonSet, Deployment},
    batch::v1::Job,
    core::v1::{Pod, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::support::{RELEASE, documents, render, root, template, value_sets};

/// Everything in `given` is in `kept`: a field that the type does not have would be lost on the way through it.
fn lost(path: &str, given: &Value, kept: &Value) -> Vec<String> {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => given
            .iter()
            .flat_map(|(key, value)| lost(&format!("{path}.{key}"), value, &kept[key]))
            .collect(),
        (Value::Array(given), Value::Array(kept)) if given.len() == kept.len() => given
            .iter()
            .zip(kept)
            .flat_map(|(given, kept)| lost(&format!("{path}[]"), given, kept))
            .collect(),
        (given, kept) if given == kept => Vec::new(),
        _ => vec![path.to_owned()],
    }
}

fn check<K: DeserializeOwned + Serialize + Debug>(document: &Value) {
    let typed: K = serde_json::from_value(document.clone())
        .unwrap_or_else(|error| panic!("{}: {error}: {document}", document["kind"]));
    let mut kept = serde_json::to_value(&typed).unwrap();
    // Empty lists need not survive.
    prune(&mut kept);
    let mut given = document.clone();
    prune(&mut given);
    let kind = document["kind"].as_str().unwrap();
    let lost = lost(kind, &given, &kept);
    assert!(lost.is_empty(), "Kubernetes knows nothing of {lost:?}");
}

fn prune(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, v| !v.is_null() && v.as_array().is_none_or(|list| !list.is_empty()));
            members.values_mut().for_each(prune);
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

#[test]
fn every_object_is_one_that_kubernetes_knows_with_no_field_that_it_does_not() {
    for values in value_sets() {
        for document in render(values).0 {
            let check = match document["kind"].as_str().unwrap() {
                "ServiceAccount" => check::<ServiceAccount>,
                "ClusterRole" => check::<ClusterRole>,
                "ClusterRoleBinding" => check::<ClusterRoleBinding>,
                "Role" => check::<Role>,
                "RoleBinding" => check::<RoleBinding>,
                "Service" => check::<Service>,
                "Deployment" => check::<Deployment>,
                "DaemonSet" => check::<DaemonSet>,
                "Job" => check::<Job>,
                "Pod" => check::<Pod>,
                "NetworkPolicy" => check::<NetworkPolicy>,
                "PodDisruptionBudget" => check::<PodDisruptionBudget>,
                "ValidatingAdmissionPolicy" => check::<ValidatingAdmissionPolicy>,
                "ValidatingAdmissionPolicyBinding" => check::<ValidatingAdmissionPolicyBinding>,
                // Generated from their types; the others are not Kubernetes' own.
                "CustomResourceDefinition" | "PodMonitor" | "SecurityContextConstraints" => continue,
                other => panic!("what is a {other}?"),
            };
            check(&document);
        }
    }
}

#[test]
fn no_two_objects_have_one_name() {
    for values in value_sets() {
        let mut names: Vec<String> = render(values)
            .0
            .iter()
            .map(|d| format!("{} {}", d["kind"], d["metadata"]["name"]))
            .collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "{names:?}");
    }
}

#[test]
fn every_object_has_the_usual_labels_and_a_name_that_says_whose_it_is() {
    for values in value_sets() {
        for document in render(values).0 {
            if document["kind"] == "CustomResourceDefinition" {
                continue;
            }
            let metadata = &document["metadata"];
            assert!(metadata["name"].as_str().unwrap().starts_with("bpfleet-"));
            let labels = &metadata["labels"];
            assert_eq!(labels[APP_LABEL], APP_NAME, "{metadata}");
            assert!(labels[COMPONENT_LABEL].is_string(), "{metadata}");
            assert_eq!(labels["app.kubernetes.io/instance"], RELEASE);
        }
    }
}

#[test]
fn nothing_is_bound_to_the_usual_namespace() {
    for values in value_sets() {
        let output = template("elsewhere", values);
        let text = String::from_utf8(output.stdout).unwrap();
        let without_crds: Vec<Value> = documents(&text)
            .into_iter()
            .filter(|d| d["kind"] != "CustomResourceDefinition")
            .collect();
        assert!(without_crds.len() > 10);
        for document in without_crds {
            assert!(!document.to_string().contains(DEFAULT_NAMESPACE), "{document}");
        }
    }
}

#[test]
fn the_notes_end_with_the_command_that_shows_the_state() {
    let notes = std::fs::read_to_string(root().join("charts/bpfleet/templates/NOTES.txt")).unwrap();
    assert_eq!(
        notes.lines().last().unwrap().trim(),
        "kubectl get bpfprograms,bpfnodes"
    );
    assert!(notes.contains("pod-security.kubernetes.io/enforce=privileged"));
}
