//! The running kernel, as far as objects ask.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::io::Read;

use bpf_object::kconfig::Kconfig;

/// Its configuration, from where kernels and distributions keep it.
pub fn config() -> Kconfig {
    let mut text = Vec::new();
    match std::fs::File::open("/proc/config.gz") {
        Ok(file) => flate2::read::GzDecoder::new(file)
            .read_to_end(&mut text)
            .map(drop),
        Err(_) => {
            let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
            std::fs::read(format!("/boot/config-{}", release.trim())).map(|read| text = read)
        }
    }
    .expect("the kernel's configuration");
    Kconfig::parse(&text)
}

/// Addresses of its symbols.
pub fn symbols() -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string("/proc/kallsyms").unwrap();
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            Some((words.nth(1)?.to_owned(), address))
        })
        .collect()
}
