//! What the operator remembers of the API: one small value per object, kept up to date by a watch.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use futures::{Stream, StreamExt as _};
use kube::{ResourceExt, runtime::watcher};
use tokio::sync::watch;

/// A value and the version of the object it was read from.
#[derive(Debug)]
struct Entry<V> {
    version: Option<String>,
    value: Arc<V>,
}

/// Values by the name of their object.
#[derive(Debug)]
pub struct Index<V> {
    entries: RwLock<HashMap<String, Entry<V>>>,
    synced: watch::Sender<bool>,
}

impl<V> Default for Index<V> {
    fn default() -> Self {
        Self {
            entries: RwLock::default(),
            synced: watch::Sender::new(false),
        }
    }
}

impl<V: PartialEq> Index<V> {
    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<Arc<V>> {
        self.read().get(name).map(|entry| entry.value.clone())
    }

    /// The value of this name, and the resourceVersion of the object as last seen.
    pub fn get_versioned(&self, name: &str) -> Option<(Arc<V>, Option<String>)> {
        self.read()
            .get(name)
            .map(|entry| (entry.value.clone(), entry.version.clone()))
    }

    /// All values, in no order.
    pub fn list(&self) -> Vec<Arc<V>> {
        self.read().values().map(|entry| entry.value.clone()).collect()
    }

    /// All names, in no order.
    pub fn names(&self) -> Vec<String> {
        self.read().keys().cloned().collect()
    }

    /// Whether all objects have been seen once.
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Returns once all objects have been seen.
    pub async fn wait_synced(&self) {
        // The sender lives as long as self.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Takes in what the API server answered to a write, so that the next look does not see the time
    /// before. Only replaces: an object that is deleted meanwhile must not come back.
    pub fn refresh(&self, name: &str, version: Option<String>, value: V) {
        let mut entries = self.write();
        if let Some(entry) = entries.get_mut(name)
            && !is_older(version.as_deref(), entry.version.as_deref())
        {
            *entry = Entry {
                version,
                value: Arc::new(value),
            };
        }
    }

    fn put(&self, name: &str, version: Option<String>, value: V) -> Change<V> {
        let mut entries = self.write();
        if let Some(entry) = entries.get_mut(name) {
            if is_older(version.as_deref(), entry.version.as_deref()) {
                return Change::none();
            }
            entry.version = version;
            if *entry.value == value {
                return Change::none();
            }
            let value = Arc::new(value);
            let old = std::mem::replace(&mut entry.value, value.clone());
            return Change {
                old: Some(old),
                new: Some(value),
            };
        }
        let value = Arc::new(value);
        entries.insert(
            name.to_owned(),
            Entry {
                version,
                value: value.clone(),
            },
        );
        Change {
            old: None,
            new: Some(value),
        }
    }

    fn remove(&self, name: &str) -> Change<V> {
        Change {
            old: self.write().remove(name).map(|entry| entry.value),
            new: None,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Entry<V>>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Entry<V>>> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of one value.
#[derive(Debug)]
pub struct Change<V> {
    /// Before.
    pub old: Option<Arc<V>>,
    /// Now.
    pub new: Option<Arc<V>>,
}

impl<V> Change<V> {
    fn none() -> Self {
        Self { old: None, new: None }
    }

    fn is_none(&self) -> bool {
        self.old.is_none() && self.new.is_none()
    }
}

/// Versions of one kind are numbers that grow; what cannot be compared counts as newer.
fn is_older(version: Option<&str>, than: Option<&str>) -> bool {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
    matches!((number(version), number(than)), (Some(a), Some(b)) if a < b)
}

/// Keeps an index up to date from a watch. `project` makes the value of an object, or none if the object is
/// of no interest; `changed` hears of every value that came, went or became another.
pub async fn follow<K, V>(
    index: &Index<V>,
    stream: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>>,
    kind: &str,
    project: impl Fn(K) -> Option<V>,
    changed: impl Fn(&str, &Change<V>),
) where
    K: ResourceExt,
    V: PartialEq,
{
    let mut stream = std::pin::pin!(stream);
    let mut listed: Option<HashMap<String, ()>> = None;
    let apply = |object: K| {
        let (name, version) = (object.name_any(), object.resource_version());
        let change = match project(object) {
            Some(value) => index.put(&name, version, value),
            None => index.remove(&name),
        };
        if !change.is_none() {
            changed(&name, &change);
        }
        name
    };
    while let Some(event) = stream.next().await {
        match event {
            Ok(watcher::Event::Init) => listed = Some(HashMap::new()),
            Ok(watcher::Event::InitApply(object)) => {
                let name = apply(object);
                if let Some(listed) = &mut listed {
                    listed.insert(name, ());
                }
            }
            Ok(watcher::Event::InitDone) => {
                // Objects that were deleted while no watch was open.
                for name in index.names() {
                    if listed.as_ref().is_some_and(|listed| !listed.contains_key(&name)) {
                        let change = index.remove(&name);
                        changed(&name, &change);
                    }
                }
                listed = None;
                index.synced.send_replace(true);
            }
            Ok(watcher::Event::Apply(object)) => {
                apply(object);
            }
            Ok(watcher::Event::Delete(object)) => {
                let name = object.name_any();
                let change = index.remove(&name);
                if !change.is_none() {
                    changed(&name, &change);
                }
            }
            Err(error) => {
                tracing::warn!(kind, error = %crate::error::chain(&error), "watch interrupted; trying again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;

    use super::*;

    fn object(name: &str, version: u64) -> ConfigMap {
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            resource_version: Some(version.to_string()),
            generation: Some((version / 10) as i64),
            ..ObjectMeta::default()
        };
        ConfigMap {
            metadata,
            ..ConfigMap::default()
        }
    }

    async fn feed(index: &Index<i64>, events: Vec<watcher::Event<ConfigMap>>) -> Vec<String> {
        let log = RefCell::new(Vec::new());
        let stream = futures::stream::iter(events.into_iter().map(Ok));
        follow(
            index,
            stream,
            "ConfigMap",
            |object| object.metadata.generation,
            |name, change| {
                log.borrow_mut().push(format!(
                    "{name}:{:?}>{:?}",
                    change.old.as_deref(),
                    change.new.as_deref()
                ));
            },
        )
        .await;
        log.into_inner()
    }

    #[tokio::test]
    async fn a_relist_removes_what_was_deleted_meanwhile_and_reports_only_changes() {
        use watcher::Event::{Apply, Init, InitApply, InitDone};
        let index = Index::default();
        assert!(!index.is_synced());
        let log = feed(
            &index,
            vec![
                Init,
                InitApply(object("a", 10)),
                InitApply(object("b", 20)),
                InitDone,
            ],
        )
        .await;
        assert_eq!(log, ["a:None>Some(1)", "b:None>Some(2)"]);
        assert!(index.is_synced());
        let log = feed(
            &index,
            vec![Init, InitApply(object("b", 21)), InitDone, Apply(object("b", 30))],
        )
        .await;
        assert_eq!(log, ["a:Some(1)>None", "b:Some(2)>Some(3)"]);
    }

    #[tokio::test]
    async fn an_older_version_does_not_undo_a_write() {
        let index = Index::default();
        feed(&index, vec![watcher::Event::Apply(object("a", 10))]).await;
        index.refresh("a", Some("40".to_owned()), 4);
        assert!(
            feed(&index, vec![watcher::Event::Apply(object("a", 30))])
                .await
                .is_empty()
        );
        assert_eq!(index.get("a").as_deref(), Some(&4));
        index.refresh("gone", Some("50".to_owned()), 5);
        assert_eq!(index.get("gone"), None);
    }
}
