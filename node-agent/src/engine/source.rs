//! Where revisions and objects come from: a cluster, or files.

use std::path::PathBuf;

use bpfleet_crds::{BpfRevisionSpec, revision::RevisionObject};
use futures::future::BoxFuture;

use crate::load::request::Failure;

/// Gives what a revision names.
pub trait Source: Send + Sync {
    /// The revision with this name.
    fn revision<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<BpfRevisionSpec, Failure>>;

    /// A file with the object's bytes. The loader checks its digest again.
    fn object<'a>(&'a self, object: &'a RevisionObject) -> BoxFuture<'a, Result<PathBuf, Failure>>;

    /// Only these revisions are in use; the rest may be forgotten.
    fn retain(&self, revisions: &std::collections::BTreeSet<String>);
}
