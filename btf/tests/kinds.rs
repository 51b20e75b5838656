//! Every kind of relocation, and every trap that kernels lay, from C of our own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::PathBuf;

use bpf_oracle::{corpus, libbpf};
use btf::co_re::Targets;
use common::alike::{Counts, compare, minimized};
use common::{Parts, open, ours, take_apart};

struct Object {
    name: &'static str,
    parts: Parts,
    path: PathBuf,
}

fn objects(dir: &tempfile::TempDir) -> Vec<Object> {
    ours::all()
        .into_iter()
        .map(|(name, bytes)| {
            let path = dir.path().join(name.replace(' ', "-"));
            std::fs::write(&path, &bytes).unwrap();
            let parts = take_apart(&bytes).unwrap();
            Object { name, parts, path }
        })
        .collect()
}

#[test]
fn relocations_of_every_kind_are_decided_and_written_as_libbpf_does_for_every_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = corpus::ensure().unwrap();
    let objects = objects(&dir);
    let mut counts = Counts::default();
    for kernel in corpus.kernels.iter().map(open) {
        for object in &objects {
            let what = format!("{} on {}", object.name, kernel.name);
            counts += compare(
                &what,
                &object.parts,
                Targets::kernel(&kernel.ours),
                &kernel.theirs,
                &[],
            );
        }
    }
    println!("{counts:?}");
    for (kind, count) in counts.kinds.iter().enumerate() {
        assert!(*count > 0, "no relocation of kind {kind} had an answer");
    }
    assert!(counts.refused > 0 && counts.unwritten > 0 && counts.poisoned > 0);
}

#[test]
fn what_is_minimized_for_them_answers_alike_and_is_no_larger_than_bpftools_where_that_does_not_fail() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = corpus::ensure().unwrap();
    let objects = objects(&dir);
    let all = std::env::var_os("BTF_ALL_SIZES").is_some();
    let (mut cells, mut compared, mut failed, mut ours, mut theirs) = (0, 0, 0, 0, 0);
    for (index, kernel) in corpus.kernels.iter().map(open).enumerate() {
        for object in &objects {
            let what = format!("{} on {}", object.name, kernel.name);
            let min = minimized(&what, &object.parts, Targets::kernel(&kernel.ours));
            cells += 1;
            // bpftool takes its time.
            if !all && index % 4 != 0 {
                continue;
            }
            match libbpf::bpftool_min(&[&object.path], &kernel.path) {
                Ok(their) => {
                    assert!(
                        min.len() <= their.len(),
                        "{what}: {} > {}",
                        min.len(),
                        their.len()
                    );
                    (compared, ours, theirs) = (compared + 1, ours + min.len(), theirs + their.len());
                }
                // It knows no declaration behind a typedef, and needs an answer to every relocation.
                Err(_) if matches!(object.name, "declarations" | "refused") => failed += 1,
                Err(e) => panic!("{what}: {e}"),
            }
        }
    }
    println!(
        "{cells} cells; {compared} with bpftool: {ours} bytes to its {theirs}; it fails in {failed} others"
    );
}
