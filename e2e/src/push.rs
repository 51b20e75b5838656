//! Pushes what tests need into a [`Registry`]: OCI artifacts, images and indexes.

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::{During, Error, Result};
use crate::registry::{PASSWORD, Registry, USER};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A layer to push, or the content of one already pushed.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Annotations of its descriptor, as (name, value).
    pub annotations: Vec<(String, String)>,
}

impl Layer {
    /// A file as it is, titled as ORAS does it.
    pub fn file(name: &str, bytes: &[u8]) -> Layer {
        Layer {
            media_type: "application/octet-stream".into(),
            bytes: bytes.to_vec(),
            annotations: vec![("org.opencontainers.image.title".into(), name.into())],
        }
    }

    /// A tar archive of files, as image layers are.
    pub fn tar(files: &[(&str, &[u8])]) -> Result<Layer> {
        let media_type = "application/vnd.oci.image.layer.v1.tar".into();
        Ok(Layer {
            media_type,
            bytes: tar(files)?,
            annotations: Vec::new(),
        })
    }

    /// A gzipped tar archive of files.
    pub fn tar_gzip(files: &[(&str, &[u8])]) -> Result<Layer> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        std::io::Write::write_all(&mut gzip, &tar(files)?).during(|| "compressing a layer")?;
        let bytes = gzip.finish().during(|| "compressing a layer")?;
        let media_type = "application/vnd.oci.image.layer.v1.tar+gzip".into();
        Ok(Layer {
            media_type,
            bytes,
            annotations: Vec::new(),
        })
    }
}

impl Registry {
    /// Pushes an artifact (empty config, `artifactType`) and returns its manifest's digest.
    pub fn push_artifact(&self, repository: &str, tag: &str, layers: &[Layer]) -> Result<String> {
        let config = ("application/vnd.oci.empty.v1+json", b"{}".as_slice());
        self.push(
            repository,
            tag,
            config,
            Some("application/vnd.bpfleet.test"),
            layers,
        )
    }

    /// Pushes an image for one architecture (Go's name for it: `amd64`) and returns its manifest's digest.
    pub fn push_image(
        &self,
        repository: &str,
        tag: &str,
        architecture: &str,
        layers: &[Layer],
    ) -> Result<String> {
        let ids: Vec<String> = layers.iter().map(|layer| digest(&layer.bytes)).collect();
        let rootfs = json!({"type": "layers", "diff_ids": ids});
        let config = json!({"architecture": architecture, "os": "linux", "rootfs": rootfs}).to_string();
        self.push(
            repository,
            tag,
            ("application/vnd.oci.image.config.v1+json", config.as_bytes()),
            None,
            layers,
        )
    }

    /// Pushes an index of images pushed before, as (architecture, manifest digest), and returns its digest.
    pub fn push_index(&self, repository: &str, tag: &str, images: &[(&str, &str)]) -> Result<String> {
        let mut manifests = Vec::new();
        for (architecture, digest) in images {
            let file = self.blob_file(digest);
            let size = std::fs::metadata(&file)
                .during(|| format!("finding manifest {}", file.display()))?
                .len();
            let platform = json!({"architecture": architecture, "os": "linux"});
            manifests
                .push(json!({"mediaType": MANIFEST, "digest": digest, "size": size, "platform": platform}));
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        self.push_manifest(repository, tag, INDEX, index.to_string().into_bytes())
    }

    /// Pushes a manifest of any content and returns its digest; the registry checks that its blobs exist.
    pub fn push_manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Result<String> {
        let pushed = digest(&bytes);
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.host());
        let request = self.http.put(&url).header("content-type", media_type).body(bytes);
        self.send(request, &format!("PUT {url}"))?;
        Ok(pushed)
    }

    /// Pushes a blob and returns its digest.
    pub fn push_blob(&self, repository: &str, bytes: &[u8]) -> Result<String> {
        let pushed = digest(bytes);
        let start = format!("http://{}/v2/{repository}/blobs/uploads/", self.host());
        let answer = self.send(self.http.post(&start), &format!("POST {start}"))?;
        let place = answer
            .headers()
            .get("location")
            .and_then(|value| value.to_str().ok());
        let place = place.ok_or_else(|| Error::Other(format!("POST {start}: no Location in the answer")))?;
        let join = if place.contains('?') { '&' } else { '?' };
        let url = format!("{place}{join}digest={pushed}");
        let request = self
            .http
            .put(&url)
            .header("content-type", "application/octet-stream")
            .body(bytes.to_vec());
        self.send(request, &format!("PUT {url}"))?;
        Ok(pushed)
    }

    fn push(
        &self,
        repository: &str,
        tag: &str,
        (config_type, config): (&str, &[u8]),
        artifact_type: Option<&str>,
        layers: &[Layer],
    ) -> Result<String> {
        let descriptor = |media_type: &str, bytes: &[u8]| {
            let digest = self.push_blob(repository, bytes)?;
            Ok::<_, Error>(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
        };
        let mut described = Vec::new();
        for layer in layers {
            let mut value = descriptor(&layer.media_type, &layer.bytes)?;
            let annotations = layer
                .annotations
                .iter()
                .map(|(name, value)| (name.clone(), json!(value)));
            insert(&mut value, "annotations", Value::Object(annotations.collect()));
            described.push(value);
        }
        let config = descriptor(config_type, config)?;
        let mut manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": described});
        if let Some(artifact_type) = artifact_type {
            insert(&mut manifest, "artifactType", json!(artifact_type));
        }
        self.push_manifest(repository, tag, MANIFEST, manifest.to_string().into_bytes())
    }

    fn send(&self, request: reqwest::RequestBuilder, what: &str) -> Result<reqwest::Response> {
        let request = if self.auth {
            request.basic_auth(USER, Some(PASSWORD))
        } else {
            request
        };
        self.runtime.block_on(async {
            let answer = request.send().await.during(|| what)?;
            let status = answer.status();
            if status.is_success() {
                return Ok(answer);
            }
            let body = answer.text().await.unwrap_or_default();
            Err(Error::Other(format!(
                "{what}: the registry answers {status}: {body}"
            )))
        })
    }
}

/// `sha256:<hex>` of some bytes.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

fn insert(object: &mut Value, name: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(name.into(), value);
    }
}

fn tar(files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, name, *bytes)
            .during(|| format!("adding {name} to a layer"))?;
    }
    archive.into_inner().during(|| "finishing a layer")
}
