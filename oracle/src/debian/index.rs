//! Which packages Debian's suites have now, and which of them make a kernel. No version is pinned; the suites drop
//! old ones.

use std::collections::BTreeMap;

/// Which kernels of a suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Series {
    /// The newest of the lowest series: a stable release's own, where the suite also has newer ones.
    Own,
    /// The newest.
    Newest,
    /// The newest of each series.
    Each,
}

/// A choice among a suite's kernels.
#[derive(Clone, Copy, Debug)]
pub struct Want {
    /// `bookworm`, without `-security`.
    pub suite: &'static str,
    /// `amd64` or `arm64`.
    pub arch: &'static str,
    /// `cloud`, `rt` or `generic`.
    pub flavour: &'static str,
    /// Which of them.
    pub series: Series,
    /// Modules too where they are a package of their own. Those that come with the image are taken anyway.
    pub modules: bool,
}

impl Want {
    /// A choice without the modules that are a package of their own.
    pub const fn new(suite: &'static str, arch: &'static str, flavour: &'static str, series: Series) -> Self {
        Want {
            suite,
            arch,
            flavour,
            series,
            modules: false,
        }
    }

    /// The same with them.
    pub const fn with_modules(self) -> Self {
        Want {
            modules: true,
            ..self
        }
    }
}

/// What `debian.sh index` says.
#[derive(Debug, Default)]
pub struct Index {
    packages: Vec<Package>,
    /// Suites that the mirror does not have.
    pub gone: Vec<String>,
    /// Suites that could not be read, for what may pass.
    pub silent: Vec<String>,
}

/// A package that a suite has.
#[derive(Debug)]
pub struct Package {
    suite: String,
    name: String,
    version: String,
    arch: String,
    /// What its archive weighs.
    pub bytes: u64,
}

impl Package {
    /// As `apt-get download` takes it.
    pub fn spec(&self) -> String {
        format!("{}:{}={}", self.name, self.arch, self.version)
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }
}

impl Index {
    /// Reads it.
    pub fn parse(text: &str) -> Result<Self, String> {
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
                        "debian.sh index printed a line that means nothing here: {line:?}"
                    ));
                }
            }
        }
        Ok(index)
    }

    /// The newest package of this name in a suite.
    pub fn newest(&self, suite: &str, name: &str) -> Option<&Package> {
        self.packages.iter().rfind(|p| p.suite == suite && p.name == name)
    }

    /// The releases a want means; the index has older ones before newer.
    pub fn releases(&self, want: &Want) -> Vec<&str> {
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
    pub fn packages_of(&self, want: &Want, release: &str) -> Vec<&Package> {
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

/// `(6, 1)` of `6.1.0-56-cloud-amd64`.
pub fn series(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flavours_are_told_by_the_release() {
        for (release, expected) in [
            ("6.1.0-56-amd64", "generic"),
            ("6.1.0-56-rt-amd64", "rt"),
            ("7.3.4+deb13-cloud-arm64", "cloud"),
        ] {
            assert_eq!(flavour(release), expected, "{release}");
        }
    }

    #[test]
    fn suites_that_did_not_answer_are_known_and_nonsense_is_refused() {
        let index = Index::parse("sid silent\nbullseye-security gone\n").unwrap();
        assert_eq!(
            (&index.silent[..], &index.gone[..]),
            (&["sid".to_owned()][..], &["bullseye-security".to_owned()][..])
        );
        assert!(Index::parse("what is this\n").is_err());
    }
}
