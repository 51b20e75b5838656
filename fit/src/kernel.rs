//! Versions of the kernel and ranges of them.

use std::{fmt, str::FromStr};

/// A version of the kernel as programs see it in `LINUX_VERSION_CODE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    numbers: [u32; 3],
}

impl KernelVersion {
    /// `major.minor.patch`.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self {
            numbers: [major, minor, patch],
        }
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl FromStr for KernelVersion {
    type Err = String;

    /// One to three numbers; what follows them, as in `6.1.0-18-amd64`, is passed over.
    fn from_str(text: &str) -> Result<Self, String> {
        let (numbers, count) = numbers(text);
        if count == 0 {
            return Err(format!("{text:?} is no kernel version, as in 5.10 or 6.1.115"));
        }
        Ok(Self { numbers })
    }
}

/// The numbers that a text begins with, and how many there are.
fn numbers(text: &str) -> ([u32; 3], usize) {
    let mut numbers = [0; 3];
    let mut count = 0;
    let mut rest = text;
    for slot in &mut numbers {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let Some(number) = rest.get(..digits).and_then(|digits| digits.parse().ok()) else {
            break;
        };
        *slot = number;
        count += 1;
        match rest.get(digits..).and_then(|rest| rest.strip_prefix('.')) {
            Some(after) => rest = after,
            None => break,
        }
    }
    (numbers, count)
}

/// Versions: all comparisons hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRange(Vec<(Comparison, KernelVersion, usize)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    AtLeast,
    AtMost,
    Above,
    Below,
    Is,
}

impl KernelRange {
    /// Whether it has this version. A bound of two numbers speaks of the whole series: `<=6.1` has 6.1.115.
    pub fn has(&self, version: KernelVersion) -> bool {
        self.0.iter().all(|(comparison, bound, count)| {
            let order = version.numbers.iter().zip(&bound.numbers).take(*count);
            let order = order.map(|(ours, theirs)| ours.cmp(theirs)).find(|o| o.is_ne());
            match comparison {
                Comparison::AtLeast => order.is_none_or(std::cmp::Ordering::is_gt),
                Comparison::AtMost => order.is_none_or(std::cmp::Ordering::is_lt),
                Comparison::Above => order.is_some_and(std::cmp::Ordering::is_gt),
                Comparison::Below => order.is_some_and(std::cmp::Ordering::is_lt),
                Comparison::Is => order.is_none(),
            }
        })
    }
}

impl FromStr for KernelRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |part: &str| {
            let part = part.trim();
            let (comparison, version) = [
                (">=", Comparison::AtLeast),
                ("<=", Comparison::AtMost),
                (">", Comparison::Above),
                ("<", Comparison::Below),
                ("=", Comparison::Is),
            ]
            .into_iter()
            .find_map(|(sign, comparison)| Some((comparison, part.strip_prefix(sign)?.trim())))
            .ok_or_else(|| format!("{part:?} has none of >=, <=, >, < and = in front"))?;
            let (found, count) = numbers(version);
            let written = found
                .iter()
                .take(count)
                .map(u32::to_string)
                .collect::<Vec<_>>()
                .join(".");
            if count == 0 || written != version {
                return Err(format!("{version:?} is no kernel version, as in 5.10 or 6.1.115"));
            }
            Ok((comparison, KernelVersion { numbers: found }, count))
        };
        text.split(',')
            .map(one)
            .collect::<Result<_, String>>()
            .map(Self)
            .map_err(|why| format!("{text:?} is no range of kernel versions, as in \">=4.18,<6.4\": {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_the_versions_that_one_expects() {
        for (range, version, expected) in [
            (">=5.8", "5.8.0", true),
            (">=5.8", "5.10.226-1", true),
            (">=5.8", "5.7.19", false),
            (">=4.18,<6.4", "6.3.9", true),
            (">=4.18, <6.4", "6.4", false),
            ("<=6.1", "6.1.115", true),
            (">6.1", "6.1.115", false),
            (">6.1", "6.2.0", true),
            ("=6.1", "6.1.115", true),
            ("=6.1.114", "6.1.115", false),
            (">=6", "7.0.1", true),
            ("<5.10.100", "5.10.99", true),
        ] {
            let range: KernelRange = range.parse().unwrap();
            assert_eq!(
                range.has(version.parse().unwrap()),
                expected,
                "{range:?} {version}"
            );
        }
        for range in ["", "5.8", ">=", ">=5.8-rc1", ">=5.8.1.2", "~5", ">=5,,<6", ">=05"] {
            assert!(range.parse::<KernelRange>().is_err(), "{range}");
        }
    }
}
