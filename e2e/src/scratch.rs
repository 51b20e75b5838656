//! A directory that is gone with its owner, mounts inside it included, however the owner ends.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::error::{During, Error, Result};

/// Waits until its standard input ends, which it does when the owner drops its end or dies, then unmounts
/// and removes the directory, and the control groups that were named on the input. Removal is tried again
/// for a while: processes that die with the owner may still be writing.
const JANITOR: &str = r#"
trap '' HUP INT TERM
groups=$(cat)
n=0
left() {
  printf '%s\n' "$groups" | while read -r g; do
    [ ! -d "$g" ] || find "$g" -depth -type d -exec rmdir {} + 2>/dev/null || echo "$g"
  done
}
while :; do
  awk -v d="$1/" 'index($2, d) == 1 {print $2}' /proc/self/mounts | sort -r | while read -r m; do
    umount -l "$(printf '%b' "$m")"
  done
  rm -rf --one-file-system "$1" 2>/dev/null
  groups=$(left)
  [ -e "$1" ] || [ -n "$groups" ] || exit 0
  n=$((n + 1))
  [ $n -lt 100 ] || { echo "$1 could not be removed, or these control groups:" $groups >&2; exit 1; }
  sleep 0.1
done
"#;

/// A directory with a janitor. Dropping it unmounts what is mounted inside and removes it.
pub struct Scratch {
    path: PathBuf,
    janitor: Child,
}

impl Scratch {
    /// A new directory under the system's directory for temporary files.
    pub fn new(name: &str) -> Result<Scratch> {
        let path = tempfile::Builder::new()
            .prefix(&format!("bpfleet-{name}-"))
            .tempdir()
            .during(|| "making a temporary directory")?
            .keep();
        Scratch::watch(path)
    }

    /// A new directory at `path`, which must not exist yet: it will be removed.
    pub fn at(path: &Path) -> Result<Scratch> {
        if let Some(parent) = path.parent() {
            crate::error::make_dir(parent)?;
        }
        std::fs::create_dir(path).during(|| format!("making {}, which must be new", path.display()))?;
        Scratch::watch(std::fs::canonicalize(path).during(|| format!("resolving {}", path.display()))?)
    }

    fn watch(path: PathBuf) -> Result<Scratch> {
        let janitor = Command::new("sh")
            .args(["-c", JANITOR, "bpfleet-janitor"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // A signal from the terminal is for the owner; the janitor comes after it.
            .process_group(0)
            .spawn()
            .during(|| "starting the janitor of a temporary directory")?;
        Ok(Scratch { path, janitor })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Has a control group, which may not exist yet, removed as well, with all groups below it.
    pub fn also_cgroup(&self, group: &Path) -> Result<()> {
        let Some(mut pipe) = self.janitor.stdin.as_ref() else {
            return Ok(());
        };
        writeln!(pipe, "{}", group.display()).during(|| {
            format!(
                "telling the janitor of {} about a control group",
                self.path.display()
            )
        })
    }

    /// A new directory inside.
    pub fn dir(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        crate::error::make_dir(&path)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let problem = match self.janitor.wait() {
            Ok(status) if status.success() => return,
            Ok(status) => Error::Other(format!("its janitor ended with {status}")),
            Err(source) => Error::Io {
                what: "waiting for its janitor".into(),
                source,
            },
        };
        eprintln!("{} was not cleaned up: {problem}", self.path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_scratch_directory_is_gone_with_its_content() {
        let scratch = Scratch::new("test").unwrap();
        let path = scratch.path().to_owned();
        std::fs::write(scratch.dir("a").unwrap().join("b"), "c").unwrap();
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn an_existing_directory_is_never_taken() {
        let taken = Scratch::new("test").unwrap();
        assert!(Scratch::at(taken.path()).is_err());
        assert!(taken.path().exists());
    }
}
