//! Whole objects: every instruction of every program as libbpf prepares it, from the kernel's BTF and from
//! the one that minimize leaves. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use bpf_oracle::corpus;
use btf::co_re::Targets;
use btf::{Btf, Source, minimize};
use common::prepared::Whole;
use common::{Kernel, open, ours, take_apart};

/// How much was compared.
#[derive(Debug, Default)]
struct Counts {
    /// Objects on kernels, each from the whole and from the minimized BTF.
    cells: usize,
    /// Cells that both refuse.
    refused: usize,
    instructions: usize,
}

/// One object on one kernel.
fn cell(what: &str, bytes: &[u8], whole: &Whole, kernel: &Kernel, counts: &mut Counts) {
    let parts = take_apart(bytes).unwrap();
    let local = Btf::parse(parts.btf.as_slice()).unwrap();
    let relocations: Vec<_> = parts.relocations.iter().map(|(_, r)| *r).collect();
    let source = Source {
        btf: &local,
        relocations: &relocations,
    };
    let min = minimize(&[source], Targets::kernel(&kernel.ours)).unwrap().bytes;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &min).unwrap();
    let small = Btf::parse(min).unwrap();
    let (from_full, from_small) = (whole.relocated(&kernel.ours), whole.relocated(&small));
    whole.same_but_ids(what, &from_full, &from_small);
    let full = whole.compare(what, &from_full, &kernel.path);
    let small = whole.compare(&format!("{what}, minimized"), &from_small, file.path());
    assert_eq!(full, small, "{what}");
    counts.cells += 1;
    counts.refused += usize::from(full.is_none());
    counts.instructions += full.unwrap_or(0) * 2;
}

#[test]
fn debians_tools_have_the_instructions_that_libbpf_prepares() {
    let corpus = corpus::ensure().unwrap();
    let objects: Vec<_> = corpus
        .objects
        .iter()
        .filter_map(|o| {
            let bytes = o.bytes().unwrap();
            Some((format!("{}/{}", o.set, o.name), Whole::new(&bytes)?, bytes))
        })
        .collect();
    // All of them only when asked for; else the oldest kernel and the newest.
    let all = std::env::var_os("BTF_ALL_PREPARED").is_some();
    let mut kernels: Vec<_> = corpus.kernels.iter().collect();
    kernels.sort_by_key(|k| {
        let numbers = k.series().split('.').map(|n| n.parse::<u32>().unwrap_or(0));
        numbers.collect::<Vec<_>>()
    });
    let last = kernels.len() - 1;
    let mut counts = Counts::default();
    for (index, kernel) in kernels.into_iter().enumerate() {
        if !all && index != 0 && index != last {
            continue;
        }
        let kernel = open(kernel);
        for (name, whole, bytes) in &objects {
            cell(
                &format!("{name} on {}", kernel.name),
                bytes,
                whole,
                &kernel,
                &mut counts,
            );
        }
    }
    println!("{counts:?}");
    assert_eq!(counts.refused, 0);
}

#[test]
fn our_own_objects_have_the_instructions_that_libbpf_prepares_on_every_kernel() {
    let corpus = corpus::ensure().unwrap();
    let objects: Vec<_> = ours::all()
        .into_iter()
        .map(|(name, bytes)| (name, Whole::new(&bytes).unwrap(), bytes))
        .collect();
    let mut counts = Counts::default();
    for kernel in corpus.kernels.iter().map(open) {
        for (name, whole, bytes) in &objects {
            cell(
                &format!("{name} on {}", kernel.name),
                bytes,
                whole,
                &kernel,
                &mut counts,
            );
        }
    }
    println!("{counts:?}");
    assert!(counts.refused > 0 && counts.refused < counts.cells / 4);
}
