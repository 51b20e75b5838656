//! Random types and relocations: decided as libbpf decides, and minimized without a change.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;

use bpf_oracle::libbpf;
use btf::co_re::{Module, Relocator, Targets};
use btf::{Btf, Endian, Source, minimize};
use common::alike::{compare, same_answers};
use common::definitions::{definitions, encode, encode_split, split_definitions};
use common::random::{Change, Raw, changed, changes, one_name, raws};
use common::records::{object, records};
use proptest::prelude::*;

/// So many cases, or as many as `PROPTEST_CASES` says.
fn config(cases: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(cases),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn relocations_are_decided_and_written_as_libbpf_does(
        local in raws(24),
        first in changes(24),
        second in prop::option::of(changes(24)),
        more in raws(6),
        records in records(),
    ) {
        let parts = object(&definitions(&local), &records);
        let target = [changed(&local, &first), more, copy(&local, second)].concat();
        let target = encode(Endian::HOST, &definitions(&target));
        let theirs = libbpf::Btf::new(&target).unwrap();
        let ours = Btf::parse(target.as_slice()).unwrap();
        compare("random", &parts, Targets::kernel(&ours), &theirs, &[]);
    }

    #[test]
    fn minimized_for_one_object_or_several_they_are_answered_alike(
        local in raws(24),
        first in changes(24),
        second in prop::option::of(changes(24)),
        other in changes(24),
        records_one in records(),
        records_two in records(),
    ) {
        let one = object(&definitions(&local), &records_one);
        let two = object(&definitions(&changed(&local, &other)), &records_two);
        let target = [changed(&local, &first), copy(&local, second)].concat();
        let target = encode(Endian::HOST, &definitions(&target));
        let full = Btf::parse(target.as_slice()).unwrap();
        alike(&[one, two], Targets::kernel(&full));
    }

    #[test]
    fn modules_are_searched_as_libbpf_does(
        local in raws(24),
        kernel in changes(24),
        modules in prop::array::uniform2(changes(24)),
        records in records(),
    ) {
        let parts = object(&definitions(&local), &records);
        let split = Split::new(&changed(&local, &kernel), modules.map(|m| changed(&local, &m)));
        let kernel = libbpf::Btf::new(&split.kernel).unwrap();
        let modules = split.modules.clone().map(|m| libbpf::Btf::split(&m, &kernel).unwrap());
        split.with_targets(|targets| compare("random", &parts, targets, &kernel, &modules));
    }

    #[test]
    fn modules_are_merged_into_what_answers_alike(
        local in raws(24),
        kernel in changes(24),
        modules in prop::array::uniform2(changes(24)),
        records in records(),
    ) {
        let local = one_name(local);
        let mut parts = object(&definitions(&local), &records);
        // Ids in two modules may be the same by chance, in what is made of both they are not; and shapes
        // want the names of nested types, which may be those that the kernel's are found by.
        parts.relocations.retain(|(_, r)| r.kind != 7 && r.kind != 12);
        let changed = |changes: &[_]| one_name(changed(&local, changes));
        let split = Split::new(&changed(&kernel), modules.map(|m| changed(&m)));
        split.with_targets(|targets| alike(&[parts], targets));
    }

    #[test]
    fn damaged_bytes_are_survived(
        local in raws(16),
        change in changes(16),
        records in records(),
        damage in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut parts = object(&definitions(&local), &records);
        let mut target = encode(Endian::HOST, &definitions(&changed(&local, &change)));
        for (of_local, index, value) in damage {
            let bytes = if of_local { &mut parts.btf } else { &mut target };
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        if let (Ok(local), Ok(target)) = (Btf::parse(parts.btf.as_slice()), Btf::parse(target.as_slice())) {
            let relocations: Vec<_> = parts.relocations.iter().map(|(_, r)| *r).collect();
            let mut relocator = Relocator::new(&local, Targets::kernel(&target));
            for relocation in &relocations {
                let _ = relocator.relocate(relocation);
            }
            let source = Source { btf: &local, relocations: &relocations };
            if let Ok(min) = minimize(&[source], Targets::kernel(&target)) {
                Btf::parse(min.bytes).unwrap();
            }
        }
    }
}

/// A kernel with two modules.
struct Split {
    kernel: Vec<u8>,
    modules: [Vec<u8>; 2],
}

impl Split {
    fn new(kernel: &[Raw], modules: [Vec<Raw>; 2]) -> Self {
        Split {
            kernel: encode(Endian::HOST, &definitions(kernel)),
            modules: modules.map(|module| encode_split(split_definitions(kernel, &module)).1),
        }
    }

    fn with_targets<T>(&self, f: impl FnOnce(Targets<'_>) -> T) -> T {
        let kernel = Arc::new(Btf::parse(self.kernel.as_slice()).unwrap());
        let modules = self.modules.each_ref().map(|m| Module {
            name: "module".into(),
            btf: Btf::parse_split(m.as_slice(), kernel.clone()).unwrap(),
        });
        f(Targets {
            kernel: &kernel,
            modules: &modules,
        })
    }
}

/// A second copy in a target, for names that stand twice.
fn copy(local: &[Raw], changes: Option<Vec<Change>>) -> Vec<Raw> {
    changes.map_or(Vec::new(), |changes| changed(local, &changes))
}

/// What is minimized for all of them at once answers each as the whole does, and is left alone.
fn alike(objects: &[common::Parts], targets: Targets<'_>) {
    let locals: Vec<_> = objects
        .iter()
        .map(|o| Btf::parse(o.btf.as_slice()).unwrap())
        .collect();
    let relocations: Vec<Vec<_>> = objects
        .iter()
        .map(|o| o.relocations.iter().map(|(_, r)| *r).collect())
        .collect();
    let sources: Vec<_> = locals
        .iter()
        .zip(&relocations)
        .map(|(btf, relocations)| Source { btf, relocations })
        .collect();
    let min = minimize(&sources, targets).unwrap().bytes;
    let small = Btf::parse(min.as_slice()).unwrap();
    libbpf::Btf::new(&min).unwrap();
    for (local, relocations) in locals.iter().zip(&relocations) {
        same_answers("random", local, relocations, targets, &small);
    }
    let again = minimize(&sources, Targets::kernel(&small)).unwrap().bytes;
    assert_eq!(min, again);
}
