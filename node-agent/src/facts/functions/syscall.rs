//! Functions of system calls.

use std::collections::BTreeSet;

use bpfleet_fit::question::Answer;

use super::kallsyms::Symbols;

/// What names of system calls' functions can begin with on an architecture (Rust's word), best first: the one that
/// the system call table has, then what older kernels had (arch/*/include/asm/syscall_wrapper.h, 4.17).
pub fn prefixes(architecture: &str) -> Vec<&'static str> {
    let wrapper = match architecture {
        "x86_64" => Some("__x64_sys_"),
        "aarch64" => Some("__arm64_sys_"),
        "s390x" => Some("__s390x_sys_"),
        "riscv64" => Some("__riscv_sys_"),
        _ => None,
    };
    wrapper.into_iter().chain(["sys_", "__se_sys_"]).collect()
}

/// The functions that a system call may have.
pub fn names(architecture: &str, name: &str) -> Vec<String> {
    prefixes(architecture)
        .into_iter()
        .map(|prefix| format!("{prefix}{name}"))
        .collect()
}

/// Whether there is one.
pub fn answer(architecture: &str, name: &str, symbols: &Symbols, near: &[String]) -> Answer {
    if names(architecture, name)
        .iter()
        .any(|name| symbols.functions.contains_key(name))
    {
        return Answer::Yes;
    }
    // What comes close is shown as one would write it.
    let near: BTreeSet<String> = near
        .iter()
        .filter_map(|known| {
            prefixes(architecture)
                .into_iter()
                .find_map(|prefix| known.strip_prefix(prefix))
        })
        .map(str::to_owned)
        .collect();
    let near: Vec<String> = near.into_iter().collect();
    Answer::No(format!(
        "this kernel has no system call {name}{}",
        crate::facts::near::hint(&near)
    ))
}

/// The prefix of this kernel, told by system calls that every kernel has.
pub fn prefix(architecture: &str, symbols: &Symbols) -> Option<&'static str> {
    prefixes(architecture)
        .into_iter()
        .filter(|prefix| *prefix != "__se_sys_")
        .find(|prefix| symbols.functions.contains_key(&format!("{prefix}getpid")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::functions::Place;

    fn symbols(names: &[&str]) -> Symbols {
        Symbols {
            functions: names
                .iter()
                .map(|name| ((*name).to_owned(), vec![Place::Kernel]))
                .collect(),
            ..Symbols::default()
        }
    }

    #[test]
    fn the_wrapper_comes_before_the_name_of_old_kernels() {
        for (architecture, names, expected) in [
            (
                "x86_64",
                &["__x64_sys_getpid", "sys_getpid"][..],
                Some("__x64_sys_"),
            ),
            ("x86_64", &["sys_getpid"], Some("sys_")),
            ("aarch64", &["__arm64_sys_getpid"], Some("__arm64_sys_")),
            ("powerpc64", &["sys_getpid"], Some("sys_")),
            ("x86_64", &["__se_sys_getpid"], None),
            ("x86_64", &[], None),
        ] {
            assert_eq!(
                prefix(architecture, &symbols(names)),
                expected,
                "{architecture} {names:?}"
            );
        }
    }

    #[test]
    fn a_system_call_is_found_by_any_of_its_names() {
        let known = symbols(&["__x64_sys_openat", "__se_sys_read"]);
        assert_eq!(answer("x86_64", "openat", &known, &[]), Answer::Yes);
        assert_eq!(answer("x86_64", "read", &known, &[]), Answer::Yes);
        let near = ["__x64_sys_openat".to_owned(), "__se_sys_openat".to_owned()];
        assert_eq!(
            answer("x86_64", "opneat", &known, &near),
            Answer::No("this kernel has no system call opneat; did you mean openat?".to_owned())
        );
    }
}
