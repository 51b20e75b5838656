//! Kernels in the cache: fetched or built once, by one process at a time, and there as a whole or not at all.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bpf_oracle::debian::{self, Archive, Index, Package};

use super::build;
use super::kernels::{Origin, Spec};
use super::modules::Modules;
use crate::error::{During, Error, Result, make_dir};

/// How what is in the cache was made. Another number makes it anew.
const RECIPE: &str = "1";
/// File that says how it was made.
const STAMP: &str = "made";
const TRIES: usize = 3;

/// What is unpacked of a kernel's packages.
const GLOBS: &[&str] = &["./boot/*", "./lib/modules/*", "./usr/lib/modules/*"];

/// A kernel that can be booted.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What it is.
    pub spec: &'static Spec,
    /// `uname -r`.
    pub release: String,
    /// What QEMU loads.
    pub image: PathBuf,
    /// Its build configuration.
    pub config: PathBuf,
    /// Its symbols, where its package has them.
    pub system_map: Option<PathBuf>,
    /// All its modules.
    pub modules: Modules,
}

/// Kernels of the table, fetched and built as far as they are not in the cache.
pub fn ensure(specs: &[&'static Spec]) -> Result<Vec<Kernel>> {
    if !cfg!(target_arch = "x86_64") {
        let why = "guests are amd64 machines, and run this machine's own programs: use an amd64 machine";
        return Err(Error::infrastructure(why));
    }
    let cache = debian::cache("vm").map_err(Error::Other)?;
    let cache = std::path::absolute(&cache).during(|| format!("resolving {}", cache.display()))?;
    fill(&cache, specs).map_err(|error| Error::infrastructure(format!("a kernel is missing: {error}")))?;
    specs
        .iter()
        .map(|spec| {
            open(&cache, spec)
                .map_err(|error| Error::infrastructure(format!("kernel {}: {error}", spec.name)))
        })
        .collect()
}

/// The kernel as it is in the cache, if it is.
pub fn cached(spec: &'static Spec) -> Result<Option<Kernel>> {
    let cache = debian::cache("vm").map_err(Error::Other)?;
    if missing(&cache, &[spec]).is_empty() {
        open(&cache, spec).map(Some)
    } else {
        Ok(None)
    }
}

fn fill(cache: &Path, specs: &[&'static Spec]) -> Result<()> {
    if missing(cache, specs).is_empty() {
        return Ok(());
    }
    make_dir(cache)?;
    let path = cache.join(".lock");
    let lock = fs::File::create(&path).during(|| format!("opening {}", path.display()))?;
    if lock.try_lock().is_err() {
        eprintln!("vm: waiting for another process that fetches kernels");
        lock.lock().during(|| format!("locking {}", path.display()))?;
    }
    let mut missing = missing(cache, specs);
    if missing.is_empty() {
        return Ok(());
    }
    // What takes minutes comes last.
    missing.sort_by_key(|spec| matches!(spec.origin, Origin::Built { .. }));
    let stage = cache.join(".stage");
    remove(&stage)?;
    let made = Archive::open(&stage.join("apt"))
        .map_err(Error::Other)
        .and_then(|(archive, index)| {
            missing
                .iter()
                .try_for_each(|spec| make(cache, &stage, &archive, &index, spec))
        });
    let removed = remove(&stage);
    made.and(removed)
}

fn missing(cache: &Path, specs: &[&'static Spec]) -> Vec<&'static Spec> {
    let made = |spec: &Spec| fs::read_to_string(cache.join(spec.name).join(STAMP));
    specs
        .iter()
        .copied()
        .filter(|spec| !made(spec).is_ok_and(|stamp| stamp.lines().next() == Some(&*recipe(spec))))
        .collect()
}

/// What a kernel is made by: another choice or configuration makes it anew.
fn recipe(spec: &Spec) -> String {
    let config = match spec.origin {
        Origin::Debian(_) => String::new(),
        Origin::Built { .. } => format!(" {}", build::config_digest()),
    };
    format!("{RECIPE} {:?}{config}", spec.origin)
}

/// Makes one kernel beside its place and renames it there.
fn make(cache: &Path, stage: &Path, archive: &Archive, index: &Index, spec: &Spec) -> Result<()> {
    let started = Instant::now();
    let packages = packages(index, spec)?;
    let specs: Vec<_> = packages.iter().map(|package| package.spec()).collect();
    let bytes: u64 = packages.iter().map(|package| package.bytes).sum();
    eprintln!("vm: fetching kernel {} ({} MB)", spec.name, bytes / 1_000_000);
    let raw = stage.join(spec.name);
    let globs: &[&str] = match spec.origin {
        Origin::Debian(_) => GLOBS,
        Origin::Built { .. } => build::GLOBS,
    };
    let globs: Vec<_> = globs.iter().map(ToString::to_string).collect();
    retried(|| {
        remove(&raw)?;
        archive.unpack(&raw, &globs, &specs).map_err(Error::Other)
    })?;
    if let Origin::Built { package, .. } = spec.origin {
        build::build(&raw, package)?;
    }
    let stamp = format!("{}\n{}\n", recipe(spec), specs.join("\n"));
    crate::error::write_file(&raw.join(STAMP), stamp)?;
    open_at(&raw, spec_of(spec)?)?;
    let place = cache.join(spec.name);
    remove(&place)?;
    fs::rename(&raw, &place).during(|| format!("renaming to {}", place.display()))?;
    eprintln!(
        "vm: kernel {} is there after {:.0} s",
        spec.name,
        started.elapsed().as_secs_f32()
    );
    Ok(())
}

fn spec_of(spec: &Spec) -> Result<&'static Spec> {
    super::kernels::find(spec.name)
}

fn packages<'i>(index: &'i Index, spec: &Spec) -> Result<Vec<&'i Package>> {
    let found = match spec.origin {
        Origin::Debian(wants) => {
            let newest = wants
                .iter()
                .flat_map(|want| {
                    let releases = index.releases(want).into_iter();
                    releases.map(move |release| (debian::series(release), want, release))
                })
                .max_by_key(|(series, ..)| *series);
            newest.map(|(_, want, release)| index.packages_of(want, release))
        }
        Origin::Built { suite, package } => index.newest(suite, package).map(|package| vec![package]),
    };
    found.ok_or_else(|| {
        Error::Other(format!(
            "Debian's package lists have none for {} (suites that could not be read: {}; that the mirror lacks: {}); \
             try again, or see what scripts/debian.sh said above",
            spec.name,
            index.silent.join(" "),
            index.gone.join(" ")
        ))
    })
}

fn open(cache: &Path, spec: &'static Spec) -> Result<Kernel> {
    open_at(&cache.join(spec.name), spec)
}

/// Finds the parts where the packages of older and newer kernels have them.
fn open_at(dir: &Path, spec: &'static Spec) -> Result<Kernel> {
    let modules_root = ["lib/modules", "usr/lib/modules"]
        .map(|path| dir.join(path))
        .into_iter()
        .find(|path| path.is_dir())
        .ok_or_else(|| Error::Other(format!("{} has no lib/modules", dir.display())))?;
    let tree = entries(&modules_root)?
        .into_iter()
        .find(|path| path.is_dir())
        .ok_or_else(|| Error::Other(format!("{} holds no modules", modules_root.display())))?;
    let release = tree
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let find = |kind: &str| {
        [dir.join(format!("boot/{kind}-{release}")), tree.join(kind)]
            .into_iter()
            .find(|path| path.is_file())
    };
    let need = |kind: &str| {
        find(kind).ok_or_else(|| Error::Other(format!("{} has no {kind} of {release}", dir.display())))
    };
    Ok(Kernel {
        spec,
        image: need("vmlinuz")?,
        config: need("config")?,
        system_map: find("System.map"),
        modules: Modules::read(&tree)?,
        release,
    })
}

fn retried(attempt: impl Fn() -> Result<()>) -> Result<()> {
    let mut result = attempt();
    for _ in 1..TRIES {
        if result.is_ok() {
            break;
        }
        result = attempt();
    }
    result
}

/// Removes a directory if it is there.
fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).during(|| format!("removing {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// The paths in a directory in their order.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let about = || format!("listing {}", dir.display());
    let read = fs::read_dir(dir).during(about)?;
    let mut paths = read
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .during(about)?;
    paths.sort();
    Ok(paths)
}
