//! Packages of Debian's suites: which there are, and what is in them. `scripts/debian.sh` asks apt; nothing of this
//! machine's own apt is changed.

pub mod image;
mod index;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use index::{Index, Package, Series, Want, series};

/// apt's lists in a directory of their own.
#[derive(Clone, Debug)]
pub struct Archive {
    dir: PathBuf,
}

impl Archive {
    /// Reads the package lists into `dir`.
    pub fn open(dir: &Path) -> Result<(Self, Index), String> {
        let index = Index::parse(&script(["index".as_ref(), dir.as_os_str()])?)?;
        Ok((Self { dir: dir.into() }, index))
    }

    /// Unpacks what `globs` name of some packages (see [`Package::spec`]) into a directory.
    pub fn unpack(&self, into: &Path, globs: &[String], specs: &[String]) -> Result<(), String> {
        let args = [OsStr::new("unpack"), self.dir.as_os_str(), into.as_os_str()];
        let globs = globs.iter().map(OsStr::new);
        let specs = specs.iter().map(OsStr::new);
        script(args.into_iter().chain(globs).chain(["--".as_ref()]).chain(specs)).map(drop)
    }
}

/// A directory of the cache, where `scripts/lib.sh` has it.
pub fn cache(name: &str) -> Result<PathBuf, String> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    set("BPFLEET_CACHE")
        .or_else(|| set("XDG_CACHE_HOME"))
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("bpfleet").join(name))
        .ok_or_else(|| "no place for what is fetched: set BPFLEET_CACHE or HOME".into())
}

/// What `scripts/debian.sh` prints. What it says goes where this process's own messages go.
fn script<'a>(args: impl IntoIterator<Item = &'a OsStr>) -> Result<String, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/debian.sh");
    let mut command = Command::new(script);
    command.args(args).stdin(Stdio::null()).stderr(Stdio::inherit());
    let out = command.output().map_err(|e| format!("running {script}: {e}"))?;
    if !out.status.success() {
        return Err(format!(
            "scripts/debian.sh {} failed ({}), see above",
            command.get_args().next().unwrap_or_default().display(),
            out.status
        ));
    }
    String::from_utf8(out.stdout).map_err(|e| format!("what scripts/debian.sh printed: {e}"))
}
