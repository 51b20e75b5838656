//! Types of the kernel by kind and name: a kernel has a hundred thousand types, an object asks for a few.
//!
//! A name is looked for among the strings first; types are then compared by where their names are, and
//! nobody reads a hundred thousand names.

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
        for (key, id) in own(btf, &left) {
            left.remove(&key);
            found.insert(key, Found { module, id });
        }
    }
    found
}

/// Finds one in the BTF of one module.
pub(crate) fn find_in(btf: &Btf<'_>, kind: Kind, name: &str) -> Option<u32> {
    let wanted = BTreeSet::from([(kind, name.to_owned())]);
    own(btf, &wanted).into_values().next()
}

/// Own types of a BTF that are among those wanted; of several the one with the lowest id.
fn own(btf: &Btf<'_>, wanted: &Wanted) -> BTreeMap<(Kind, String), u32> {
    let mut names: BTreeMap<u32, &str> = BTreeMap::new();
    for name in wanted
        .iter()
        .map(|(_, name)| name.as_str())
        .collect::<BTreeSet<_>>()
    {
        names.extend(places(btf, name).into_iter().map(|at| (at, name)));
    }
    let kinds: BTreeSet<Kind> = wanted.iter().map(|(kind, _)| *kind).collect();
    let mut found = BTreeMap::new();
    for t in btf.types() {
        if kinds.contains(&t.kind())
            && let Some(name) = names.get(&t.name_offset())
        {
            let key = (t.kind(), (*name).to_owned());
            if wanted.contains(&key) {
                found.entry(key).or_insert(t.id());
            }
        }
    }
    found
}

/// Where a name stands among the strings of a BTF and its bases: whole, or as the end of another.
fn places(btf: &Btf<'_>, name: &str) -> Vec<u32> {
    let mut needle = name.as_bytes().to_vec();
    needle.push(0);
    let finder = memchr::memmem::Finder::new(&needle);
    let mut out = Vec::new();
    for (start, strings) in parts(btf) {
        let own = finder.find_iter(strings).filter_map(|at| u32::try_from(at).ok());
        out.extend(own.filter_map(|at| start.checked_add(at)));
    }
    out
}

/// Strings of a BTF and its bases, with the offset at which each begins.
fn parts<'b>(btf: &'b Btf<'_>) -> Vec<(u32, &'b [u8])> {
    let mut all: Vec<&[u8]> = std::iter::successors(Some(btf), |b| b.base())
        .map(Btf::strings)
        .collect();
    all.reverse();
    let mut start = 0u32;
    all.into_iter()
        .map(|strings| {
            let own = start;
            start = start.saturating_add(u32::try_from(strings.len()).unwrap_or(u32::MAX));
            (own, strings)
        })
        .collect()
}
