//! Where everything of one program lies in bpffs.
//!
//! ```text
//! <root>/<program>/maps/<map>                 public: the current revision's maps, under stable paths
//! <root>/<program>/iters/<hook>               public: reading one runs the iterator
//! <root>/<program>/revisions/<revision>/      complete revisions: everything in them is attached
//!                     programs/<program>  maps/<map>  variant-<name>/  notes/<n>
//!                     hooks/<hook>/program            the program of the hook
//!                     hooks/<hook>/link-<n>           a link of the kernel; or, where it has none:
//!                     hooks/<hook>/<record>/          an empty directory whose name says what is attached
//!                     hooks/<hook>/watched            what it was attached to, as the text of a symbolic link
//! <root>/<program>/loading/<revision>/        being made; what a crash left here is removed
//! <root>/<program>/held/xdp-<ifindex>-<flags> XDP links, which one revision hands to the next
//! ```
//!
//! Records are directories so that they live exactly as long as what they speak of: until reboot.

use std::path::{Path, PathBuf};

use crate::escape::{NameTooLong, escape};

/// The paths of one program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramDir(PathBuf);

/// The paths of one revision, complete or being made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionDir(PathBuf);

impl ProgramDir {
    /// Of the program with this name.
    pub fn new(root: &Path, program: &str) -> Result<Self, NameTooLong> {
        Ok(Self(root.join(escape(program)?)))
    }

    /// At this path.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Public maps.
    pub fn maps(&self) -> PathBuf {
        self.0.join("maps")
    }

    /// Public iterators.
    pub fn iters(&self) -> PathBuf {
        self.0.join("iters")
    }

    /// Complete revisions.
    pub fn revisions(&self) -> PathBuf {
        self.0.join("revisions")
    }

    /// One complete revision.
    pub fn revision(&self, revision: &str) -> Result<RevisionDir, NameTooLong> {
        Ok(RevisionDir(self.revisions().join(escape(revision)?)))
    }

    /// Revisions being made, and superseded ones being removed.
    pub fn loading(&self) -> PathBuf {
        self.0.join("loading")
    }

    /// One revision being made.
    pub fn loading_revision(&self, revision: &str) -> Result<RevisionDir, NameTooLong> {
        Ok(RevisionDir(self.loading().join(escape(revision)?)))
    }

    /// Where a complete revision goes that is replaced by itself, until it is removed.
    pub fn retired_revision(&self, revision: &str) -> Result<RevisionDir, NameTooLong> {
        Ok(RevisionDir(
            self.loading().join(format!("{}~", escape(revision)?)),
        ))
    }

    /// Links that one revision hands to the next.
    pub fn held(&self) -> PathBuf {
        self.0.join("held")
    }
}

impl RevisionDir {
    /// At this path.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Pinned programs.
    pub fn programs(&self) -> PathBuf {
        self.0.join("programs")
    }

    /// Pinned maps.
    pub fn maps(&self) -> PathBuf {
        self.0.join("maps")
    }

    /// Hooks.
    pub fn hooks(&self) -> PathBuf {
        self.0.join("hooks")
    }

    /// One hook.
    pub fn hook(&self, hook: &str) -> Result<PathBuf, NameTooLong> {
        Ok(self.hooks().join(escape(hook)?))
    }

    /// The pin of one map.
    pub fn map(&self, map: &str) -> Result<PathBuf, NameTooLong> {
        Ok(self.maps().join(escape(map)?))
    }

    /// The pin of one program.
    pub fn program(&self, program: &str) -> Result<PathBuf, NameTooLong> {
        Ok(self.programs().join(escape(program)?))
    }

    /// Why it runs as it does.
    pub fn notes(&self) -> PathBuf {
        self.0.join("notes")
    }

    /// The mark that names the variant.
    pub fn variant(&self, variant: &str) -> Result<PathBuf, NameTooLong> {
        Ok(self.0.join(format!("variant-{}", escape(variant)?)))
    }
}
