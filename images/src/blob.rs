//! Bytes with a media type and a digest, and the one form in which JSON is written.

use std::str::FromStr as _;

use oci_spec::image::{Descriptor, MediaType, Sha256Digest};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A blob of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    media_type: MediaType,
    digest: Sha256Digest,
    bytes: Vec<u8>,
}

/// A document could not be written as JSON.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// By serde.
    #[error("a document of the image cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// By oci-spec.
    #[error("a document of the image is not valid: {0}")]
    Oci(#[from] oci_spec::OciSpecError),
}

impl Blob {
    /// Any bytes.
    ///
    /// # Errors
    /// None that can be met: 64 hex digits always are a digest.
    pub fn new(media_type: MediaType, bytes: Vec<u8>) -> Result<Blob, BlobError> {
        let digest = Sha256Digest::from_str(&hex(&bytes))?;
        Ok(Blob {
            media_type,
            digest,
            bytes,
        })
    }

    /// A document, in canonical JSON.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn json(media_type: MediaType, document: &impl Serialize) -> Result<Blob, BlobError> {
        Blob::new(media_type, canonical(document)?)
    }

    /// What refers to it.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(
            self.media_type.clone(),
            self.bytes.len() as u64,
            self.digest.clone(),
        )
    }

    /// `sha256:<hex>`.
    pub fn digest(&self) -> String {
        format!("sha256:{}", self.digest)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// SHA-256 in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// JSON without blanks and with sorted keys. The types of oci-spec keep annotations in hash maps, whose order
/// differs from run to run; without this, so would every digest.
///
/// # Errors
/// The document cannot be written as JSON.
pub fn canonical(document: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&sorted(serde_json::to_value(document)?))
}

/// Sorts by hand, as another crate may turn on the feature by which serde_json keeps the order of insertion.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        Value::Object(map) => {
            let mut pairs: Vec<(String, Value)> =
                map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(pairs.into_iter().collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn json_is_the_same_whatever_the_order_of_a_hash_map() {
        let texts: Vec<Vec<u8>> = (0..20)
            .map(|_| {
                let map: HashMap<String, u32> = (0..20).map(|n| (format!("key{n}"), n)).collect();
                canonical(&serde_json::json!([{"b": map, "a": 1}])).unwrap()
            })
            .collect();
        assert!(texts.iter().all(|text| *text == texts[0]));
        assert!(texts[0].starts_with(br#"[{"a":1,"b":{"key0":0,"key1":1,"key10":10"#));
    }

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        let blob = Blob::new(MediaType::ImageLayer, vec![]).unwrap();
        let known = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(blob.digest(), known);
        assert_eq!(blob.descriptor().digest().to_string(), known);
    }
}
