//! The name of a revision: a hash of what nodes run, in a form that a newer operator repeats.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::revision::BpfRevisionSpec;

/// Hex digits of the hash in a revision's name: 48 bits, so that two inputs of one program practically
/// never share one.
const HASH_DIGITS: usize = 12;

/// The name of the revision with this content: the program's name and a hash.
///
/// The hash covers the content in a canonical form without absent fields and with sorted keys, so that an
/// operator that knows more fields gives the same name to a revision that does not use them. A golden test
/// holds the form.
pub fn revision_name(spec: &BpfRevisionSpec) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    write_canonical(&serde_json::to_value(spec)?, &mut text);
    let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let hex: String = hash
        .iter()
        .take(HASH_DIGITS / 2)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(format!("{}-{hex}", spec.program))
}

/// Compact JSON with sorted keys, without nulls, empty lists and empty objects.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().filter(|(_, value)| !is_default(value)).collect();
            members.sort_by_key(|(key, _)| key.as_str());
            out.push('{');
            for (index, (key, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(value: Value) -> BpfRevisionSpec {
        serde_json::from_value(value).unwrap()
    }

    fn simple() -> Value {
        json!({
            "program": "execcount",
            "variants": [{"name": "main", "objects": [{
                "digest": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "sizeBytes": 0}]}],
        })
    }

    #[test]
    fn the_canonical_form_never_changes() {
        // An operator upgrade that changed one of these would roll every program out again.
        assert_eq!(revision_name(&spec(simple())).unwrap(), "execcount-7a408c85d549");
        let mut hooked = simple();
        hooked["hooks"] = json!([{"name": "exec", "anyOf": [
            {"program": "on_exec", "target": {"tracepoint": "sched/sched_process_exec"}}]}]);
        assert_eq!(revision_name(&spec(hooked)).unwrap(), "execcount-62e73762f540");
    }

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let (mut a, mut b) = (String::new(), String::new());
        write_canonical(&json!({"b": 1, "a": {"d": [], "c": null, "e": true}}), &mut a);
        write_canonical(&json!({"a": {"e": true}, "b": 1, "f": {}}), &mut b);
        assert_eq!(a, b);
        assert_eq!(a, r#"{"a":{"e":true},"b":1}"#);
    }

    #[test]
    fn content_changes_the_name() {
        let mut other = simple();
        other["variants"][0]["objects"][0]["sizeBytes"] = json!(1);
        assert_ne!(
            revision_name(&spec(other)).unwrap(),
            revision_name(&spec(simple())).unwrap()
        );
    }
}
