//! `available_filter_functions` of tracefs: what ftrace can reach, and so fentry and kprobe.multi.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead},
};

use bpfleet_fit::function::matches;

use super::{MAX_PLACES, Place, lines, place};

/// What is known of the names and patterns that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Functions of exactly this name.
    pub functions: BTreeMap<String, Vec<Place>>,
    /// The first function of each pattern that has one.
    pub matching: BTreeMap<String, String>,
}

/// Looks for names and patterns, in one pass. A line is `name` or `name [module]`.
pub fn scan(
    reader: impl BufRead,
    wanted: &BTreeSet<String>,
    patterns: &BTreeSet<String>,
) -> io::Result<Filter> {
    let mut found = Filter::default();
    let mut open: Vec<&String> = patterns.iter().collect();
    lines(reader, |line| {
        let mut words = line.split_ascii_whitespace();
        let Some(name) = words.next() else { return };
        if wanted.contains(name) {
            let places = found.functions.entry(name.to_owned()).or_default();
            if places.len() < MAX_PLACES {
                places.push(place(words.next()));
            }
        }
        open.retain(|pattern| {
            let fits = matches(pattern, name);
            if fits {
                found.matching.insert((*pattern).clone(), name.to_owned());
            }
            !fits
        });
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns_are_found_in_one_pass() {
        let text = "do_unlinkat\ntcp_v4_rcv\nhelper\nhelper [nf_conntrack]\n\ntcp_v6_rcv [ipv6]\n";
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let found = scan(
            text.as_bytes(),
            &set(&["do_unlinkat", "helper", "none"]),
            &set(&["tcp_*", "udp_*"]),
        )
        .unwrap();
        let module = Place::Module("nf_conntrack".to_owned());
        assert_eq!(found.functions["do_unlinkat"], [Place::Kernel]);
        assert_eq!(found.functions["helper"], [Place::Kernel, module]);
        assert!(!found.functions.contains_key("none"));
        assert_eq!(found.matching["tcp_*"], "tcp_v4_rcv");
        assert!(!found.matching.contains_key("udp_*"));
    }
}
