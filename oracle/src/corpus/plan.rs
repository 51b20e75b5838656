//! What is fetched: a choice among the packages that the suites have now.

use std::collections::BTreeMap;

use crate::debian::{Index, Package, Series, Want};

const fn want(suite: &'static str, arch: &'static str, flavour: &'static str, series: Series) -> Want {
    Want::new(suite, arch, flavour, series)
}

/// The cloud flavour is a third of the generic one, and has the same types but for drivers. arm64's are the
/// smallest, so that the many series come from there.
const KERNELS: &[Want] = &[
    want("bullseye", "amd64", "cloud", Series::Own),
    want("bookworm", "amd64", "generic", Series::Own),
    want("bookworm", "amd64", "cloud", Series::Own),
    want("bookworm", "arm64", "cloud", Series::Own),
    want("bookworm-backports", "amd64", "cloud", Series::Newest),
    want("trixie", "amd64", "cloud", Series::Own),
    want("trixie", "arm64", "cloud", Series::Own),
    want("trixie-backports", "arm64", "cloud", Series::Each),
    want("trixie-backports", "amd64", "generic", Series::Newest),
    want("trixie-backports", "amd64", "cloud", Series::Newest).with_modules(),
    want("trixie-backports", "amd64", "rt", Series::Newest),
    want("forky", "amd64", "cloud", Series::Newest),
    want("sid", "amd64", "generic", Series::Newest),
    want("sid", "amd64", "rt", Series::Newest),
];

/// The suites whose `libbpf-tools` are taken.
const OBJECTS: &[&str] = &["bookworm", "trixie", "sid"];

/// One directory of the corpus, and the packages that it comes out of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// Below the corpus: `btf/<suite>-<release>` or `objects/<suite>`.
    pub place: String,
    /// As `apt-get download` takes them.
    pub specs: Vec<String>,
    pub bytes: u64,
}

/// Everything to be had, in a fixed order.
pub(super) fn plan(index: &Index) -> Vec<Item> {
    let mut items = BTreeMap::new();
    for suite in OBJECTS {
        let place = format!("objects/{suite}");
        let newest = index.newest(suite, "libbpf-tools");
        items.extend(newest.map(|p| (place.clone(), item(&place, &[p]))));
    }
    for want in KERNELS {
        for release in index.releases(want) {
            let place = format!("btf/{}-{release}", want.suite);
            items.insert(place.clone(), item(&place, &index.packages_of(want, release)));
        }
    }
    items.into_values().collect()
}

fn item(place: &str, packages: &[&Package]) -> Item {
    Item {
        place: place.into(),
        specs: packages.iter().map(|p| p.spec()).collect(),
        bytes: packages.iter().map(|p| p.bytes).sum(),
    }
}

#[cfg(test)]
mod tests;
