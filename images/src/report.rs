//! What is in a layout: every digest is computed again, every layer unpacked, and the result is a small table.

use std::{collections::HashMap, io::Read as _};

use flate2::read::GzDecoder;
use oci_spec::image::{ANNOTATION_REF_NAME, Descriptor, ImageConfiguration, ImageIndex, ImageManifest};
use serde::de::DeserializeOwned;

use crate::{
    blob::hex,
    component::MAX_BYTES,
    layout::{ANNOTATION_IMAGE_NAME, INDEX, Layout, blob_path},
};

/// Longest layer that is unpacked: an image and the headers of its archive.
const MAX_TAR: u64 = MAX_BYTES + (1 << 20);

/// An image of a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Name without the prefix, by which `skopeo` finds it.
    pub short: String,
    /// The whole name.
    pub full: String,
    /// Digest of its index.
    pub digest: String,
    /// One a platform.
    pub platforms: Vec<PlatformRow>,
}

/// An image for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformRow {
    /// `amd64` or `arm64`.
    pub name: String,
    /// Digest of its manifest.
    pub digest: String,
    /// Sum of the layers, as they are transferred.
    pub packed: u64,
    /// Sum of the files, as they lie on a node.
    pub unpacked: u64,
}

/// What is wrong with a layout.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file is not there.
    #[error("{0} is missing in it")]
    Missing(String),
    /// Other bytes than expected.
    #[error("{0} has other content than its digest or size says")]
    Damaged(String),
    /// Not the document it should be.
    #[error("{0} is not what it should be: {1}")]
    Document(String, String),
}

/// Lists and checks the images of a layout.
///
/// # Errors
/// The layout is damaged, or is none that this program made.
pub fn rows(layout: &Layout) -> Result<Vec<Row>, ReportError> {
    let top: ImageIndex = document(INDEX, file(layout, INDEX)?)?;
    let mut rows = Vec::new();
    for descriptor in top.manifests() {
        let index: ImageIndex = document(descriptor.digest().as_ref(), blob(layout, descriptor)?)?;
        let name = |key: &str| annotation(descriptor.annotations().as_ref(), key);
        let mut platforms = Vec::new();
        for descriptor in index.manifests() {
            platforms.push(platform(layout, descriptor)?);
        }
        rows.push(Row {
            short: name(ANNOTATION_REF_NAME)?,
            full: name(ANNOTATION_IMAGE_NAME)?,
            digest: descriptor.digest().to_string(),
            platforms,
        });
    }
    Ok(rows)
}

fn platform(layout: &Layout, descriptor: &Descriptor) -> Result<PlatformRow, ReportError> {
    let name = descriptor.digest().to_string();
    let manifest: ImageManifest = document(&name, blob(layout, descriptor)?)?;
    let config = manifest.config();
    let config: ImageConfiguration = document(config.digest().as_ref(), blob(layout, config)?)?;
    let ids = config.rootfs().diff_ids();
    if ids.len() != manifest.layers().len() {
        let why = "config and manifest count layers differently".to_owned();
        return Err(ReportError::Document(name, why));
    }
    let (mut packed, mut unpacked) = (0, 0);
    for (layer, id) in manifest.layers().iter().zip(ids) {
        packed += layer.size();
        unpacked += unpack(layer.digest().as_ref(), blob(layout, layer)?, id)?;
    }
    Ok(PlatformRow {
        name: config.architecture().to_string(),
        digest: name,
        packed,
        unpacked,
    })
}

/// Unpacks a layer in memory and returns the sum of its files' sizes.
fn unpack(name: &str, bytes: &[u8], id: &str) -> Result<u64, ReportError> {
    let wrong = |error: std::io::Error| ReportError::Document(name.to_owned(), error.to_string());
    let mut tar = Vec::new();
    let mut reader = GzDecoder::new(bytes).take(MAX_TAR);
    reader.read_to_end(&mut tar).map_err(wrong)?;
    if format!("sha256:{}", hex(&tar)) != id {
        return Err(ReportError::Damaged(name.to_owned()));
    }
    let mut sum = 0_u64;
    for entry in tar::Archive::new(tar.as_slice()).entries().map_err(wrong)? {
        sum = sum.saturating_add(entry.map_err(wrong)?.size());
    }
    Ok(sum)
}

fn file<'a>(layout: &'a Layout, path: &str) -> Result<&'a [u8], ReportError> {
    let found = layout.files.get(path);
    found
        .map(Vec::as_slice)
        .ok_or_else(|| ReportError::Missing(path.to_owned()))
}

fn blob<'a>(layout: &'a Layout, descriptor: &Descriptor) -> Result<&'a [u8], ReportError> {
    let path = blob_path(descriptor.digest().as_ref());
    let bytes = file(layout, &path)?;
    let expected = Some(hex(bytes));
    if descriptor.as_digest_sha256() == expected.as_deref() && descriptor.size() == bytes.len() as u64 {
        Ok(bytes)
    } else {
        Err(ReportError::Damaged(path))
    }
}

fn document<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, ReportError> {
    serde_json::from_slice(bytes).map_err(|error| ReportError::Document(name.to_owned(), error.to_string()))
}

fn annotation(annotations: Option<&HashMap<String, String>>, key: &str) -> Result<String, ReportError> {
    let value = annotations.and_then(|annotations| annotations.get(key));
    let missing = || ReportError::Document(INDEX.to_owned(), format!("an image has no annotation {key}"));
    value.cloned().ok_or_else(missing)
}

/// The rows for people.
pub fn table(rows: &[Row]) -> String {
    let mut lines = vec![[
        "IMAGE".to_owned(),
        "PLATFORM".to_owned(),
        "UNPACKED".to_owned(),
        "PACKED".to_owned(),
        "DIGEST".to_owned(),
    ]];
    for row in rows {
        let (empty, all) = (String::new(), "(index)".to_owned());
        lines.push([row.full.clone(), all, empty.clone(), empty, row.digest.clone()]);
        for platform in &row.platforms {
            lines.push([
                String::new(),
                platform.name.clone(),
                mebibytes(platform.unpacked),
                mebibytes(platform.packed),
                platform.digest.clone(),
            ]);
        }
    }
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..4).map(width).collect();
    let mut text = String::new();
    for [name, platform, unpacked, packed, digest] in &lines {
        let line = format!(
            "{name:0$}  {platform:1$}  {unpacked:>2$}  {packed:>3$}  {digest}\n",
            widths[0], widths[1], widths[2], widths[3]
        );
        text.push_str(&line);
    }
    text
}

/// A size with two digits after the point, rounded up so that no limit seems to be kept that is not.
fn mebibytes(bytes: u64) -> String {
    let hundredths = bytes.saturating_mul(100).div_ceil(1 << 20);
    format!("{}.{:02} MiB", hundredths / 100, hundredths % 100)
}
