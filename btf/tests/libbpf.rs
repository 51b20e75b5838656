//! Every relocation of every object against every kernel: decided and written as libbpf does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::HashMap;

use bpf_oracle::{corpus, libbpf};
use btf::co_re::{Outcome, Patched, Relocator, Targets, patch};
use btf::{Btf, Endian, RelocationInfo, Source, minimize};
use common::{Parts, take_apart};

fn relo(r: &RelocationInfo) -> libbpf::Relo {
    libbpf::Relo {
        insn_off: r.instruction_offset,
        type_id: r.type_id,
        access_str_off: r.access,
        kind: r.kind,
    }
}

/// What libbpf says of an object's relocations, with its pruning of candidates.
fn theirs(
    parts: &Parts,
    local: &libbpf::Btf,
    vmlinux: &libbpf::Btf,
    modules: &[libbpf::Btf],
) -> Vec<Result<libbpf::Outcome, i32>> {
    let mut known: HashMap<u32, Result<Vec<libbpf::Candidate<'_>>, i32>> = HashMap::new();
    let mut out = Vec::new();
    for (index, (_, relocation)) in parts.relocations.iter().enumerate() {
        // Ids of the object's own types need no candidates.
        let mut none = Vec::new();
        let candidates = if relocation.kind == 6 {
            Ok(&mut none)
        } else {
            known
                .entry(relocation.type_id)
                .or_insert_with(|| libbpf::candidates(local, relocation.type_id, vmlinux, modules))
                .as_mut()
                .map_err(|e| *e)
        };
        out.push(candidates.and_then(|c| libbpf::calc("test", local, &relo(relocation), index, c)));
    }
    out
}

fn same(ours: &Outcome<'_>, theirs: &libbpf::Outcome) -> bool {
    let target = match (&ours.target, &theirs.target) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            a.root == b.spec.root_type_id && a.steps == b.spec.raw && a.bit_offset == b.spec.bit_offset
        }
        _ => false,
    };
    let value = match ours.value {
        None => theirs.poison,
        Some(value) => {
            !theirs.poison
                && value == theirs.new_val
                && ours.size == theirs.new_sz
                && ours.unfit == theirs.fail_memsz_adjust
        }
    };
    value
        && (theirs.poison || ours.original == theirs.orig_val)
        && ours.validate == theirs.validate
        && ours.original_size == theirs.orig_sz
        && target
}

/// The instruction of a relocation and the one after it.
fn instructions(code: &[u8], relocation: &RelocationInfo) -> Vec<libbpf::Insn> {
    let at = relocation.instruction_offset as usize;
    code[at..(at + 16).min(code.len())]
        .chunks_exact(8)
        .map(|c| c.try_into().unwrap())
        .collect()
}

/// Compares one object with one kernel; gives the number of relocations, poisoned and refused ones.
fn compare(
    what: &str,
    parts: &Parts,
    targets: Targets<'_>,
    their_kernel: &libbpf::Btf,
    their_modules: &[libbpf::Btf],
) -> (usize, usize, usize) {
    let local = Btf::parse(parts.btf.as_slice()).unwrap();
    let their_local = libbpf::Btf::new(&parts.btf).unwrap();
    let expected = theirs(parts, &their_local, their_kernel, their_modules);
    let mut relocator = Relocator::new(&local, targets);
    let (mut poisoned, mut refused) = (0, 0);
    for (index, ((section, relocation), expected)) in parts.relocations.iter().zip(expected).enumerate() {
        let where_ = || format!("{what}: relocation {index} {relocation:?} in {section}");
        let (ours, expected) = match (relocator.relocate(relocation), expected) {
            (Ok(ours), Ok(expected)) => (ours, expected),
            (Err(_), Err(_)) => {
                refused += 1;
                continue;
            }
            (ours, expected) => panic!("{}: {:?}, libbpf {expected:?}", where_(), ours.map(|o| o.value)),
        };
        assert!(
            same(&ours, &expected),
            "{}: {:?} {} {:?}, libbpf {expected:?}",
            where_(),
            ours.value,
            ours.original,
            ours.target.map(|t| t.steps)
        );
        let before = instructions(&parts.code[section], relocation);
        let mut code = before.concat();
        let ours = patch(&mut code, 0, Endian::HOST, &ours);
        let theirs = libbpf::patch(&before, 0, &relo(relocation), index, &expected);
        match (ours, theirs) {
            (Ok(patched), Ok(theirs)) => {
                assert_eq!(code, theirs.concat(), "{}", where_());
                poisoned += usize::from(patched == Patched::Poisoned);
            }
            (Err(_), Err(_)) => refused += 1,
            (ours, theirs) => panic!("{}: {ours:?}, libbpf {theirs:?}", where_()),
        }
    }
    (parts.relocations.len(), poisoned, refused)
}

