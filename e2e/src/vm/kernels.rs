//! The kernels that nodes may run, as data.

use bpf_oracle::debian::{Series, Want};

use crate::error::{Error, Result};

/// A kernel by what it is, not by its version: the newest that fits is looked up when it is fetched.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// How it is called, also as a Node: a DNS label.
    pub name: &'static str,
    /// What is special about it, for people.
    pub about: &'static str,
    /// Where it comes from.
    pub origin: Origin,
    /// VERSION_ID of the Debian release that it belongs to; testing and unstable have none.
    pub os_version: Option<&'static str>,
    /// Whether it carries BTF.
    pub btf: bool,
    /// Whether every run of the tests takes it.
    pub quick: bool,
}

/// Where a kernel comes from.
#[derive(Clone, Copy, Debug)]
pub enum Origin {
    /// Debian's package: the newest of these.
    Debian(&'static [Want]),
    /// Built from Debian's `linux-source-SERIES` in a suite, with the configuration in `no-btf.config`.
    Built {
        /// `bullseye`.
        suite: &'static str,
        /// `linux-source-5.10`.
        package: &'static str,
    },
}

const fn debian(suite: &'static str, flavour: &'static str, series: Series) -> Want {
    Want::new(suite, "amd64", flavour, series).with_modules()
}

/// Every kernel. The cloud flavour boots in half the time of the generic one, and lacks drivers only.
pub const TABLE: &[Spec] = &[
    Spec {
        name: "v5-10",
        about: "Debian 11: no bpf LSM, perf-based hooks end with the agent",
        origin: Origin::Debian(&[debian("bullseye", "cloud", Series::Own)]),
        os_version: Some("11"),
        btf: true,
        quick: true,
    },
    Spec {
        name: "v5-10-no-btf",
        about: "Debian 11's source, built without CONFIG_DEBUG_INFO_BTF; nothing is a module",
        origin: Origin::Built {
            suite: "bullseye",
            package: "linux-source-5.10",
        },
        os_version: Some("11"),
        btf: false,
        quick: true,
    },
    Spec {
        name: "v6-1",
        about: "Debian 12",
        origin: Origin::Debian(&[debian("bookworm", "cloud", Series::Own)]),
        os_version: Some("12"),
        btf: true,
        quick: true,
    },
    Spec {
        name: "v6-1-generic",
        about: "Debian 12's kernel for any machine",
        origin: Origin::Debian(&[debian("bookworm", "generic", Series::Own)]),
        os_version: Some("12"),
        btf: true,
        quick: false,
    },
    Spec {
        name: "v6-12",
        about: "Debian 13",
        origin: Origin::Debian(&[debian("trixie", "cloud", Series::Own)]),
        os_version: Some("13"),
        btf: true,
        quick: false,
    },
    Spec {
        name: "backports",
        about: "Debian 13's backports: the oldest series that they still have",
        origin: Origin::Debian(&[debian("trixie-backports", "cloud", Series::Own)]),
        os_version: Some("13"),
        btf: true,
        quick: false,
    },
    Spec {
        name: "forky",
        about: "Debian's testing",
        origin: Origin::Debian(&[debian("forky", "cloud", Series::Newest)]),
        os_version: None,
        btf: true,
        quick: false,
    },
    Spec {
        name: "newest",
        about: "the newest that any of Debian's suites has",
        origin: Origin::Debian(&[
            debian("sid", "cloud", Series::Newest),
            debian("forky", "cloud", Series::Newest),
            debian("trixie-backports", "cloud", Series::Newest),
        ]),
        os_version: None,
        btf: true,
        quick: true,
    },
];

/// The kernel of this name.
pub fn find(name: &str) -> Result<&'static Spec> {
    let known = || {
        let names: Vec<_> = TABLE.iter().map(|spec| spec.name).collect();
        Error::Other(format!(
            "there is no kernel {name:?}; there are {}",
            names.join(", ")
        ))
    };
    TABLE.iter().find(|spec| spec.name == name).ok_or_else(known)
}

/// The kernels that every run of the tests takes.
pub fn quick_matrix() -> Vec<&'static Spec> {
    TABLE.iter().filter(|spec| spec.quick).collect()
}

/// The kernels to test on: with `BPFLEET_VM=all` every one, else [`quick_matrix`].
pub fn matrix() -> Result<Vec<&'static Spec>> {
    chosen(std::env::var("BPFLEET_VM").ok().as_deref())
}

fn chosen(said: Option<&str>) -> Result<Vec<&'static Spec>> {
    match said {
        None | Some("" | "quick") => Ok(quick_matrix()),
        Some("all") => Ok(TABLE.iter().collect()),
        Some(names) => names.split(',').map(find).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(said: Option<&str>) -> Vec<&'static str> {
        chosen(said).unwrap().iter().map(|spec| spec.name).collect()
    }

    #[test]
    fn names_are_unique_and_can_be_those_of_nodes() {
        let names: BTreeSet<_> = TABLE.iter().map(|spec| spec.name).collect();
        assert_eq!(names.len(), TABLE.len());
        let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(names.iter().all(|name| name.chars().all(label)), "{names:?}");
    }

    #[test]
    fn the_environment_chooses_the_kernels() {
        assert_eq!(names(None), ["v5-10", "v5-10-no-btf", "v6-1", "newest"]);
        assert_eq!(names(Some("")), names(None));
        assert_eq!(names(Some("all")).len(), TABLE.len());
        assert_eq!(names(Some("v6-12,v5-10")), ["v6-12", "v5-10"]);
        let said = chosen(Some("v9")).unwrap_err().to_string();
        assert!(said.contains("\"v9\"") && said.contains("v6-12"), "{said}");
    }
}
