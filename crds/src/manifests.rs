//! The CRDs as Kubernetes takes them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    BpfNode, BpfProgram, BpfRevision, conditions,
    reason::{NodeReason, ProgramReason},
};

/// A CRD could not be made from its Rust type: a defect of bpfleet.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON.
    #[error("CRD cannot be written: {0}")]
    Json(#[from] serde_json::Error),
    /// Not YAML.
    #[error("CRD cannot be written as YAML: {0}")]
    Yaml(#[from] serde_norway::Error),
}

/// The CRDs, with the file name each is kept under.
pub fn crds() -> Result<Vec<(&'static str, CustomResourceDefinition)>, ManifestError> {
    let program_defaults = [
        (conditions::ACCEPTED, ProgramReason::Pending.as_str()),
        (conditions::COMPATIBLE, ProgramReason::Pending.as_str()),
        (conditions::READY, ProgramReason::Pending.as_str()),
        (conditions::STALLED, ProgramReason::Pending.as_str()),
    ];
    Ok(vec![
        ("bpfprograms.yaml", finish(BpfProgram::crd(), &program_defaults)?),
        ("bpfrevisions.yaml", finish(BpfRevision::crd(), &[])?),
        (
            "bpfnodes.yaml",
            finish(
                BpfNode::crd(),
                &[(conditions::READY, NodeReason::Pending.as_str())],
            )?,
        ),
    ])
}

/// One CRD as YAML, plain.
pub fn yaml(crd: &CustomResourceDefinition) -> Result<String, ManifestError> {
    to_yaml(crd)
}

/// YAML that kubectl reads as it is meant: it follows YAML 1.1, in which a bare `Yes` is a boolean.
pub fn to_yaml<T: Serialize>(value: &T) -> Result<String, ManifestError> {
    const BOOLEANS: [&str; 8] = ["y", "n", "yes", "no", "on", "off", "true", "false"];
    let text = serde_norway::to_string(value)?;
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let start = line
            .rfind("- ")
            .into_iter()
            .chain(line.find(": "))
            .max()
            .map_or(0, |at| at + 2);
        let (before, scalar) = line.split_at(start);
        // Real booleans are written in lower case, and strings that look like them are quoted already.
        let ambiguous = start > 0
            && BOOLEANS.contains(&scalar.to_ascii_lowercase().as_str())
            && scalar != "true"
            && scalar != "false";
        if ambiguous {
            out.push_str(&format!("{before}\"{scalar}\"\n"));
        } else {
            out.push_str(line);
            out.push('\n');
        }
    }
    Ok(out)
}

/// One CRD as a Helm template: left out with `crds.enabled: false`, and kept when the release is removed,
/// because deleting a CRD deletes every resource of its kind.
pub fn helm_template(crd: &CustomResourceDefinition) -> Result<String, ManifestError> {
    let mut crd = crd.clone();
    crd.metadata
        .annotations
        .get_or_insert_default()
        .insert("helm.sh/resource-policy".to_owned(), "keep".to_owned());
    // Helm would take braces in descriptions for template actions.
    let body = yaml(&crd)?.replace("{{", "{{ \"{{\" }}");
    Ok(format!(
        "{{{{- if .Values.crds.enabled }}}}\n{body}{{{{- end }}}}\n"
    ))
}

/// What the derive cannot say: conditions are there from the first moment (an empty status would read as
/// current to kstatus), and the schema has no formats that the API server does not know.
fn finish(
    crd: CustomResourceDefinition,
    defaults: &[(&str, &str)],
) -> Result<CustomResourceDefinition, ManifestError> {
    let mut value = serde_json::to_value(crd)?;
    if let Some(versions) = value.pointer_mut("/spec/versions").and_then(Value::as_array_mut) {
        for version in versions {
            if let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema") {
                known_formats(schema);
            }
            if defaults.is_empty() {
                continue;
            }
            if let Some(Value::Object(status)) =
                version.pointer_mut("/schema/openAPIV3Schema/properties/status")
            {
                status.insert("default".to_owned(), json!({ "conditions": pending(defaults) }));
            }
        }
    }
    Ok(serde_json::from_value(value)?)
}

fn pending(defaults: &[(&str, &str)]) -> Vec<Value> {
    defaults
        .iter()
        .map(|(type_, reason)| {
            json!({
                "type": type_, "status": "Unknown", "reason": reason,
                "message": "bpfleet has not looked at this yet. If it stays so, see whether its pods run.",
                "lastTransitionTime": "1970-01-01T00:00:00Z",
            })
        })
        .collect()
}

/// The API server warns about formats such as `uint32`; the bounds say the same.
fn known_formats(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(format) = members.get("format").and_then(Value::as_str) {
                let replacement = match format {
                    "uint32" | "uint64" => Some("int64"),
                    "uint8" | "uint16" => Some("int32"),
                    _ => None,
                };
                if let Some(replacement) = replacement {
                    members.insert("format".to_owned(), json!(replacement));
                }
            }
            members.values_mut().for_each(known_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(known_formats),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_kubectl_takes_for_booleans_are_quoted() {
        let value = json!({"a": "Yes", "b": ["No", "none", true], "c": "Yes and no", "d": false});
        assert_eq!(
            to_yaml(&value).unwrap(),
            "a: \"Yes\"\nb:\n- \"No\"\n- none\n- true\nc: Yes and no\nd: false\n"
        );
    }
}
