//! Pulling an object out of an image: manifests, then layer by layer, checked and searched while it streams.

use std::{
    io::{self, Read},
    time::Duration,
};

use bpfleet_crds::{Digest, ProgramReason, object::MAX_OBJECT_BYTES};
use bytes::{Buf as _, Bytes};
use oci_spec::distribution::Reference;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::{
    extract::{ExtractError, Packing, Search, Wanted},
    image::{self, Content, Layer, MAX_LAYER_BYTES, Manifest},
    registry::{Credentials, Registry, RegistryError, Session},
};
use crate::error::Fault;

/// Longest time for one image, whatever the registry does.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Chunks that may wait between the network and the search.
const CHUNKS_IN_FLIGHT: usize = 8;

/// An object from an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The architecture that the index names for it.
    pub architecture: Option<String>,
    /// `repository@sha256:…` of the image's manifest.
    pub reference: String,
    /// The file's name in it.
    pub file: String,
    /// The object.
    pub bytes: Bytes,
}

/// Reads an image reference.
///
/// # Errors
/// `InvalidImageReference`, with what is wrong.
pub fn parse_reference(text: &str) -> Result<Reference, Fault> {
    let invalid = |detail: &str| {
        let message = format!(
            "{text:?} is no image reference: {detail}; write REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@sha256:…"
        );
        Fault::permanent(ProgramReason::InvalidImageReference, message)
    };
    let reference: Reference = text
        .parse()
        .map_err(|error: oci_spec::distribution::ParseError| invalid(&error.to_string()))?;
    let is_name =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '/' | '.' | '_' | '-');
    if !reference.repository().chars().all(is_name) {
        return Err(invalid(
            "a repository's name has lower-case letters, digits and / . _ - only",
        ));
    }
    match reference.digest() {
        Some(digest) if digest.parse::<Digest>().is_err() => Err(invalid("only sha256 digests are taken")),
        _ => Ok(reference),
    }
}

/// Pulls the object that `wanted` names: one for each architecture of an index.
///
/// # Errors
/// Why not, and what to do about it.
pub async fn pull(
    registry: &Registry,
    reference: &Reference,
    credentials: Option<Credentials>,
    file: Option<&str>,
) -> Result<Vec<Pulled>, Fault> {
    let mut session = registry.session(reference, credentials);
    let wanted = Wanted::new(file);
    let pulled = pull_all(&mut session, reference, &wanted);
    let result = tokio::time::timeout(TIMEOUT, pulled).await.unwrap_or_else(|_| {
        let message = format!(
            "pulling {reference} took longer than {} s; trying again",
            TIMEOUT.as_secs()
        );
        Err(Fault::transient(ProgramReason::RegistryUnavailable, message))
    });
    result.map_err(|fault| Fault {
        // What a digest names never changes; a tag may be pushed again.
        retry: fault.retry || reference.digest().is_none(),
        ..fault
    })
}

async fn pull_all(
    session: &mut Session<'_>,
    reference: &Reference,
    wanted: &Wanted,
) -> Result<Vec<Pulled>, Fault> {
    let name = reference.to_string();
    let (manifest, digest) = manifest(
        session,
        &name,
        reference.digest().or(reference.tag()).unwrap_or("latest"),
    )
    .await?;
    let images = match manifest {
        Manifest::Image(layers) => vec![(None, digest, layers)],
        Manifest::Index(entries) => {
            let mut images = Vec::new();
            for (architecture, digest) in entries {
                let child = digest
                    .parse::<Digest>()
                    .map_err(|error| invalid(&name, &error.to_string()))?;
                match self::manifest(session, &name, &digest).await?.0 {
                    Manifest::Image(layers) => images.push((architecture, child, layers)),
                    Manifest::Index(_) => return Err(invalid(&name, "its index names another index")),
                }
            }
            images
        }
    };
    let mut pulled = Vec::new();
    for (architecture, digest, layers) in images {
        let (file, bytes) = object(session, &name, layers, wanted.clone()).await?;
        let reference = format!("{}/{}@{digest}", reference.registry(), reference.repository());
        pulled.push(Pulled {
            architecture,
            reference,
            file,
            bytes,
        });
    }
    Ok(pulled)
}

async fn manifest(
    session: &mut Session<'_>,
    name: &str,
    tag_or_digest: &str,
) -> Result<(Manifest, Digest), Fault> {
    let bytes = session
        .manifest(tag_or_digest)
        .await
        .map_err(|error| fault(session, name, &error))?;
    let digest = Digest::of(&bytes);
    if tag_or_digest.starts_with("sha256:") && tag_or_digest != digest.to_string() {
        return Err(mismatch(
            name,
            &format!("manifest {tag_or_digest}"),
            &digest.to_string(),
        ));
    }
    Ok((image::parse(&bytes, name)?, digest))
}

