//! /proc/kallsyms. Without rights its addresses are zeros; names and types are there all the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead},
};

use super::{MAX_PLACES, Place, lines, place};
use crate::{facts::near::Near, kallsyms::Line};

/// Endings that compilers give to what they left of a function: copies for some callers, parts, cold paths.
const ENDINGS: [&str; 6] = ["isra", "constprop", "part", "cold", "llvm", "lto_priv"];
/// Most such remains of one function that are kept.
const MAX_PARTS: usize = 4;
/// What is put before functions for the use of the kernel itself.
const OWN_PREFIXES: [&str; 2] = ["__pfx_", "__cfi_"];

/// What is known of the names that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    /// Functions of exactly this name.
    pub functions: BTreeMap<String, Vec<Place>>,
    /// Addresses of those that are there once, where this process may see them.
    pub addresses: BTreeMap<String, u64>,
    /// What the compiler made of functions of this name: `do_x.isra.0`.
    pub parts: BTreeMap<String, BTreeSet<String>>,
    /// Names that are no function's: variables.
    pub others: BTreeSet<String>,
}

/// A line of kallsyms.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Symbol<'a> {
    address: u64,
    name: &'a str,
    function: bool,
    place: Place,
}

/// `ffffffff81000000 T name [module]`; none for what is no such line, or is no part of the kernel or a module:
/// eBPF programs and trampolines have symbols as well.
fn symbol(line: &str) -> Option<Symbol<'_>> {
    let line = Line::parse(line)?;
    let place = place(line.module);
    if place.is("bpf") || matches!(&place, Place::Module(name) if name.starts_with("__builtin__")) {
        return None;
    }
    Some(Symbol {
        address: line.address.unwrap_or(0),
        name: line.name,
        function: matches!(line.kind, "t" | "T" | "w" | "W"),
        place,
    })
}

/// Looks for names, in one pass.
pub fn scan(reader: impl BufRead, wanted: &BTreeSet<String>) -> io::Result<Symbols> {
    let mut found = Symbols::default();
    lines(reader, |line| {
        let Some(symbol) = symbol(line) else { return };
        if wanted.contains(symbol.name) {
            if symbol.function {
                let places = found.functions.entry(symbol.name.to_owned()).or_default();
                if places.is_empty() && symbol.address != 0 {
                    found.addresses.insert(symbol.name.to_owned(), symbol.address);
                } else {
                    found.addresses.remove(symbol.name);
                }
                if places.len() < MAX_PLACES {
                    places.push(symbol.place);
                }
            } else {
                found.others.insert(symbol.name.to_owned());
            }
            return;
        }
        let Some((base, ending)) = symbol.name.split_once('.') else {
            return;
        };
        let known = ENDINGS
            .iter()
            .any(|known| ending.split('.').next() == Some(known));
        if known && symbol.function && wanted.contains(base) {
            let parts = found.parts.entry(base.to_owned()).or_default();
            if parts.len() < MAX_PARTS {
                parts.insert(symbol.name.to_owned());
            }
        }
    })?;
    Ok(found)
}

/// Every name of the functions at these addresses.
pub fn aliases(reader: impl BufRead, addresses: &BTreeSet<u64>) -> io::Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    lines(reader, |line| {
        if let Some(symbol) = symbol(line)
            && symbol.function
            && addresses.contains(&symbol.address)
            && found.len() < MAX_PLACES * addresses.len()
        {
            found.insert(symbol.name.to_owned(), symbol.address);
        }
    })?;
    Ok(found)
}

