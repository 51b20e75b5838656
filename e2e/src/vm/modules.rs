//! A kernel's modules, and which of them need which. Debian's packages have no `modules.dep`: it is made where they
//! are installed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bpf_oracle::debian::image;

use super::fetch::entries;
use crate::error::{During, Error, Result};

/// The modules of one kernel.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    /// By name, with `_` for `-`.
    files: BTreeMap<String, PathBuf>,
}

/// A module to be loaded, unpacked.
#[derive(Debug)]
pub struct Module {
    /// Its name, with `_` for `-`.
    pub name: String,
    /// The ELF file.
    pub bytes: Vec<u8>,
}

impl Modules {
    /// Reads which there are in a tree `lib/modules/<release>`.
    pub(super) fn read(tree: &Path) -> Result<Modules> {
        let mut modules = Modules::default();
        modules.walk(tree)?;
        Ok(modules)
    }

    fn walk(&mut self, dir: &Path) -> Result<()> {
        for path in entries(dir)? {
            let kind = path
                .symlink_metadata()
                .during(|| format!("reading {}", path.display()))?;
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            if kind.is_dir() {
                self.walk(&path)?;
            } else if let Some((name, _)) = file.split_once(".ko") {
                self.files.insert(normal(name), path);
            }
        }
        Ok(())
    }

    /// Whether there is a module of this name; what is built in is none.
    pub fn has(&self, name: &str) -> bool {
        self.files.contains_key(&normal(name))
    }

    /// Some modules and all that they need, in the order in which they can be loaded. What is no module is left out:
    /// it is built in, or not there.
    pub fn closure(&self, names: &[&str]) -> Result<Vec<Module>> {
        let mut found = Vec::new();
        for name in names {
            self.add(&normal(name), &mut found, 0)?;
        }
        Ok(found)
    }

    fn add(&self, name: &str, found: &mut Vec<Module>, depth: usize) -> Result<()> {
        let Some(path) = self.files.get(name) else {
            return Ok(());
        };
        if found.iter().any(|module| module.name == name) {
            return Ok(());
        }
        if depth > 32 {
            return Err(Error::Other(format!(
                "{} needs modules in a circle",
                path.display()
            )));
        }
        let mut bytes = std::fs::read(path).during(|| format!("reading {}", path.display()))?;
        if !bytes.starts_with(b"\x7fELF") {
            let failed = |error| Error::Other(format!("unpacking {}: {error}", path.display()));
            bytes = image::decompress(&bytes).map_err(failed)?;
        }
        for need in needs(&bytes) {
            self.add(&need, found, depth + 1)?;
        }
        found.push(Module {
            name: name.to_owned(),
            bytes,
        });
        Ok(())
    }
}

/// A module is known by its name with `_`, and its file may be named with `-`.
fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// The `depends=` of a module's `.modinfo`, which is a string among others between zeros.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let rest = module.get(at + KEY.len()..).unwrap_or_default();
    let text = rest.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text)
        .split(',')
        .filter(|name| !name.is_empty())
        .map(normal)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(modules: &[(&str, &str)]) -> (tempfile::TempDir, Modules) {
        let dir = tempfile::tempdir().unwrap();
        for (name, needs) in modules {
            let bytes = format!("\x7fELF\0license=GPL\0depends={needs}\0name={name}\0");
            std::fs::write(dir.path().join(format!("{name}.ko")), bytes).unwrap();
        }
        let read = Modules::read(dir.path()).unwrap();
        (dir, read)
    }

    fn names(modules: &Modules, wanted: &[&str]) -> Vec<String> {
        let closure = modules.closure(wanted).unwrap();
        closure.into_iter().map(|module| module.name).collect()
    }

    #[test]
    fn what_a_module_needs_comes_before_it_and_once() {
        let (_dir, modules) = tree(&[
            ("virtio-net", "net_failover,virtio_ring"),
            ("net_failover", "failover"),
            ("failover", ""),
            ("virtio_ring", "virtio"),
            ("virtio", ""),
        ]);
        let expected = ["failover", "net_failover", "virtio", "virtio_ring", "virtio_net"];
        assert_eq!(names(&modules, &["virtio_net", "virtio", "built_in"]), expected);
        assert!(modules.has("virtio-ring") && !modules.has("built_in"));
    }

    #[test]
    fn a_circle_is_refused() {
        let (_dir, modules) = tree(&[("a", "b"), ("b", "a")]);
        assert!(modules.closure(&["a"]).is_err());
    }
}
