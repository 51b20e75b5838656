//! The part of a kubelet that projects a ConfigMap into a directory and keeps it up to date.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use kube::runtime::watcher::watch_object;

use crate::cluster::Cluster;
use crate::error::{During, Result, make_dir};

/// After a broken watch, for example while the API server is away.
const RETRY: Duration = Duration::from_millis(300);

/// An optional ConfigMap volume: an empty directory while there is no ConfigMap.
pub struct Projection {
    task: tokio::task::JoinHandle<()>,
}

impl Projection {
    /// Follows a ConfigMap of the cluster's namespace from now on.
    pub fn start(cluster: &Cluster, config_map: &str, dir: &Path) -> Result<Projection> {
        make_dir(dir)?;
        let api: Api<ConfigMap> = Api::namespaced(cluster.client(), cluster.namespace());
        let (name, dir) = (config_map.to_owned(), dir.to_owned());
        Ok(Projection {
            task: cluster.plane().client().spawn(follow(api, name, dir)),
        })
    }
}

impl Drop for Projection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(api: Api<ConfigMap>, name: String, dir: PathBuf) {
    let mut states = std::pin::pin!(watch_object(api, &name));
    let mut generation = 0_u64;
    while let Some(state) = states.next().await {
        let Ok(state) = state else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        generation += 1;
        if let Err(error) = write(&dir, generation, &content(state.unwrap_or_default())) {
            eprintln!("projecting ConfigMap {name}: {error}");
        }
    }
}

/// Keys and bytes, text and binary alike.
fn content(map: ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let text = map
        .data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.into_bytes()));
    let binary = map
        .binary_data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.0));
    text.chain(binary).collect()
}

/// Writes the files the way a kubelet does: into a new directory, which a renamed link makes current, so
/// that a reader never sees keys of two generations.
fn write(dir: &Path, generation: u64, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    let current = format!("..{generation}");
    let (link, new_link) = (dir.join("..data"), dir.join("..data_tmp"));
    let old = std::fs::read_link(&link).ok();
    make_dir(&dir.join(&current))?;
    for (key, value) in files {
        let path = dir.join(&current).join(key);
        std::fs::write(&path, value).during(|| format!("writing {}", path.display()))?;
    }
    symlink(&current, &new_link).during(|| format!("linking {}", new_link.display()))?;
    std::fs::rename(&new_link, &link).during(|| format!("renaming to {}", link.display()))?;
    for key in files.keys().filter(|key| !dir.join(key).is_symlink()) {
        symlink(Path::new("..data").join(key), dir.join(key)).during(|| format!("linking {key}"))?;
    }
    for stale in stale_links(dir, files.keys().collect())? {
        std::fs::remove_file(&stale).during(|| format!("removing {}", stale.display()))?;
    }
    if let Some(old) = old.filter(|old| old.as_os_str() != current.as_str()) {
        std::fs::remove_dir_all(dir.join(&old)).during(|| format!("removing {}", old.display()))?;
    }
    Ok(())
}

fn stale_links(dir: &Path, keys: BTreeSet<&String>) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).during(|| format!("listing {}", dir.display()))?;
    let stale = |name: &str| !name.starts_with("..") && !keys.contains(&name.to_owned());
    Ok(entries
        .flatten()
        .filter(|entry| stale(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn each_generation_replaces_the_keys_of_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 1, &files(&[("a", "1"), ("b", "1")])).unwrap();
        write(dir.path(), 2, &files(&[("a", "2"), ("c", "2")])).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("a")).unwrap(), "2");
        assert_eq!(std::fs::read_to_string(dir.path().join("c")).unwrap(), "2");
        assert!(!dir.path().join("b").is_symlink() && !dir.path().join("..1").exists());
        write(dir.path(), 3, &files(&[])).unwrap();
        assert!(!dir.path().join("a").exists());
    }
}
