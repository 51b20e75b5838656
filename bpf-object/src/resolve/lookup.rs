//! Types of the kernel by kind and name: a kernel has a hundred thousand types, an object asks for a few.
//!
//! A few names are looked for among the strings first; types are then compared by where their names are,
//! and nobody reads a hundred thousand names. For many names, or the few types of a module, whose names
//! may stand among all strings of the kernel, reading the types' names is the shorter way.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

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

/// Finds what one BTF has itself; of several types of one name the one with the lowest id.
pub(crate) fn own(btf: &Btf<'_>, wanted: &Wanted) -> BTreeMap<(Kind, String), u32> {
    let kinds: BTreeSet<Kind> = wanted.iter().map(|(kind, _)| *kind).collect();
    let names: HashSet<&str> = wanted.iter().map(|(_, name)| name.as_str()).collect();
    let places: Option<HashMap<u32, &str>> = search_pays(btf, names.len()).then(|| {
        let of = |name| places(btf, name).into_iter().map(move |at| (at, name));
        names.iter().flat_map(|name| of(*name)).collect()
    });
    let mut found = BTreeMap::new();
    for t in btf.types().filter(|t| kinds.contains(&t.kind())) {
        let name = match &places {
            Some(places) => places.get(&t.name_offset()),
            None => names.get(t.name()),
        };
        if let Some(name) = name {
            let key = (t.kind(), (*name).to_owned());
            if wanted.contains(&key) {
                found.entry(key).or_insert(t.id());
            }
        }
    }
    found
}

/// Whether looking for so many names among all strings is less work than reading the name of each type.
fn search_pays(btf: &Btf<'_>, names: usize) -> bool {
    /// How many bytes are searched in the time in which one type's name is read and looked up.
    const BYTES_PER_TYPE: usize = 512;
    let strings: usize = parts(btf).iter().map(|(_, strings)| strings.len()).sum();
    let types = btf.len().saturating_sub(btf.first_id()) as usize;
    names.saturating_mul(strings) < types.saturating_mul(BYTES_PER_TYPE)
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
