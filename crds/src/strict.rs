//! Reading a resource without overlooking a field.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Why a value cannot be taken whole.
#[derive(Debug, thiserror::Error)]
pub enum StrictError {
    /// Not of the type's shape.
    #[error("{0}")]
    Invalid(#[from] serde_json::Error),
    /// Fields that this version of bpfleet does not know; taking the rest would half-apply it.
    #[error("unknown {}: {}", if .0.len() == 1 { "field" } else { "fields" }, .0.join(", "))]
    UnknownFields(Vec<String>),
}

/// Reads `value` as a `T`, and refuses it if it has a field that `T` does not know (unlike serde's own
/// `deny_unknown_fields`, which would also break reading a list through the API's types).
pub fn from_value<T: DeserializeOwned + Serialize>(value: &Value) -> Result<T, StrictError> {
    let parsed = T::deserialize(value)?;
    let mut unknown = Vec::new();
    missing(value, &serde_json::to_value(&parsed)?, "", &mut unknown);
    if unknown.is_empty() {
        Ok(parsed)
    } else {
        Err(StrictError::UnknownFields(unknown))
    }
}

/// Collects the paths that `given` has and `known` lacks; nulls and empty values mean nothing.
fn missing(given: &Value, known: &Value, path: &str, unknown: &mut Vec<String>) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (key, value) in given {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                match known.get(key) {
                    Some(inner) => missing(value, inner, &path, unknown),
                    None if is_empty(value) => {}
                    None => unknown.push(path),
                }
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (index, (given, known)) in given.iter().zip(known).enumerate() {
                missing(given, known, &format!("{path}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::BpfRevisionSpec;

    fn revision() -> Value {
        let digest = crate::Digest::of(b"x");
        json!({
            "program": "p",
            "variants": [{"name": "main", "objects": [{"digest": digest, "sizeBytes": 1}]}],
            "hooks": [{"name": "h", "anyOf": [{"program": "f"}]}],
        })
    }

    #[test]
    fn a_known_revision_is_read() {
        let spec: BpfRevisionSpec = from_value(&revision()).unwrap();
        assert_eq!(spec.program, "p");
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_path_however_deep() {
        let mut value = revision();
        value["hooks"][0]["anyOf"][0]["weight"] = json!(3);
        value["rollout"] = json!({"soak": "30s"});
        let error = from_value::<BpfRevisionSpec>(&value).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown fields: hooks[0].anyOf[0].weight, rollout"
        );
    }

    #[test]
    fn an_unknown_field_without_content_is_taken() {
        let mut value = revision();
        value["later"] = Value::Null;
        assert!(from_value::<BpfRevisionSpec>(&value).is_ok());
    }
}