/// The one object in an image, and its name.
async fn object(
    session: &mut Session<'_>,
    name: &str,
    layers: Vec<Layer>,
    wanted: Wanted,
) -> Result<(String, Bytes), Fault> {
    let mut search = Search::new(wanted.clone());
    let mut titles = Vec::new();
    let mut files = Vec::new();
    for layer in layers.iter().rev() {
        match layer.content() {
            Some(Content::File(title)) => {
                let takes = match &wanted {
                    Wanted::Path(path) => Wanted::new(Some(&title)) == Wanted::Path(path.clone()),
                    Wanted::OnlyObject => title.ends_with(".o"),
                };
                if takes && files.len() < 2 {
                    files.push((title.clone(), raw(session, name, layer).await?));
                }
                titles.push(title);
            }
            Some(Content::Files(packing)) if !search.is_over() && files.is_empty() => {
                search = packed(session, name, layer, packing, search).await?;
            }
            _ => {}
        }
    }
    let (found, mut candidates) = search.finish();
    candidates.append(&mut titles);
    candidates.sort();
    files.extend(found.into_iter().map(|(path, bytes)| (path, Bytes::from(bytes))));
    let mut files = files.into_iter();
    let list = || {
        candidates
            .iter()
            .take(8)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let message = match (files.next(), files.next(), &wanted) {
        (Some(file), None, _) => return Ok(file),
        (Some(_), Some(_), _) => format!(
            "image {name} has several objects; set image.file to one of {}",
            list()
        ),
        (None, _, Wanted::Path(path)) if candidates.is_empty() => {
            format!("image {name} has no file {path}, and no file that ends in .o")
        }
        (None, _, Wanted::Path(path)) => format!("image {name} has no file {path}; it has {}", list()),
        (None, _, Wanted::OnlyObject) if candidates.is_empty() => {
            format!("image {name} has no file that ends in .o; set image.file to the object's path in it")
        }
        (None, _, Wanted::OnlyObject) => {
            format!(
                "image {name} has no file that ends in .o; set image.file to one of {}",
                list()
            )
        }
    };
    Err(Fault::permanent(ProgramReason::ImageFileNotFound, message))
}

/// A layer that is a file.
async fn raw(session: &mut Session<'_>, name: &str, layer: &Layer) -> Result<Bytes, Fault> {
    if layer.size > MAX_OBJECT_BYTES {
        let message = format!(
            "image {name}: the file has {} bytes, more than {} MiB",
            layer.size,
            MAX_OBJECT_BYTES >> 20
        );
        return Err(Fault::permanent(ProgramReason::ObjectTooLarge, message));
    }
    let mut bytes = Vec::new();
    stream(session, name, layer, Sink::Memory(&mut bytes)).await?;
    Ok(bytes.into())
}

/// Searches a packed layer while it streams. What is found counts only if the digest is right.
async fn packed(
    session: &mut Session<'_>,
    name: &str,
    layer: &Layer,
    packing: Packing,
    mut search: Search,
) -> Result<Search, Fault> {
    let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
    let searching = tokio::task::spawn_blocking(move || {
        let result = search.layer(
            Chunks {
                receiver,
                current: Bytes::new(),
            },
            packing,
        );
        (search, result)
    });
    // The search may end before the layer does; the rest is read for the digest.
    let streamed = stream(session, name, layer, Sink::Search(Some(sender))).await;
    let searched = searching.await;
    // A wrong digest explains a layer that cannot be read, not the other way round.
    streamed?;
    match searched {
        Ok((search, Ok(()))) => Ok(search),
        Ok((_, Err(error))) => {
            let reason = match error {
                ExtractError::TooLarge { .. } => ProgramReason::ObjectTooLarge,
                ExtractError::Link { .. } => ProgramReason::ImageFileNotFound,
                _ => ProgramReason::InvalidImage,
            };
            Err(Fault::permanent(
                reason,
                format!("image {name}, layer {}: {error}", layer.digest),
            ))
        }
        Err(_) => Err(invalid(
            name,
            "searching its layer failed unexpectedly; please report this image",
        )),
    }
}

/// Where a layer's bytes go.
enum Sink<'a> {
    /// Into memory.
    Memory(&'a mut Vec<u8>),
    /// To a search, until it has seen enough.
    Search(Option<mpsc::Sender<Bytes>>),
}

impl Sink<'_> {
    async fn take(&mut self, chunk: Bytes) {
        match self {
            Self::Memory(bytes) => bytes.extend_from_slice(&chunk),
            Self::Search(open) => {
                if let Some(sender) = open
                    && sender.send(chunk).await.is_err()
                {
                    *open = None;
                }
            }
        }
    }
}

