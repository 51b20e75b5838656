//! Images as the files of an OCI image layout, and that layout as one archive.

use std::collections::{BTreeMap, HashMap};

use oci_spec::{
    distribution::Reference,
    image::{ANNOTATION_REF_NAME, ImageIndexBuilder, MediaType, OciLayoutBuilder, SCHEMA_VERSION},
};

use crate::{
    blob::{BlobError, canonical},
    component::Component,
    image::Index,
    layer::append,
};

/// The name under which containerd keeps an imported image.
pub const ANNOTATION_IMAGE_NAME: &str = "io.containerd.image.name";
/// The file that marks a layout.
pub const MARKER: &str = "oci-layout";
/// The file that lists its images.
pub const INDEX: &str = "index.json";
/// Where its blobs lie.
pub const BLOBS: &str = "blobs/sha256";

/// How images are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    prefix: String,
    tag: String,
}

/// No image can have such a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no image can be called {0:?} ({1}); a prefix is like localhost or registry.example/team, a tag like 0.1.0"
)]
pub struct NameError(String, String);

impl Names {
    /// Names `PREFIX/bpfleet-operator:TAG` and `PREFIX/bpfleet-agent:TAG`.
    ///
    /// # Errors
    /// They would not be names of images.
    pub fn new(prefix: &str, tag: &str) -> Result<Names, NameError> {
        let names = Names {
            prefix: prefix.trim_end_matches('/').to_owned(),
            tag: tag.to_owned(),
        };
        let plain = names.plain(Component::Operator);
        let reference = Reference::try_from(plain.as_str())
            .map_err(|error| NameError(plain.clone(), error.to_string()))?;
        // A tag with a '@' or a prefix with a ':' may still parse, as something else.
        let as_meant = reference.tag() == Some(tag) && reference.digest().is_none();
        if as_meant {
            Ok(names)
        } else {
            Err(NameError(plain, "prefix or tag is not one".to_owned()))
        }
    }

    /// Name and tag without the prefix, by which `skopeo` finds the image in a layout.
    pub fn short(&self, component: Component) -> String {
        format!("{}:{}", component.name(), self.tag)
    }

    /// The whole name as container runtimes write it, with `docker.io` where no registry is named.
    pub fn full(&self, component: Component) -> String {
        let plain = self.plain(component);
        Reference::try_from(plain.as_str()).map_or(plain, |reference| reference.whole())
    }

    fn plain(&self, component: Component) -> String {
        let short = self.short(component);
        if self.prefix.is_empty() {
            short
        } else {
            format!("{}/{short}", self.prefix)
        }
    }
}

/// The files of a layout by their paths in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Path, and content.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Lays out images.
///
/// # Errors
/// None that can be met: every document has been made of valid parts.
pub fn layout(indexes: &[Index], names: &Names) -> Result<Layout, BlobError> {
    let mut files = BTreeMap::new();
    let mut manifests = Vec::new();
    let mut sorted: Vec<&Index> = indexes.iter().collect();
    sorted.sort_by_key(|index| index.component);
    for index in sorted {
        let of_images = index
            .images
            .iter()
            .flat_map(|image| image.blobs.iter().chain([&image.manifest]));
        for blob in of_images.chain([&index.blob]) {
            files.insert(blob_path(&blob.digest()), blob.bytes().to_vec());
        }
        let annotations = HashMap::from([
            (ANNOTATION_REF_NAME.to_owned(), names.short(index.component)),
            (ANNOTATION_IMAGE_NAME.to_owned(), names.full(index.component)),
        ]);
        let mut descriptor = index.blob.descriptor();
        descriptor.set_annotations(Some(annotations));
        manifests.push(descriptor);
    }
    let document = ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests(manifests)
        .build()?;
    let marker = OciLayoutBuilder::default()
        .image_layout_version("1.0.0")
        .build()?;
    files.insert(INDEX.to_owned(), canonical(&document)?);
    files.insert(MARKER.to_owned(), canonical(&marker)?);
    Ok(Layout { files })
}

/// Where a blob lies, by its digest (`sha256:<hex>`).
pub fn blob_path(digest: &str) -> String {
    format!("{BLOBS}/{}", digest.trim_start_matches("sha256:"))
}

impl Layout {
    /// The layout as a tar archive, for `ctr images import` and its like: as deterministic as a layer.
    ///
    /// # Errors
    /// A path is longer than tar can hold; those of a layout are not.
    pub fn archive(&self) -> Result<Vec<u8>, std::io::Error> {
        let mut builder = tar::Builder::new(Vec::new());
        for directory in ["blobs/", "blobs/sha256/"] {
            append(
                &mut builder,
                tar::EntryType::Directory,
                directory,
                (0o755, 0),
                &[],
            )?;
        }
        for (path, bytes) in &self.files {
            append(&mut builder, tar::EntryType::Regular, path, (0o644, 0), bytes)?;
        }
        builder.into_inner()
    }
}
