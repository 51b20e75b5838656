//! Trees as an image for one platform, and images as an index.

use std::collections::HashMap;

use oci_spec::image::{
    ANNOTATION_CREATED, ANNOTATION_DESCRIPTION, ANNOTATION_LICENSES, ANNOTATION_TITLE, ANNOTATION_VERSION,
    ConfigBuilder, Descriptor, DescriptorBuilder, ImageConfigurationBuilder, ImageIndexBuilder,
    ImageManifestBuilder, MediaType, Os, PlatformBuilder, RootFsBuilder, SCHEMA_VERSION,
};

use crate::{
    blob::{Blob, BlobError},
    component::{Component, Input, MAX_BYTES, Platform},
    layer::{LayerError, layer},
    tree::PathError,
};

/// What stands in an image besides files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Version of bpfleet.
    pub version: String,
    /// SPDX expression.
    pub licenses: String,
    /// Time of everything in it, in seconds since 1970.
    pub epoch: u64,
}

/// An image for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its platform.
    pub platform: Platform,
    /// Refers to the other blobs.
    pub manifest: Blob,
    /// Config and layers.
    pub blobs: Vec<Blob>,
    /// Sum of its files' sizes.
    pub unpacked: u64,
}

/// The image of a component for all platforms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Of what.
    pub component: Component,
    /// Refers to the images.
    pub blob: Blob,
    /// One a platform, sorted.
    pub images: Vec<Image>,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// More than an image may have.
    #[error(
        "{name} for {platform} is {size} bytes uncompressed, and may have {MAX_BYTES}: find what made the \
         program grow (cargo tree --edges features), or raise MAX_BYTES in images/src/component.rs and say why",
        name = .0.name(), platform = .1.name(), size = .2
    )]
    TooLarge(Component, Platform, u64),
    /// Its time has no date.
    #[error("{0} seconds since 1970 is no date; correct SOURCE_DATE_EPOCH")]
    Epoch(u64),
    /// Two images of one platform.
    #[error("there are two images of {name} for {platform}; give one", name = .0.name(), platform = .1.name())]
    Twice(Component, Platform),
    /// A path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A layer.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A document.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl From<oci_spec::OciSpecError> for ImageError {
    fn from(error: oci_spec::OciSpecError) -> Self {
        ImageError::Blob(error.into())
    }
}

/// Makes the image of a component for one platform.
///
/// # Errors
/// It is too large, or the time is no date.
pub fn image(
    component: Component,
    platform: Platform,
    input: &Input<'_>,
    about: &About,
) -> Result<Image, ImageError> {
    let trees = [component.base(input)?, component.program(input)?];
    let unpacked = trees.iter().map(crate::tree::Tree::size).sum();
    if unpacked > MAX_BYTES {
        return Err(ImageError::TooLarge(component, platform, unpacked));
    }
    let filled = trees.iter().filter(|tree| tree.entries().next().is_some());
    let layers = filled
        .map(|tree| layer(tree, about.epoch))
        .collect::<Result<Vec<_>, _>>()?;

    let created = date(about.epoch)?;
    let config = ConfigBuilder::default()
        .user(component.user())
        .entrypoint(vec![component.entrypoint()])
        .working_dir("/")
        .labels(labels(component, about)?)
        .build()?;
    let ids: Vec<String> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
    let config = ImageConfigurationBuilder::default()
        .created(created)
        .architecture(platform.arch())
        .os(Os::Linux)
        .config(config)
        .rootfs(RootFsBuilder::default().diff_ids(ids).build()?)
        .build()?;
    let config = Blob::json(MediaType::ImageConfig, &config)?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .config(config.descriptor())
        .layers(
            layers
                .iter()
                .map(|layer| layer.blob.descriptor())
                .collect::<Vec<_>>(),
        )
        .build()?;
    let manifest = Blob::json(MediaType::ImageManifest, &manifest)?;
    let mut blobs = vec![config];
    blobs.extend(layers.into_iter().map(|layer| layer.blob));
    Ok(Image {
        platform,
        manifest,
        blobs,
        unpacked,
    })
}

/// Joins the images of a component, in whatever order they come.
///
/// # Errors
/// There are two for a platform.
pub fn index(component: Component, mut images: Vec<Image>, about: &About) -> Result<Index, ImageError> {
    images.sort_by_key(|image| image.platform);
    if let Some(pair) = images
        .windows(2)
        .find(|pair| pair[0].platform == pair[1].platform)
    {
        return Err(ImageError::Twice(component, pair[0].platform));
    }
    let manifests = images
        .iter()
        .map(platform_descriptor)
        .collect::<Result<Vec<_>, _>>()?;
    let document = ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests(manifests)
        .annotations(labels(component, about)?)
        .build()?;
    let blob = Blob::json(MediaType::ImageIndex, &document)?;
    Ok(Index {
        component,
        blob,
        images,
    })
}

fn platform_descriptor(image: &Image) -> Result<Descriptor, ImageError> {
    let platform = PlatformBuilder::default()
        .architecture(image.platform.arch())
        .os(Os::Linux);
    let descriptor = image.manifest.descriptor();
    Ok(DescriptorBuilder::default()
        .media_type(descriptor.media_type().clone())
        .digest(descriptor.digest().clone())
        .size(descriptor.size())
        .platform(platform.build()?)
        .build()?)
}

fn labels(component: Component, about: &About) -> Result<HashMap<String, String>, ImageError> {
    let pairs = [
        (ANNOTATION_TITLE, component.name().to_owned()),
        (ANNOTATION_DESCRIPTION, component.description().to_owned()),
        (ANNOTATION_VERSION, about.version.clone()),
        (ANNOTATION_LICENSES, about.licenses.clone()),
        (ANNOTATION_CREATED, date(about.epoch)?),
    ];
    Ok(pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect())
}

fn date(epoch: u64) -> Result<String, ImageError> {
    let seconds = i64::try_from(epoch).map_err(|_| ImageError::Epoch(epoch))?;
    let date = jiff::Timestamp::from_second(seconds).map_err(|_| ImageError::Epoch(epoch))?;
    Ok(date.to_string())
}
