//! From a variant's object reference to objects by content. A tag is resolved when the reference changes;
//! as long as nothing changed, nothing is read again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bpf_object::ObjectInfo;
use bpfleet_crds::{
    BpfRevision, Digest, ProgramReason,
    object::{ConfigMapSource, ImageSource, ObjectSource},
    revision::{RevisionImage, RevisionObject, RevisionSource},
};
use bytes::Bytes;
use tokio::time::Instant;

use super::{
    config_map, pull,
    retry::{Access, Retry, Step},
};
use crate::{
    artifacts::store::Store,
    error::{Fault, chain},
    index::Index,
    view::ConfigMapView,
};

/// An object by content.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// What the revision says of it.
    pub object: RevisionObject,
    /// Where its bytes can be had again.
    pub source: RevisionSource,
    /// What it holds; none if its bytes have not been read by this process.
    pub info: Option<Arc<ObjectInfo>>,
}

/// The objects of a variant: one, or one for each architecture.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects {
    /// The objects.
    pub objects: Vec<Resolved>,
    /// Set if the place that the BpfProgram names is gone, and what is kept of it is used.
    pub warning: Option<String>,
}

/// What was found for a reference.
#[derive(Debug)]
struct Remembered {
    source: ObjectSource,
    version: Option<String>,
    result: Result<Objects, Fault>,
    retry: Option<Retry>,
}

/// What was found for each reference, by program and variant.
#[derive(Debug, Default)]
pub struct Resolver {
    known: Mutex<HashMap<(String, String), Remembered>>,
}

/// Reads what an object holds, without what takes much room: at most one relocation of each function.
///
/// # Errors
/// `InvalidObject`, with what is wrong with it.
pub fn inspect(bytes: &[u8], place: &str) -> Result<Arc<ObjectInfo>, Fault> {
    let mut info = bpf_object::inspect(bytes)
        .map_err(|error| Fault::permanent(ProgramReason::InvalidObject, format!("{place}: {error}")))?;
    // An object has hundreds; which functions must be relocated is all that is asked of them here.
    info.co_re.retain(|relocation| relocation.kind.needs_target_btf());
    info.co_re.dedup_by(|next, first| next.program == first.program);
    info.co_re.shrink_to_fit();
    Ok(Arc::new(info))
}

impl Resolver {
    /// Forgets a program that is gone.
    pub fn forget(&self, program: &str) {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(name, _), _| name != program);
    }

    /// Remembers what an object holds that was read for another reason.
    pub fn learn(&self, program: &str, digest: Digest, inspected: &Arc<ObjectInfo>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, known) in known.iter_mut().filter(|((name, _), _)| name == program) {
            let objects = known
                .result
                .as_mut()
                .map(|objects| objects.objects.as_mut_slice())
                .unwrap_or_default();
            for resolved in objects
                .iter_mut()
                .filter(|resolved| resolved.object.digest == digest)
            {
                resolved.info = Some(inspected.clone());
            }
        }
    }

    /// When the next attempt is due for a program whose input could not be had.
    pub fn retry_at(&self, program: &str) -> Option<Instant> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .iter()
            .filter(|((name, _), _)| name == program)
            .filter_map(|(_, known)| known.retry.as_ref().map(Retry::at))
            .min()
    }

    /// The objects that a variant's source names. `current` is the revision that nodes shall run now.
    ///
    /// # Errors
    /// Why they cannot be had, the same until something changed or another attempt is due.
    pub async fn resolve(
        &self,
        (program, variant): (&str, &str),
        source: &ObjectSource,
        current: Option<&BpfRevision>,
        store: &Store,
        config_maps: &Index<ConfigMapView>,
    ) -> Result<Objects, Fault> {
        let key = (program.to_owned(), variant.to_owned());
        let version = source
            .config_map
            .as_ref()
            .and_then(|place| config_maps.get(&place.name))
            .map(|map| map.version.clone());
        let (mut before, mut file_changed) = (None, false);
        {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = known.get(&key) {
                file_changed = known.source != *source;
                if known.source == *source && known.version == version {
                    let step = known
                        .retry
                        .as_ref()
                        .map_or(Step::Wait, |retry| retry.step(Instant::now()));
                    if step == Step::Wait {
                        return known.result.clone();
                    }
                    before = known
                        .retry
                        .clone()
                        .map(|retry| (retry, step, known.result.clone()));
                }
            }
        }
        if let (Some((retry, Step::Look, result)), Some(place)) = (&mut before, &source.image) {
            let found = access(place, store).await;
            if !retry.looked(&found, Instant::now()) {
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(known) = known.get_mut(&key) {
                    known.retry = Some(retry.clone());
                }
                return result.clone();
            }
        }
        let mut tried = None;
        let result = match source {
            ObjectSource {
                config_map: Some(place),
                ..
            } => from_config_map(place, version.is_some(), current, store).await,
            ObjectSource {
                image: Some(place), ..
            } => {
                let pinned = current
                    .map(|current| pinned(place, variant, current))
                    .unwrap_or_default();
                match unmoved(place, &pinned, file_changed) {
                    Some(objects) => Ok(objects),
                    None => {
                        let found = access(place, store).await;
                        tried = place.pull_secret.is_some().then(|| found.clone());
                        from_image(place, found, pinned, store).await
                    }
                }
            }
            // The API server's rules let no such source pass.
            ObjectSource { .. } => Err(Fault::permanent(
                ProgramReason::InvalidSpec,
                "set exactly one of object.image and object.configMap",
            )),
        };
        let before = before.map(|(retry, ..)| retry);
        let retry = result
            .as_ref()
            .is_err_and(|fault| fault.retry)
            .then(|| Retry::after(before.as_ref(), program, tried, Instant::now()));
        let remembered = Remembered {
            source: source.clone(),
            version,
            result: result.clone(),
            retry,
        };
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, remembered);
        result
    }
}

