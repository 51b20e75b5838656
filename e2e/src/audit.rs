//! Counts what was written to the API, from the API server's audit log.

use std::path::Path;

use serde_json::Value;

use crate::error::{During, Result};

/// Logs who changed what, without the bodies, and no reads.
pub(crate) const POLICY: &str = r#"apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
  resources: [{group: bpfleet.io}, {group: ""}, {group: events.k8s.io}]
- level: None
"#;

/// One change of an object that the API server was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Who asked, for example `system:serviceaccount:bpfleet-system:bpfleet-agent`.
    pub user: String,
    /// `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// Plural of the kind, with a subresource after a slash: `bpfnodes/status`.
    pub resource: String,
    /// The object's name; empty where the server chose it.
    pub name: String,
    /// HTTP status of the answer.
    pub code: u64,
}

/// Every write so far for which `wanted` holds, in order.
pub fn writes(log: &Path, wanted: impl Fn(&Write) -> bool) -> Result<Vec<Write>> {
    let text = std::fs::read_to_string(log).during(|| format!("reading the audit log {}", log.display()))?;
    Ok(text
        .lines()
        .filter_map(parse)
        .filter(|write| wanted(write))
        .collect())
}

/// A line is not an event only while it is being written.
fn parse(line: &str) -> Option<Write> {
    let event: Value = serde_json::from_str(line).ok()?;
    let text = |pointer: &str| {
        event
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (mut resource, sub) = (text("/objectRef/resource"), text("/objectRef/subresource"));
    if !sub.is_empty() {
        resource = format!("{resource}/{sub}");
    }
    Some(Write {
        user: text("/user/username"),
        verb: text("/verb"),
        resource,
        name: text("/objectRef/name"),
        code: event
            .pointer("/responseStatus/code")
            .and_then(Value::as_u64)
            .unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_event_is_one_write_with_its_subresource() {
        let line = r#"{"kind":"Event","verb":"patch","user":{"username":"system:serviceaccount:s:agent"},
            "objectRef":{"resource":"bpfnodes","name":"n1","subresource":"status"},"responseStatus":{"code":200}}"#;
        let write = parse(line).unwrap();
        assert_eq!(
            (write.resource.as_str(), write.name.as_str(), write.code),
            ("bpfnodes/status", "n1", 200)
        );
        assert_eq!(parse(r#"{"kind":"Ev"#), None);
    }
}
