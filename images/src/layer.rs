//! A tree as a layer: a tar archive that depends on nothing but the tree and one given time, and its gzip.

use std::io::Write as _;

use flate2::{Compression, GzBuilder};
use oci_spec::image::MediaType;

use crate::{
    blob::{Blob, BlobError, hex},
    tree::{Node, Tree},
};

/// A layer as it is pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The compressed archive.
    pub blob: Blob,
    /// Digest of the archive before compression, by which a config knows it.
    pub diff_id: String,
}

/// Why a layer could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The archive.
    #[error("a layer cannot be written as tar archive: {0}")]
    Archive(#[from] std::io::Error),
    /// The blob.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// Makes a layer in which everything belongs to root and was changed at `epoch` (seconds since 1970).
///
/// # Errors
/// tar cannot hold a path; [`Tree::add`] refuses those.
pub fn layer(tree: &Tree, epoch: u64) -> Result<Layer, LayerError> {
    let tar = archive(tree, epoch)?;
    let diff_id = format!("sha256:{}", hex(&tar));
    // Neither name nor time in the header: both would make equal content differ.
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gzip.write_all(&tar)?;
    let blob = Blob::new(MediaType::ImageLayerGzip, gzip.finish()?)?;
    Ok(Layer { blob, diff_id })
}

fn archive(tree: &Tree, epoch: u64) -> Result<Vec<u8>, std::io::Error> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, node) in tree.entries() {
        match node {
            Node::Directory { mode } => {
                append(&mut builder, tar::EntryType::Directory, path, (*mode, epoch), &[])?;
            }
            Node::File { mode, bytes } => {
                append(&mut builder, tar::EntryType::Regular, path, (*mode, epoch), bytes)?;
            }
        }
    }
    builder.into_inner()
}

/// Appends one entry with every field of its header given; nothing is read from a file system.
pub(crate) fn append(
    builder: &mut tar::Builder<Vec<u8>>,
    kind: tar::EntryType,
    path: &str,
    (mode, epoch): (u32, u64),
    bytes: &[u8],
) -> Result<(), std::io::Error> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(epoch);
    header.set_size(bytes.len() as u64);
    builder.append_data(&mut header, path, bytes)
}