async fn from_config_map(
    place: &ConfigMapSource,
    exists: bool,
    current: Option<&BpfRevision>,
    store: &Store,
) -> Result<Objects, Fault> {
    let ConfigMapSource { name, key } = place;
    let read = async {
        let missing = || {
            let message = format!(
                "there is no ConfigMap {name} in bpfleet's namespace; make it with kubectl create configmap {name} --from-file \
                 {key}=OBJECT.bpf.o"
            );
            Fault::permanent(ProgramReason::ConfigMapNotFound, message)
        };
        if !exists {
            return Err(missing());
        }
        let map = config_map::read(store.config_maps(), name).await;
        let map = map.map_err(|error| Fault::transient(ProgramReason::ApiUnavailable, chain(&error)))?;
        config_map::bytes(map.ok_or_else(missing)?, place)
    };
    match read.await {
        Ok(bytes) => {
            let (digest, size_bytes) = (Digest::of(&bytes), bytes.len() as u64);
            let info = inspect(&bytes, &format!("ConfigMap {name}, key {key}"))?;
            store.cache.put(digest, bytes).await;
            let object = RevisionObject {
                architecture: None,
                digest,
                size_bytes,
            };
            let source = RevisionSource {
                digest,
                config_map: Some(config_map::copy_source(digest)),
                copied_from: Some(place.clone()),
                image: None,
            };
            Ok(Objects {
                objects: vec![Resolved {
                    object,
                    source,
                    info: Some(info),
                }],
                warning: None,
            })
        }
        Err(
            fault @ Fault {
                reason: ProgramReason::ConfigMapNotFound | ProgramReason::ConfigMapKeyNotFound,
                ..
            },
        ) => kept(place, current, &fault).ok_or(fault),
        Err(fault) => Err(fault),
    }
}

/// What is kept of a ConfigMap that is gone.
fn kept(place: &ConfigMapSource, current: Option<&BpfRevision>, fault: &Fault) -> Option<Objects> {
    let current = current?;
    let source = current
        .status
        .as_ref()?
        .sources
        .iter()
        .find(|source| source.copied_from.as_ref() == Some(place))?;
    let objects = current.spec.variants.iter().flat_map(|variant| &variant.objects);
    let object = objects
        .into_iter()
        .find(|object| object.digest == source.digest)?;
    let warning = format!("{}; what it held is kept and goes on running", fault.message);
    let resolved = Resolved {
        object: object.clone(),
        source: source.clone(),
        info: None,
    };
    Some(Objects {
        objects: vec![resolved],
        warning: Some(warning),
    })
}

/// What the pull secret of an image gives for its registry.
async fn access(place: &ImageSource, store: &Store) -> Access {
    let reference = pull::parse_reference(&place.reference)?;
    let secret = place.pull_secret.as_ref().map(|secret| secret.name.as_str());
    store.credentials(secret, &reference).await
}

