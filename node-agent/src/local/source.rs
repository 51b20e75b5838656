//! Files as the source of revisions and objects.

use std::{collections::BTreeSet, path::PathBuf};

use bpfleet_crds::{BpfRevisionSpec, NodeReason, revision::RevisionObject};
use futures::{FutureExt, future::BoxFuture};

use super::file::LocalProgram;
use crate::{engine::source::Source, load::request::Failure};

/// Programs of files.
pub struct FileSource {
    programs: Vec<LocalProgram>,
}

impl FileSource {
    /// Of these programs.
    pub fn new(programs: Vec<LocalProgram>) -> Self {
        Self { programs }
    }
}

impl Source for FileSource {
    fn revision<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<BpfRevisionSpec, Failure>> {
        let found = self
            .programs
            .iter()
            .find(|program| program.revision == name)
            .map(|program| program.spec.clone());
        let missing = Failure::new(
            NodeReason::RevisionNotFound,
            format!("no file holds revision {name}"),
        );
        async move { found.ok_or(missing) }.boxed()
    }

    fn object<'a>(&'a self, object: &'a RevisionObject) -> BoxFuture<'a, Result<PathBuf, Failure>> {
        let found = self
            .programs
            .iter()
            .find_map(|program| program.objects.get(&object.digest).cloned());
        let missing = Failure::new(
            NodeReason::ArtifactUnavailable,
            format!("no file has digest {}", object.digest),
        );
        async move { found.ok_or(missing) }.boxed()
    }

    fn retain(&self, _revisions: &BTreeSet<String>) {}
}
