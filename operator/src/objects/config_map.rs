//! Objects in ConfigMaps: the user's, and the immutable copies that belong to revisions.

use std::collections::BTreeMap;

use bpfleet_crds::{
    BpfRevision, Digest, ProgramReason,
    names::{APP_LABEL, APP_NAME, OBJECT_CONFIG_MAP_KEY, OBJECT_CONFIG_MAP_PREFIX},
    object::{ConfigMapSource, MAX_OBJECT_BYTES},
};
use bytes::Bytes;
use k8s_openapi::{ByteString, api::core::v1::ConfigMap};
use kube::{Api, Resource as _, api::ObjectMeta};
use serde_json::{Value, json};

use crate::error::{ApiError, Fault};

/// Largest content of a ConfigMap in bytes; the API server's bound.
pub const MAX_CONFIG_MAP_BYTES: usize = 1 << 20;

/// Name of the copy of an object.
pub fn copy_name(digest: Digest) -> String {
    format!("{OBJECT_CONFIG_MAP_PREFIX}{}", digest.hex())
}

/// Where the copy of an object is.
pub fn copy_source(digest: Digest) -> ConfigMapSource {
    ConfigMapSource {
        name: copy_name(digest),
        key: OBJECT_CONFIG_MAP_KEY.to_owned(),
    }
}

/// Reads a ConfigMap; none if there is none.
///
/// # Errors
/// The API server refused or cannot be reached.
pub async fn read(api: &Api<ConfigMap>, name: &str) -> Result<Option<ConfigMap>, ApiError> {
    api.get_opt(name)
        .await
        .map_err(|error| ApiError::new(format!("read ConfigMap {name}"), error))
}

/// The bytes at a key.
///
/// # Errors
/// The key is missing, holds text, or too much.
pub fn bytes(map: ConfigMap, source: &ConfigMapSource) -> Result<Bytes, Fault> {
    let ConfigMapSource { name, key } = source;
    let mut binary = map.binary_data.unwrap_or_default();
    let text = map.data.unwrap_or_default();
    if let Some(ByteString(bytes)) = binary.remove(key) {
        if bytes.len() as u64 > MAX_OBJECT_BYTES {
            let message = format!(
                "ConfigMap {name}, key {key}: larger than {} MiB",
                MAX_OBJECT_BYTES >> 20
            );
            return Err(Fault::permanent(ProgramReason::ObjectTooLarge, message));
        }
        return Ok(bytes.into());
    }
    if text.contains_key(key) {
        let message = format!(
            "ConfigMap {name} holds text at key {key}, not an object file; make it with kubectl create configmap {name} \
             --from-file {key}=OBJECT.bpf.o"
        );
        return Err(Fault::permanent(ProgramReason::InvalidObject, message));
    }
    let known: Vec<&str> = binary
        .keys()
        .chain(text.keys())
        .map(String::as_str)
        .take(8)
        .collect();
    let known = if known.is_empty() {
        "it is empty".to_owned()
    } else {
        format!("it has {}", known.join(", "))
    };
    let message = format!("ConfigMap {name} has no key {key} in binaryData; {known}");
    Err(Fault::permanent(ProgramReason::ConfigMapKeyNotFound, message))
}

/// The immutable copy of an object, owned by a revision, so that it goes with the last revision that has it.
pub fn copy(digest: Digest, bytes: &Bytes, revision: &BpfRevision) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(copy_name(digest)),
            labels: Some(BTreeMap::from([(APP_LABEL.to_owned(), APP_NAME.to_owned())])),
            owner_references: revision.owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        binary_data: Some(BTreeMap::from([(
            OBJECT_CONFIG_MAP_KEY.to_owned(),
            ByteString(bytes.to_vec()),
        )])),
        immutable: Some(true),
        ..ConfigMap::default()
    }
}

/// A strategic merge patch that makes a revision one more owner.
pub fn add_owner(revision: &BpfRevision) -> Value {
    json!({"metadata": {"ownerReferences": revision.owner_ref(&()).into_iter().collect::<Vec<_>>()}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> ConfigMapSource {
        ConfigMapSource {
            name: "m".to_owned(),
            key: "x.o".to_owned(),
        }
    }

    #[test]
    fn bytes_come_from_binary_data_and_faults_name_the_fix() {
        let map = |value: Value| serde_json::from_value::<ConfigMap>(value).unwrap();
        assert_eq!(
            bytes(map(json!({"binaryData": {"x.o": "AAE="}})), &source())
                .unwrap()
                .as_ref(),
            [0, 1]
        );
        let text = bytes(map(json!({"data": {"x.o": "hello"}})), &source()).unwrap_err();
        assert_eq!(text.reason, ProgramReason::InvalidObject);
        assert!(text.message.contains("--from-file x.o="), "{text}");
        let other = bytes(map(json!({"binaryData": {"y.o": ""}})), &source()).unwrap_err();
        assert_eq!(other.reason, ProgramReason::ConfigMapKeyNotFound);
        assert!(other.message.contains("it has y.o"), "{other}");
        assert!(
            bytes(map(json!({})), &source())
                .unwrap_err()
                .message
                .contains("it is empty")
        );
    }
}
