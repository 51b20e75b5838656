//! Manifests of images, and the credentials to pull them: what is read from JSON, without I/O.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bpfleet_crds::ProgramReason;
use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;

use super::{extract::Packing, registry::Credentials};
use crate::error::Fault;

/// Largest layer, compressed, in bytes.
pub const MAX_LAYER_BYTES: u64 = 64 << 20;
/// Most layers of an image; the bound of container runtimes is 127.
const MAX_LAYERS: usize = 128;
/// Most architectures of an index: as many as a variant of a revision can have.
const MAX_ARCHITECTURES: usize = 16;
const TITLE: &str = "org.opencontainers.image.title";
const UNPACK: &str = "io.deis.oras.content.unpack";

/// An index or a manifest, as far as it is read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u32,
    #[serde(default)]
    layers: Vec<Layer>,
    #[serde(default)]
    manifests: Option<Vec<Entry>>,
}

/// A layer of a manifest.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: String,
    /// Its size, compressed, in bytes.
    pub size: u64,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// What a layer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A file of this name: a layer of an artifact.
    File(String),
    /// Files, packed.
    Files(Packing),
}

#[derive(Debug, Deserialize)]
struct Entry {
    digest: String,
    platform: Option<Platform>,
}

#[derive(Debug, Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

/// What a reference leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Manifest {
    /// One image.
    Image(Vec<Layer>),
    /// An image for each architecture: architecture and digest.
    Index(Vec<(Option<String>, String)>),
}

impl Layer {
    /// What it holds; none if it is of no use here.
    pub fn content(&self) -> Option<Content> {
        let packing = Packing::of_media_type(&self.media_type);
        match self.annotations.get(TITLE) {
            // Tools give single files the media type of a tar layer, too: the title tells.
            Some(title) if self.annotations.get(UNPACK).is_none_or(|unpack| unpack != "true") => {
                Some(Content::File(title.clone()))
            }
            _ => packing.map(Content::Files),
        }
    }
}

/// Reads an index or a manifest.
///
/// # Errors
/// `InvalidImage`, with what is wrong.
pub fn parse(bytes: &[u8], name: &str) -> Result<Manifest, Fault> {
    let invalid =
        |detail: String| Fault::permanent(ProgramReason::InvalidImage, format!("image {name}: {detail}"));
    let document: Document = serde_json::from_slice(bytes)
        .map_err(|error| invalid(format!("its manifest cannot be read: {error}")))?;
    if document.schema_version != 2 {
        let version = document.schema_version;
        return Err(invalid(format!(
            "its manifest has schema version {version}; push it again with a newer tool"
        )));
    }
    let Some(entries) = document.manifests else {
        return match document.layers {
            layers if layers.is_empty() => Err(invalid("it has no layers".to_owned())),
            layers if layers.len() > MAX_LAYERS => {
                Err(invalid(format!("it has more than {MAX_LAYERS} layers")))
            }
            layers => match layers.iter().find(|layer| layer.size > MAX_LAYER_BYTES) {
                Some(layer) => Err(invalid(format!(
                    "layer {} has {} bytes, more than {} MiB; put the object into an image of its own",
                    layer.digest,
                    layer.size,
                    MAX_LAYER_BYTES >> 20
                ))),
                None => Ok(Manifest::Image(layers)),
            },
        };
    };
    let mut images: Vec<(Option<String>, String)> = Vec::new();
    for entry in entries {
        let architecture = match entry.platform {
            // Attestations and images of other systems.
            Some(platform) if platform.os != "linux" => continue,
            Some(platform) => Some(platform.architecture),
            None => None,
        };
        // The first of several variants of an architecture (arm v6, v7): objects do not differ by these.
        if !images.iter().any(|(known, _)| *known == architecture) {
            images.push((architecture, entry.digest));
        }
    }
    match images.len() {
        0 => Err(invalid("its index has no image for Linux".to_owned())),
        n if n > MAX_ARCHITECTURES => Err(invalid(format!(
            "its index has more than {MAX_ARCHITECTURES} architectures"
        ))),
        _ => Ok(Manifest::Index(images)),
    }
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize)]
struct DockerAuth {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    auth: Option<String>,
}

