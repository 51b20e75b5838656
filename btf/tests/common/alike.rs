//! Relocation by relocation: the same as libbpf, and the same after minimizing.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;

use bpf_oracle::libbpf;
use btf::co_re::{Outcome, Patched, Relocator, Targets, patch};
use btf::{Btf, Endian, RelocationInfo, Source, minimize};

use super::Parts;

pub fn relo(r: &RelocationInfo) -> libbpf::Relo {
    libbpf::Relo {
        insn_off: r.instruction_offset,
        type_id: r.type_id,
        access_str_off: r.access,
        kind: r.kind,
    }
}

/// What libbpf says of an object's relocations, with its pruning of candidates.
pub fn theirs(
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

pub fn same(ours: &Outcome<'_>, theirs: &libbpf::Outcome) -> bool {
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

/// How much was compared.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    /// Objects on kernels.
    pub cells: usize,
    /// Relocations.
    pub relocations: usize,
    /// Those whose instruction was poisoned, by both.
    pub poisoned: usize,
    /// Those that both refused to decide.
    pub refused: usize,
    /// Those whose answer both refused to write.
    pub unwritten: usize,
    /// Relocations that were written, by kind.
    pub kinds: [usize; 13],
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.cells += more.cells;
        self.relocations += more.relocations;
        self.poisoned += more.poisoned;
        self.refused += more.refused;
        self.unwritten += more.unwritten;
        for (kind, more) in self.kinds.iter_mut().zip(more.kinds) {
            *kind += more;
        }
    }
}

/// Compares one object with one kernel, relocation by relocation.
pub fn compare(
    what: &str,
    parts: &Parts,
    targets: Targets<'_>,
    their_kernel: &libbpf::Btf,
    their_modules: &[libbpf::Btf],
) -> Counts {
    let local = Btf::parse(parts.btf.as_slice()).unwrap();
    let their_local = libbpf::Btf::new(&parts.btf).unwrap();
    let expected = theirs(parts, &their_local, their_kernel, their_modules);
    let mut relocator = Relocator::new(&local, targets);
    let mut counts = Counts {
        cells: 1,
        relocations: parts.relocations.len(),
        ..Counts::default()
    };
    for (index, ((section, relocation), expected)) in parts.relocations.iter().zip(expected).enumerate() {
        let where_ = || format!("{what}: relocation {index} {relocation:?} in {section}");
        let (ours, expected) = match (relocator.relocate(relocation), expected) {
            (Ok(ours), Ok(expected)) => (ours, expected),
            (Err(_), Err(_)) => {
                counts.refused += 1;
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
                counts.poisoned += usize::from(patched == Patched::Poisoned);
                counts.kinds[relocation.kind as usize] += 1;
            }
            (Err(_), Err(_)) => counts.unwritten += 1,
            (ours, theirs) => panic!("{}: {ours:?}, libbpf {theirs:?}", where_()),
        }
    }
    counts
}

/// Minimizes for one object, and sees that what is left answers alike, to libbpf too, and is left alone by
/// a second time.
pub fn minimized(what: &str, parts: &Parts, targets: Targets<'_>) -> Vec<u8> {
    let local = Btf::parse(parts.btf.as_slice()).unwrap();
    let relocations: Vec<_> = parts.relocations.iter().map(|(_, r)| *r).collect();
    let source = Source {
        btf: &local,
        relocations: &relocations,
    };
    let min = minimize(&[source], targets).unwrap().bytes;
    let small = Btf::parse(min.as_slice()).unwrap();
    let again = minimize(&[source], Targets::kernel(&small)).unwrap().bytes;
    assert_eq!(min, again, "{what}");
    let their_small = libbpf::Btf::new(&min).expect(what);
    compare(what, parts, Targets::kernel(&small), &their_small, &[]);
    same_answers(what, &local, &relocations, targets, &small);
    min
}

/// Every relocation is answered by the smaller BTF as by the whole.
pub fn same_answers(
    what: &str,
    local: &Btf<'_>,
    relocations: &[RelocationInfo],
    full: Targets<'_>,
    small: &Btf<'_>,
) {
    let mut with_full = Relocator::new(local, full);
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