/// The objects of the current revision, if the reference and its file are what they were.
fn unmoved(
    place: &ImageSource,
    pinned: &[(RevisionObject, RevisionImage)],
    file_changed: bool,
) -> Option<Objects> {
    let same_file = |image: &RevisionImage| {
        place
            .file
            .as_ref()
            .map_or(!file_changed, |file| *file == image.file)
    };
    if pinned.is_empty() || !pinned.iter().all(|(_, image)| same_file(image)) {
        return None;
    }
    let objects = pinned.iter().cloned().map(|(object, image)| Resolved {
        source: image_source(
            object.digest,
            RevisionImage {
                pull_secret: place.pull_secret.clone(),
                ..image
            },
        ),
        object,
        info: None,
    });
    Some(Objects {
        objects: objects.collect(),
        warning: None,
    })
}

async fn from_image(
    place: &ImageSource,
    access: Access,
    pinned: Vec<(RevisionObject, RevisionImage)>,
    store: &Store,
) -> Result<Objects, Fault> {
    let credentials = access?;
    let mut pulled = Vec::new();
    if pinned.is_empty() {
        let reference = pull::parse_reference(&place.reference)?;
        pulled = pull::pull(store.registry(), &reference, credentials, place.file.as_deref()).await?;
    } else {
        // The same image, another file of it.
        for (object, image) in pinned {
            let reference = pull::parse_reference(&image.reference)?;
            let credentials = credentials.clone();
            let found = pull::pull(store.registry(), &reference, credentials, place.file.as_deref()).await?;
            pulled.extend(found.into_iter().map(|one| pull::Pulled {
                architecture: object.architecture.clone(),
                ..one
            }));
        }
    }
    let mut objects = Vec::new();
    for one in pulled {
        objects.push(pulled_object(place, one, store).await?);
    }
    // The same object for every architecture is an object for all.
    if let Some(first) = objects.first().cloned()
        && objects
            .iter()
            .all(|other: &Resolved| other.object.digest == first.object.digest)
    {
        let object = RevisionObject {
            architecture: None,
            ..first.object
        };
        objects = vec![Resolved { object, ..first }];
    }
    Ok(Objects {
        objects,
        warning: None,
    })
}

async fn pulled_object(place: &ImageSource, one: pull::Pulled, store: &Store) -> Result<Resolved, Fault> {
    let pull::Pulled {
        architecture,
        reference,
        file,
        bytes,
    }: pull::Pulled = one;
    let info =
        inspect(&bytes, &format!("image {}, file {file}", place.reference)).map_err(|fault| Fault {
            // A tag may be pushed again; what a digest names never changes.
            retry: !place.reference.contains('@'),
            ..fault
        })?;
    let (digest, size_bytes) = (Digest::of(&bytes), Bytes::len(&bytes) as u64);
    store.cache.put(digest, bytes).await;
    let resolved_from = place.reference.clone();
    let image = RevisionImage {
        reference,
        file,
        pull_secret: place.pull_secret.clone(),
        resolved_from,
    };
    let object = RevisionObject {
        architecture,
        digest,
        size_bytes,
    };
    Ok(Resolved {
        object,
        source: image_source(digest, image),
        info: Some(info),
    })
}

fn image_source(digest: Digest, image: RevisionImage) -> RevisionSource {
    RevisionSource {
        digest,
        config_map: None,
        copied_from: None,
        image: Some(image),
    }
}

/// The objects of the current revision that came from this very reference.
fn pinned(place: &ImageSource, variant: &str, current: &BpfRevision) -> Vec<(RevisionObject, RevisionImage)> {
    let sources = current
        .status
        .as_ref()
        .map(|status| status.sources.as_slice())
        .unwrap_or_default();
    let Some(variant) = current.spec.variants.iter().find(|known| known.name == variant) else {
        return Vec::new();
    };
    let image_of = |object: &RevisionObject| {
        let source = sources.iter().find(|source| source.digest == object.digest)?;
        source
            .image
            .clone()
            .filter(|image| image.resolved_from == place.reference)
    };
    let pairs: Option<Vec<_>> = variant
        .objects
        .iter()
        .map(|object| Some((object.clone(), image_of(object)?)))
        .collect();
    pairs.unwrap_or_default()
}

#[cfg(test)]
mod tests;