/// Functions whose names come close to these, by name.
pub fn near(reader: impl BufRead, missing: &BTreeSet<String>) -> io::Result<BTreeMap<String, Vec<String>>> {
    let mut near: Vec<(&String, Near)> = missing.iter().map(|name| (name, Near::new(name))).collect();
    lines(reader, |line| {
        let Some(symbol) = symbol(line) else { return };
        if symbol.function
            && !symbol.name.contains('.')
            && !OWN_PREFIXES.iter().any(|prefix| symbol.name.starts_with(prefix))
        {
            for (_, near) in &mut near {
                near.offer(symbol.name);
            }
        }
    })?;
    Ok(near
        .into_iter()
        .map(|(name, near)| (name.clone(), near.names()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T do_unlinkat
ffffffff81000010 t __pfx_do_unlinkatt
ffffffff81000020 t helper
ffffffff81000030 t helper
ffffffff81000040 t gone.isra.0
ffffffff81000050 t gone.constprop.0.isra.1
ffffffff81000055 t gone.cold
ffffffff81000060 D variable
ffffffff81000070 t kept
ffffffff81000080 t kept.cold
ffffffff81000085 t other.suffix
ffffffffc0000000 t helper\t[nf_conntrack]
ffffffffc0000010 t only_here\t[nf_conntrack]
ffffffffc0000020 t bpf_prog_1_do_unlinkat\t[bpf]
ffffffffc0000030 t do_unlinkat\t[bpf]
ffffffffc0000040 t ftrace_trampoline\t[__builtin__ftrace]
nonsense
\u{ff}
";

    fn wanted(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn functions_are_found_with_their_places_and_what_the_compiler_left() {
        let names = [
            "do_unlinkat",
            "helper",
            "gone",
            "variable",
            "only_here",
            "other",
            "none",
        ];
        let found = scan(TEXT.as_bytes(), &wanted(&names)).unwrap();
        let module = Place::Module("nf_conntrack".to_owned());
        assert_eq!(found.functions["do_unlinkat"], [Place::Kernel]);
        assert_eq!(
            found.functions["helper"],
            [Place::Kernel, Place::Kernel, module.clone()]
        );
        assert_eq!(found.functions["only_here"], [module]);
        assert_eq!(
            found.parts["gone"],
            wanted(&["gone.isra.0", "gone.constprop.0.isra.1", "gone.cold"])
        );
        assert_eq!(found.others, wanted(&["variable"]));
        for absent in ["gone", "other", "none"] {
            assert!(!found.functions.contains_key(absent), "{absent}");
        }
        assert!(!found.parts.contains_key("other"));
    }

    #[test]
    fn zeros_for_addresses_change_nothing() {
        let hidden: String = TEXT
            .lines()
            .map(|line| match line.split_once(' ') {
                Some((_, rest)) => format!("0000000000000000 {rest}\n"),
                None => format!("{line}\n"),
            })
            .collect();
        let names = wanted(&["do_unlinkat", "helper", "gone"]);
        let seen = scan(TEXT.as_bytes(), &names).unwrap();
        assert_eq!(
            seen.addresses,
            [("do_unlinkat".to_owned(), 0xffff_ffff_8100_0000)].into()
        );
        let unseen = scan(hidden.as_bytes(), &names).unwrap();
        assert!(unseen.addresses.is_empty());
        assert_eq!((unseen.functions, unseen.parts), (seen.functions, seen.parts));
    }

    #[test]
    fn close_names_are_those_of_functions_one_can_name() {
        let near = near(TEXT.as_bytes(), &wanted(&["do_unlinkatt", "helpr", "unlike_any"])).unwrap();
        assert_eq!(near["do_unlinkatt"], ["do_unlinkat"]);
        assert_eq!(near["helpr"], ["helper"]);
        assert!(near["unlike_any"].is_empty());
    }

    #[test]
    fn other_names_of_a_function_are_found_by_its_address() {
        let text =
            "ffffffff81000000 T __x64_sys_sync\nffffffff81000000 T __ia32_sys_sync\nffffffff81000010 T x\n";
        let addresses = [0xffff_ffff_8100_0000].into();
        let names: Vec<String> = aliases(text.as_bytes(), &addresses)
            .unwrap()
            .into_keys()
            .collect();
        assert_eq!(names, ["__ia32_sys_sync", "__x64_sys_sync"]);
    }

    #[test]
    fn a_line_without_end_is_taken_in_pieces() {
        let text = format!("{}\nffffffff81000000 T do_unlinkat\n", "x".repeat(1 << 20));
        let found = scan(text.as_bytes(), &wanted(&["do_unlinkat"])).unwrap();
        assert_eq!(found.functions.len(), 1);
    }
}