#[test]
fn every_relocation_of_debians_tools_is_decided_and_written_as_libbpf_does_for_every_kernel() {
    let corpus = corpus::ensure().unwrap();
    let objects: Vec<_> = corpus
        .objects
        .iter()
        .filter_map(|o| Some((format!("{}/{}", o.set, o.name), take_apart(&o.bytes().unwrap())?)))
        .collect();
    let (mut cells, mut relocations, mut poisoned, mut refused) = (0, 0, 0, 0);
    for kernel in &corpus.kernels {
        let bytes = std::fs::read(&kernel.btf).unwrap();
        let theirs = libbpf::Btf::new(&bytes).unwrap();
        let ours = Btf::parse(bytes).unwrap();
        for (name, parts) in &objects {
            let what = format!("{name} on {}", kernel.name);
            let counts = compare(&what, parts, Targets::kernel(&ours), &theirs, &[]);
            cells += 1;
            relocations += counts.0;
            poisoned += counts.1;
            refused += counts.2;
        }
    }
    println!(
        "{cells} cells, {relocations} relocations alike, {poisoned} of them poisoned, {refused} refused"
    );
}

#[test]
fn what_minimize_leaves_answers_alike_is_left_alone_by_a_second_time_and_is_no_larger_than_bpftools() {
    let corpus = corpus::ensure().unwrap();
    // bpftool takes 30 ms a cell: some kernels, and every object.
    let (mut cells, mut ours_bytes, mut theirs_bytes, mut largest) = (0, 0, 0, 0);
    for kernel in &corpus.kernels {
        let bytes = std::fs::read(&kernel.btf).unwrap();
        let full = Btf::parse(bytes).unwrap();
        for object in &corpus.objects {
            let Some(parts) = take_apart(&object.bytes().unwrap()) else {
                continue;
            };
            let what = format!("{}/{} on {}", object.set, object.name, kernel.name);
            let local = Btf::parse(parts.btf.as_slice()).unwrap();
            let relocations: Vec<_> = parts.relocations.iter().map(|(_, r)| *r).collect();
            let source = Source {
                btf: &local,
                relocations: &relocations,
            };
            let min = minimize(&[source], Targets::kernel(&full)).unwrap().bytes;
            let small = Btf::parse(min.as_slice()).unwrap();
            let again = minimize(&[source], Targets::kernel(&small)).unwrap().bytes;
            assert_eq!(min, again, "{what}");
            let their_small = libbpf::Btf::new(&min).expect(&what);
            compare(&what, &parts, Targets::kernel(&small), &their_small, &[]);
            same_answers(&what, &local, &relocations, &full, &small);
            if std::env::var_os("BTF_ALL_SIZES").is_some() {
                let theirs = libbpf::bpftool_min(&[&object.path], &kernel.btf).unwrap();
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

/// Every relocation is answered by the smaller BTF as by the whole.
fn same_answers(
    what: &str,
    local: &Btf<'_>,
    relocations: &[RelocationInfo],
    full: &Btf<'_>,
    small: &Btf<'_>,
) {
    let mut with_full = Relocator::new(local, Targets::kernel(full));
    let mut with_small = Relocator::new(local, Targets::kernel(small));
    for (index, relocation) in relocations.iter().enumerate() {
        let summary = |outcome: Result<Outcome<'_>, _>| {
            outcome
                .map(|o| {
                    let value = if relocation.kind == 7 { None } else { o.value };
                    (value, o.size, o.unfit, o.target.map(|t| t.bit_offset))
                })
                .map_err(drop::<btf::co_re::CoreError>)
        };
        assert_eq!(
            summary(with_full.relocate(relocation)),
            summary(with_small.relocate(relocation)),
            "{what}: relocation {index} {relocation:?}"
        );
    }
}