/// Reads a layer and checks its size and digest.
async fn stream(
    session: &mut Session<'_>,
    name: &str,
    layer: &Layer,
    mut sink: Sink<'_>,
) -> Result<(), Fault> {
    let expected: Digest = layer
        .digest
        .parse()
        .map_err(|_| invalid(name, &format!("layer digest {:?} is not sha256", layer.digest)))?;
    let mut response = session
        .blob(&layer.digest)
        .await
        .map_err(|error| fault(session, name, &error))?;
    let (mut hasher, mut size) = (Sha256::new(), 0u64);
    while let Some(chunk) = session
        .chunk(&mut response)
        .await
        .map_err(|error| fault(session, name, &error))?
    {
        size = size.saturating_add(chunk.len() as u64);
        if size > layer.size.min(MAX_LAYER_BYTES) {
            return Err(mismatch(
                name,
                &format!("layer {expected}"),
                &format!("more than its {} bytes", layer.size),
            ));
        }
        hasher.update(&chunk);
        sink.take(chunk).await;
    }
    let actual = Digest::from_bytes(hasher.finalize().into());
    if actual == expected {
        Ok(())
    } else {
        Err(mismatch(name, &format!("layer {expected}"), &actual.to_string()))
    }
}

/// The chunks of an answer, to be read by a thread.
struct Chunks {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.current = chunk,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        let (into, _) = buffer.split_at_mut(length);
        self.current.copy_to_slice(into);
        Ok(length)
    }
}

fn invalid(name: &str, detail: &str) -> Fault {
    Fault::permanent(ProgramReason::InvalidImage, format!("image {name}: {detail}"))
}

fn mismatch(name: &str, what: &str, actual: &str) -> Fault {
    let message =
        format!("image {name}: {what} arrived as {actual}: the registry or something on the way altered it");
    Fault::transient(ProgramReason::DigestMismatch, message)
}

fn fault(session: &Session<'_>, name: &str, error: &RegistryError) -> Fault {
    let (reason, hint) = match error {
        RegistryError::Unreachable { .. } | RegistryError::BadAnswer { .. } => {
            (ProgramReason::RegistryUnavailable, "trying again".to_owned())
        }
        RegistryError::Denied { .. } if session.has_credentials() => (
            ProgramReason::RegistryDenied,
            "put credentials that may pull it into the Secret that image.pullSecret names".to_owned(),
        ),
        RegistryError::Denied { registry, .. } => (
            ProgramReason::RegistryDenied,
            format!("set image.pullSecret to a Secret that has credentials for {registry}"),
        ),
        RegistryError::NotFound { .. } => (
            ProgramReason::ImageNotFound,
            "push it, or correct image.reference".to_owned(),
        ),
        RegistryError::TooLarge { .. } => (
            ProgramReason::InvalidImage,
            "put the object into an image of its own".to_owned(),
        ),
    };
    Fault::transient(reason, format!("image {name}: {error}; {hint}"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::tag("reg.example:5000/a/b:v1", Some(("reg.example:5000", "a/b", Some("v1"))))]
    #[case::docker_hub("library/x:1", Some(("docker.io", "library/x", Some("1"))))]
    #[case::digest("reg/a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", Some(("docker.io", "reg/a", None)))]
    #[case::upper_case("reg.example/A:v1", None)]
    #[case::upper_case_first("UPPER/case", None)]
    #[case::spaces("a b", None)]
    #[case::short_digest("reg.example/a@sha256:12", None)]
    fn a_reference_is_read_or_refused(
        #[case] text: &str,
        #[case] expected: Option<(&str, &str, Option<&str>)>,
    ) {
        match (parse_reference(text), expected) {
            (Ok(reference), Some((registry, repository, tag))) => {
                assert_eq!(
                    (reference.registry(), reference.repository(), reference.tag()),
                    (registry, repository, tag)
                );
            }
            (Err(fault), None) => {
                assert_eq!(fault.reason, ProgramReason::InvalidImageReference);
                assert!(fault.message.contains("write REGISTRY/REPOSITORY"), "{fault}");
            }
            (other, _) => panic!("{text}: {other:?}"),
        }
    }
}
