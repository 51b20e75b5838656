//! Names of kernel functions as specs and SEC() write them: `[module:]name[+offset]`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A place in the kernel's code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KernelFunction {
    /// The module that has it; none: the kernel, or any module if only one has it.
    pub module: Option<String>,
    /// Its name.
    pub name: String,
    /// Bytes from its start.
    pub offset: u64,
}

impl fmt::Display for KernelFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(module) = &self.module {
            write!(f, "{module}:")?;
        }
        f.write_str(&self.name)?;
        if self.offset > 0 {
            write!(f, "+{:#x}", self.offset)?;
        }
        Ok(())
    }
}

impl FromStr for KernelFunction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no kernel function: write its name, as in do_unlinkat; with its module in front where \
                 several have one of this name, as in nf_conntrack:nf_conntrack_in"
            )
        };
        let (module, rest) = match text.split_once(':') {
            Some((module, rest)) => (Some(module), rest),
            None => (None, text),
        };
        let (name, offset) = match rest.split_once('+') {
            Some((name, offset)) => (name, number(offset).ok_or_else(wrong)?),
            None => (rest, 0),
        };
        let is_name = |text: &str, more: &[char]| {
            !text.is_empty()
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || more.contains(&c))
        };
        if !is_name(name, &['_', '.', '$']) || module.is_some_and(|module| !is_name(module, &['_', '-'])) {
            return Err(wrong());
        }
        Ok(Self {
            // The kernel knows modules by names without dashes, whatever their files are called.
            module: module.map(|module| module.replace('-', "_")),
            name: name.to_owned(),
            offset,
        })
    }
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Whether `name` is of this pattern: `*` stands for any characters, `?` for one.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, n));
                p += 1;
            }
            Some(wanted) if *wanted == b'?' || name.get(n) == Some(wanted) => {
                p += 1;
                n += 1;
            }
            _ => match star {
                // The last star takes one character more.
                Some((after, taken)) => {
                    star = Some((after, taken + 1));
                    p = after;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == b'*')
}

/// Whether a name is a pattern.
pub fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_others_are_refused() {
        for text in [
            "do_unlinkat",
            "nf_conntrack:nf_conntrack_in",
            "do_exit+0x10",
            "a.isra.0",
        ] {
            assert_eq!(text.parse::<KernelFunction>().unwrap().to_string(), text);
        }
        let function: KernelFunction = "nf-conntrack:f+16".parse().unwrap();
        assert_eq!(function.to_string(), "nf_conntrack:f+0x10");
        for text in ["", ":f", "a:", "a b", "f+", "f+x", "f*", "a:b:c", "f+-1"] {
            assert!(text.parse::<KernelFunction>().is_err(), "{text}");
        }
    }

    #[test]
    fn patterns_are_those_of_a_shell() {
        for (pattern, name, expected) in [
            ("tcp_*", "tcp_v4_rcv", true),
            ("tcp_*", "udp_rcv", false),
            ("*_rcv", "tcp_v4_rcv", true),
            ("*v4*", "tcp_v4_rcv", true),
            ("tcp_v?_rcv", "tcp_v4_rcv", true),
            ("tcp_v?_rcv", "tcp_v_rcv", false),
            ("*a*b*c", "xaybzc", true),
            ("*a*b*c", "xaybz", false),
            ("", "", true),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
