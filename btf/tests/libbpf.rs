//! Every relocation of every object against every kernel: decided and written as libbpf does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use bpf_oracle::{corpus, libbpf};
use btf::co_re::Targets;
use common::alike::{Counts, compare, minimized};
use common::{debians, open, take_apart};

#[test]
fn every_relocation_of_debians_tools_is_decided_and_written_as_libbpf_does_for_every_kernel() {
    let corpus = corpus::ensure().unwrap();
    let objects = debians(&corpus);
    let mut counts = Counts::default();
    for kernel in corpus.kernels.iter().map(open) {
        for (name, parts) in &objects {
            let what = format!("{name} on {}", kernel.name);
            counts += compare(&what, parts, Targets::kernel(&kernel.ours), &kernel.theirs, &[]);
        }
    }
    println!("{counts:?}");
}

#[test]
fn what_minimize_leaves_answers_alike_is_left_alone_by_a_second_time_and_is_no_larger_than_bpftools() {
    let corpus = corpus::ensure().unwrap();
    // bpftool takes 30 ms a cell: only when asked for.
    let bpftool = std::env::var_os("BTF_ALL_SIZES").is_some();
    let (mut cells, mut ours_bytes, mut theirs_bytes, mut largest) = (0, 0, 0, 0);
    for kernel in corpus.kernels.iter().map(open) {
        for object in &corpus.objects {
            let Some(parts) = take_apart(&object.bytes().unwrap()) else {
                continue;
            };
            let what = format!("{}/{} on {}", object.set, object.name, kernel.name);
            let min = minimized(&what, &parts, Targets::kernel(&kernel.ours));
            if bpftool {
                let theirs = libbpf::bpftool_min(&[&object.path], &kernel.path).unwrap();
                assert!(
                    min.len() <= theirs.len(),
                    "{what}: {} > {}",
                    min.len(),
                    theirs.len()
                );
                theirs_bytes += theirs.len();
            }
            ours_bytes += min.len();
            largest = largest.max(min.len());
            cells += 1;
        }
    }
    println!("{cells} cells: {ours_bytes} bytes, bpftool {theirs_bytes}, largest {largest}");
}
