//! What is fetched: a choice among the packages that the suites have now. No version is pinned; the suites
//! drop old ones.

use std::collections::BTreeMap;

/// Which kernels of a suite.
#[derive(Clone, Copy)]
enum Series {
    /// The newest of the lowest series: a stable release's own, where the suite also has newer ones.
    Own,
    /// The newest.
    Newest,
    /// The newest of each series.
    Each,
}

struct Want {
    suite: &'static str,
    arch: &'static str,
    flavour: &'static str,
    series: Series,
    /// Modules too where they are a package of their own. Those that come with the image are taken anyway.
    modules: bool,
}

const fn want(suite: &'static str, arch: &'static str, flavour: &'static str, series: Series) -> Want {
    Want {
        suite,
        arch,
        flavour,
        series,
        modules: false,
    }
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
    Want {
        modules: true,
        ..want("trixie-backports", "amd64", "cloud", Series::Newest)
    },
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

/// What `corpus.sh index` says.
#[derive(Default)]
pub(super) struct Index {
    packages: Vec<Package>,
    /// Suites that the mirror does not have.
    pub gone: Vec<String>,
    /// Suites that could not be read, for what may pass.
    pub silent: Vec<String>,
}

struct Package {
    suite: String,
    name: String,
    version: String,
    arch: String,
    bytes: u64,
}

impl Index {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut index = Self::default();
        for line in text.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                [suite, "gone"] => index.gone.push(suite.into()),
                [suite, "silent"] => index.silent.push(suite.into()),
                [suite, name, version, arch, bytes] => index.packages.push(Package {
                    suite: suite.into(),
                    name: name.into(),
                    version: version.into(),
                    arch: arch.into(),
                    bytes: bytes
                        .parse()
                        .map_err(|e| format!("size {bytes:?} of package {name}: {e}"))?,
                }),
                _ => {
                    return Err(format!(
                        "corpus.sh index printed a line that means nothing here: {line:?}"
                    ));
                }
            }
        }
        Ok(index)
    }

    /// Everything to be had, in a fixed order.
    pub(super) fn plan(&self) -> Vec<Item> {
        let mut items = BTreeMap::new();
        for suite in OBJECTS {
            let newest = self
                .packages
                .iter()
                .rfind(|p| p.suite == *suite && p.name == "libbpf-tools");
            items.extend(newest.map(|p| {
                (
                    format!("objects/{suite}"),
                    item(&format!("objects/{suite}"), &[p]),
                )
            }));
        }
        for want in KERNELS {
            for release in self.releases(want) {
                let place = format!("btf/{}-{release}", want.suite);
                items.insert(place.clone(), item(&place, &self.packages_of(want, release)));
            }
        }
        items.into_values().collect()
    }

    /// The releases a want means; the index has older ones before newer.
    fn releases(&self, want: &Want) -> Vec<&str> {
        let mut newest: BTreeMap<(u32, u32), &str> = BTreeMap::new();
        for package in self
            .packages
            .iter()
            .filter(|p| p.suite == want.suite && p.arch == want.arch)
        {
            if let Some(release) = kernel(&package.name)
                && flavour(release) == want.flavour
                && let Some(series) = series(release)
            {
                newest.insert(series, release);
            }
        }
        match want.series {
            Series::Own => newest.into_values().take(1).collect(),
            Series::Newest => newest.into_values().next_back().into_iter().collect(),
            Series::Each => newest.into_values().collect(),
        }
    }

    /// Since 6.19 the kernel itself is in `linux-binary`, since 7.2 its configuration in `linux-base`.
    fn packages_of(&self, want: &Want, release: &str) -> Vec<&Package> {
        let find = |kind: &str| {
            let name = format!("linux-{kind}-{release}");
            self.packages
                .iter()
                .rfind(|p| p.suite == want.suite && p.arch == want.arch && p.name == name)
        };
        let modules = if want.modules { find("modules") } else { None };
        find("binary")
            .or_else(|| find("image"))
            .into_iter()
            .chain(find("base"))
            .chain(modules)
            .collect()
    }
}

fn item(place: &str, packages: &[&Package]) -> Item {
    Item {
        place: place.into(),
        specs: packages
            .iter()
            .map(|p| format!("{}:{}={}", p.name, p.arch, p.version))
            .collect(),
        bytes: packages.iter().map(|p| p.bytes).sum(),
    }
}

/// `6.1.0-56-cloud-amd64` of `linux-image-6.1.0-56-cloud-amd64`.
fn kernel(package: &str) -> Option<&str> {
    ["linux-image-", "linux-binary-"]
        .iter()
        .find_map(|prefix| package.strip_prefix(prefix))
}

fn flavour(release: &str) -> &str {
    release
        .rsplit('-')
        .nth(1)
        .filter(|part| ["cloud", "rt"].contains(part))
        .unwrap_or("generic")
}

fn series(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests;
