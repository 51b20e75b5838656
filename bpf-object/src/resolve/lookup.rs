//! Types of the kernel by kind and name, found in one pass over each BTF: a kernel has a hundred thousand
//! types, an object asks for a few.

use std::collections::{BTreeMap, BTreeSet};

use btf::co_re::Targets;
use btf::{Btf, Kind};

/// Where a type was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Index of the module; `None` for the kernel itself.
    pub(crate) module: Option<usize>,
    pub(crate) id: u32,
}

/// What to look for.
pub(crate) type Wanted = BTreeSet<(Kind, String)>;

/// Finds each in the kernel, and what the kernel has not in its modules, in their order.
pub(crate) fn find(targets: Targets<'_>, wanted: &Wanted) -> BTreeMap<(Kind, String), Found> {
    let mut left = wanted.clone();
    let mut found = BTreeMap::new();
    let modules = targets.modules.iter().enumerate().map(|(i, m)| (Some(i), &m.btf));
    for (module, btf) in std::iter::once((None, targets.kernel)).chain(modules) {
        if left.is_empty() {
            break;
        }
        let names = left.iter().map(|(k, n)| (*k, n.as_str())).collect();
        for (key, id) in own(btf, &names) {
            found.entry(key).or_insert(Found { module, id });
        }
        left.retain(|key| !found.contains_key(key));
    }
    found
}

/// Finds one in the BTF of one module.
pub(crate) fn find_in(btf: &Btf<'_>, kind: Kind, name: &str) -> Option<u32> {
    let wanted = BTreeSet::from([(kind, name)]);
    own(btf, &wanted).into_iter().next().map(|(_, id)| id)
}

/// Own types of a BTF that are among those wanted, by id.
fn own(btf: &Btf<'_>, wanted: &BTreeSet<(Kind, &str)>) -> Vec<((Kind, String), u32)> {
    let kinds: BTreeSet<Kind> = wanted.iter().map(|(k, _)| *k).collect();
    btf.types()
        .filter(|t| kinds.contains(&t.kind()))
        .filter(|t| wanted.contains(&(t.kind(), t.name())))
        .map(|t| ((t.kind(), t.name().to_owned()), t.id()))
        .collect()
}