/// The credentials for a registry in a pull secret; none if it has none for that registry.
///
/// # Errors
/// `InvalidPullSecret`, with what is wrong and how to make one.
pub fn credentials(secret: &Secret, name: &str, registry: &str) -> Result<Option<Credentials>, Fault> {
    const KIND: &str = "kubernetes.io/dockerconfigjson";
    let invalid = |detail: String| {
        let message =
            format!("Secret {name} {detail}; make it with kubectl create secret docker-registry {name} …");
        Fault::transient(ProgramReason::InvalidPullSecret, message)
    };
    if secret.type_.as_deref() != Some(KIND) {
        let kind = secret.type_.as_deref().unwrap_or("Opaque");
        return Err(invalid(format!("is of type {kind}, not {KIND}")));
    }
    let data = secret
        .data
        .as_ref()
        .and_then(|data| data.get(".dockerconfigjson"));
    let data = data.ok_or_else(|| invalid("has no key .dockerconfigjson".to_owned()))?;
    // The error of the parser would show what it could not parse.
    let config: DockerConfig = serde_json::from_slice(&data.0)
        .map_err(|_| invalid("has a .dockerconfigjson that cannot be read".to_owned()))?;
    let host = |key: &str| {
        let key = key.trim_start_matches("https://").trim_start_matches("http://");
        key.split('/').next().unwrap_or(key).to_owned()
    };
    let docker_hub = ["docker.io", "index.docker.io", "registry-1.docker.io"];
    let same = |key: &str| {
        let host = host(key);
        host == registry || (docker_hub.contains(&host.as_str()) && docker_hub.contains(&registry))
    };
    let Some((_, auth)) = config.auths.into_iter().find(|(key, _)| same(key)) else {
        return Ok(None);
    };
    if let Some(encoded) = auth.auth.filter(|auth| !auth.is_empty()) {
        let decoded = BASE64_STANDARD
            .decode(encoded.trim())
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
        let (username, password) =
            pair.ok_or_else(|| invalid(format!("has an auth for {registry} that cannot be read")))?;
        return Ok(Some(Credentials {
            username: username.to_owned(),
            password: password.to_owned(),
        }));
    }
    Ok(Some(Credentials {
        username: auth.username,
        password: auth.password,
    }))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn read(value: &Value) -> Result<Manifest, Fault> {
        parse(value.to_string().as_bytes(), "r/i:t")
    }

    #[test]
    fn an_index_gives_each_architecture_its_image_and_skips_attestations() {
        let platform = |os: &str, architecture: &str| json!({"os": os, "architecture": architecture});
        let index = json!({"schemaVersion": 2, "manifests": [
            {"digest": "sha256:a", "platform": platform("linux", "amd64")},
            {"digest": "sha256:b", "platform": platform("linux", "arm64")},
            {"digest": "sha256:c", "platform": platform("linux", "arm64")},
            {"digest": "sha256:d", "platform": platform("unknown", "unknown")},
            {"digest": "sha256:e", "platform": platform("windows", "amd64")}]});
        let amd = (Some("amd64".to_owned()), "sha256:a".to_owned());
        let arm = (Some("arm64".to_owned()), "sha256:b".to_owned());
        assert_eq!(read(&index).unwrap(), Manifest::Index(vec![amd, arm]));
    }

    #[rstest]
    #[case::no_json(json!("x"), "cannot be read")]
    #[case::old(json!({"schemaVersion": 1}), "schema version 1")]
    #[case::empty(json!({"schemaVersion": 2, "layers": []}), "no layers")]
    #[case::no_linux(json!({"schemaVersion": 2, "manifests": []}), "no image for Linux")]
    #[case::large(json!({"schemaVersion": 2, "layers": [{"digest": "d", "size": MAX_LAYER_BYTES + 1}]}), "more than 64 MiB")]
    fn a_manifest_that_cannot_serve_is_refused(#[case] manifest: Value, #[case] message: &str) {
        let fault = read(&manifest).unwrap_err();
        assert_eq!(fault.reason, ProgramReason::InvalidImage);
        assert!(fault.message.contains(message), "{fault}");
    }

    #[rstest]
    #[case::titled("application/vnd.oci.image.layer.v1.tar", json!({TITLE: "x.o"}), Some(Content::File("x.o".into())))]
    #[case::titled_directory("application/vnd.oci.image.layer.v1.tar+gzip", json!({TITLE: "d", UNPACK: "true"}), Some(Content::Files(Packing::TarGzip)))]
    #[case::image("application/vnd.docker.image.rootfs.diff.tar.gzip", json!({}), Some(Content::Files(Packing::TarGzip)))]
    #[case::other("application/json", json!({}), None)]
    fn a_layer_is_a_file_or_files(
        #[case] media_type: &str,
        #[case] annotations: Value,
        #[case] content: Option<Content>,
    ) {
        let layer = json!({"mediaType": media_type, "digest": "d", "size": 1, "annotations": annotations});
        assert_eq!(serde_json::from_value::<Layer>(layer).unwrap().content(), content);
    }

    fn secret(type_: &str, config: &str) -> Secret {
        let data = BTreeMap::from([(".dockerconfigjson".to_owned(), ByteString(config.into()))]);
        Secret {
            type_: Some(type_.to_owned()),
            data: Some(data),
            ..Secret::default()
        }
    }

    #[rstest]
    #[case::auth(r#"{"auths": {"reg:5000": {"auth": "dTpwOnE="}}}"#, "reg:5000", Some(("u", "p:q")))]
    #[case::fields(r#"{"auths": {"https://reg/v2/": {"username": "u", "password": "p"}}}"#, "reg", Some(("u", "p")))]
    #[case::docker_hub(r#"{"auths": {"https://index.docker.io/v1/": {"auth": "dTpw"}}}"#, "index.docker.io", Some(("u", "p")))]
    #[case::another_registry(r#"{"auths": {"other": {"auth": "dTpw"}}}"#, "reg", None)]
    fn a_pull_secret_is_read(
        #[case] config: &str,
        #[case] registry: &str,
        #[case] expected: Option<(&str, &str)>,
    ) {
        let found = credentials(&secret("kubernetes.io/dockerconfigjson", config), "s", registry).unwrap();
        assert_eq!(
            found.as_ref().map(|c| (c.username.as_str(), c.password.as_str())),
            expected
        );
    }

    #[rstest]
    #[case::type_("Opaque", "{}", "is of type Opaque")]
    #[case::json("kubernetes.io/dockerconfigjson", "not json: hunter2", "cannot be read")]
    #[case::auth(
        "kubernetes.io/dockerconfigjson",
        r#"{"auths": {"reg": {"auth": "hunter2"}}}"#,
        "has an auth for reg"
    )]
    fn a_bad_pull_secret_is_refused_without_showing_it(
        #[case] type_: &str,
        #[case] config: &str,
        #[case] message: &str,
    ) {
        let fault = credentials(&secret(type_, config), "s", "reg").unwrap_err();
        assert_eq!(fault.reason, ProgramReason::InvalidPullSecret);
        assert!(
            fault.message.contains(message) && !fault.message.contains("hunter2"),
            "{fault}"
        );
    }
}
