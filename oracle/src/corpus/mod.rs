//! eBPF objects and kernel BTF out of Debian's packages, fetched into a cache.
//!
//! `make corpus` fetches them, and so does the first test that wants them. Nothing of them is ever committed;
//! without their directory the then newest are fetched anew.

/// A line for who waits. Not `eprintln`, which tests keep to themselves.
macro_rules! say {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "corpus: {}", format_args!($($arg)*));
    }};
}

mod carve;
mod fetch;
mod make;
mod plan;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What the cache holds.
#[derive(Debug)]
pub struct Corpus {
    /// The eBPF objects of Debian's `libbpf-tools`, by set and name.
    pub objects: Vec<Object>,
    /// Kernels, by name.
    pub kernels: Vec<Kernel>,
}

/// An eBPF object as clang made it, for libbpf.
#[derive(Debug)]
pub struct Object {
    /// `biolatency.bpf.o`.
    pub name: String,
    /// The Debian suite it is from.
    pub set: String,
    /// Where it lies.
    pub path: PathBuf,
}

/// A kernel's BTF, and what belongs to it.
#[derive(Debug)]
pub struct Kernel {
    /// Suite and release: `bookworm-6.1.0-40-cloud-amd64`.
    pub name: String,
    /// What `uname -r` says there: `6.1.0-40-cloud-amd64`.
    pub release: String,
    /// `amd64` or `arm64`.
    pub arch: String,
    /// The kernel's own BTF, as in `/sys/kernel/btf/vmlinux`.
    pub btf: PathBuf,
    /// Its build configuration.
    pub config: Option<PathBuf>,
    /// BTF of some modules by name, which builds upon the kernel's; for some kernels only.
    pub modules: Vec<(String, PathBuf)>,
}

impl Object {
    /// The object itself.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        fs::read(&self.path).map_err(about("reading", &self.path))
    }
}

impl Kernel {
    /// `6.1` of `6.1.0-40-cloud-amd64`.
    pub fn series(&self) -> &str {
        self.release
            .match_indices('.')
            .nth(1)
            .map_or(&self.release, |(at, _)| &self.release[..at])
    }
}

/// Fetches what is missing, by `scripts/corpus.sh`, and waits for others that do. Without a network it takes
/// what is there, if that is enough to compare with.
pub fn ensure() -> Result<Corpus, String> {
    let dir = std::path::absolute(crate::debian::cache("corpus")?)
        .map_err(|e| format!("the current directory: {e}"))?;
    fetch::fill(&dir, || load(&dir).and_then(|corpus| enough(&corpus)))?;
    let corpus = load(&dir)?;
    enough(&corpus)?;
    Ok(corpus)
}

fn enough(corpus: &Corpus) -> Result<(), String> {
    let series: BTreeSet<_> = corpus.kernels.iter().map(Kernel::series).collect();
    if series.len() >= 4 && !corpus.objects.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the test corpus has {} objects and {} kernel versions, which is too little to compare with (at least 4 \
         versions); see that this machine's apt reaches a mirror of Debian, then run `make corpus`",
        corpus.objects.len(),
        series.len()
    ))
}

fn load(dir: &Path) -> Result<Corpus, String> {
    let mut objects = Vec::new();
    for set in entries(&dir.join("objects"))? {
        for path in entries(&set)? {
            objects.push(Object {
                name: name(&path),
                set: name(&set),
                path,
            });
        }
    }
    let kernels = entries(&dir.join("btf"))?
        .iter()
        .map(|path| kernel(path))
        .collect::<Result<_, _>>()?;
    Ok(Corpus { objects, kernels })
}

fn kernel(dir: &Path) -> Result<Kernel, String> {
    let (release, arch) =
        parse(&name(dir)).ok_or_else(|| format!("{}: not the name of a kernel", dir.display()))?;
    let config = dir.join("config");
    let modules = entries(&dir.join("modules"))?
        .into_iter()
        .map(|path| (name(&path), path))
        .collect();
    Ok(Kernel {
        name: name(dir),
        release,
        arch,
        btf: dir.join("vmlinux"),
        config: config.is_file().then_some(config),
        modules,
    })
}

/// Release and architecture of `<suite>-<release>`; no part of a suite's name begins with a digit.
fn parse(name: &str) -> Option<(String, String)> {
    let (at, _) = name
        .match_indices('-')
        .find(|(at, _)| name[at + 1..].starts_with(|c: char| c.is_ascii_digit()))?;
    let release = &name[at + 1..];
    Some((release.into(), release.rsplit_once('-')?.1.into()))
}

/// The paths in a directory in their order; none if it does not exist.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let about = about("reading", dir);
    let read = match fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(&about)?,
    };
    let mut paths = read
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(about)?;
    paths.sort();
    Ok(paths)
}

fn about(what: &str, path: &Path) -> impl Fn(std::io::Error) -> String {
    move |e| format!("{what} {}: {e}", path.display())
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests;
