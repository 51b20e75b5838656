//! Objects and kernels of the other byte order: decided the same, but for where a bit field begins.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::HashMap;

use bpf_oracle::{corpus, libbpf};
use btf::co_re::{Relocator, Targets, patch};
use btf::{Btf, Builder, Endian, RelocationInfo, Source, minimize};
use common::alike::relo;
use common::{open, ours, take_apart};

const SIZE: u32 = 1;
const LSHIFT: u32 = 4;
const RSHIFT: u32 = 5;

/// An instruction as it is in the other byte order.
fn swapped(insn: &[u8]) -> [u8; 8] {
    let mut insn: [u8; 8] = insn.try_into().unwrap();
    insn[1] = insn[1].rotate_left(4);
    insn[2..4].reverse();
    insn[4..].reverse();
    insn
}

/// libbpf, for any kind.
struct Theirs<'k> {
    local: libbpf::Btf,
    kernel: &'k libbpf::Btf,
    candidates: HashMap<u32, Vec<libbpf::Candidate<'k>>>,
}

impl Theirs<'_> {
    fn answer(&mut self, relocation: &RelocationInfo, kind: u32) -> Result<libbpf::Outcome, i32> {
        let mut relo = relo(relocation);
        relo.kind = kind;
        let (local, kernel) = (&self.local, self.kernel);
        let found = self
            .candidates
            .entry(relo.type_id)
            .or_insert_with(|| libbpf::candidates(local, relo.type_id, kernel, &[]).unwrap());
        libbpf::calc("test", local, &relo, 0, &mut found.clone())
    }
}

/// What a left shift is for the other byte order, given all else.
fn shift(theirs: &mut Theirs<'_>, r: &RelocationInfo) -> (u64, u64) {
    let mut of = |kind| theirs.answer(r, kind).unwrap();
    let (size, left, right) = (of(SIZE), of(LSHIFT), of(RSHIFT));
    let other = |size: u64, left: u64, right: u64| (8 - size) * 8 + (right - left);
    let original = other(size.orig_val, left.orig_val, right.orig_val);
    let new = if left.poison {
        0
    } else {
        other(size.new_val, left.new_val, right.new_val)
    };
    (original, new)
}

#[test]
fn objects_of_the_other_byte_order_are_decided_and_written_as_libbpf_would_there() {
    let corpus = corpus::ensure().unwrap();
    let oldest = corpus.kernels.iter().find(|k| k.series() == "5.10");
    let kernel = open(oldest.unwrap_or(&corpus.kernels[0]));
    let mut builder = Builder::new(Endian::Big);
    for t in kernel.ours.types() {
        builder.add(&t.definition().unwrap());
    }
    let big = Btf::parse(builder.finish()).unwrap();
    for name in ["bits", "enums", "fields"] {
        let parts = take_apart(&ours::compile_with(name, &["-target", "bpfeb"])).unwrap();
        let local = Btf::parse(parts.btf.as_slice()).unwrap();
        assert_eq!(local.endian(), Endian::Big);
        let mut theirs = Theirs {
            local: libbpf::Btf::new(&parts.btf).unwrap(),
            kernel: &kernel.theirs,
            candidates: HashMap::new(),
        };
        let mut relocator = Relocator::new(&local, Targets::kernel(&big));
        for (section, r) in &parts.relocations {
            let what = || format!("{name}: {r:?}");
            let ours = relocator.relocate(r);
            let mut expected = match (&ours, theirs.answer(r, r.kind)) {
                (Ok(_), Ok(expected)) => expected,
                (Err(_), Err(_)) => continue,
                (_, theirs) => panic!("{}: {:?}, libbpf {theirs:?}", what(), ours.map(|o| o.value)),
            };
            if r.kind == LSHIFT {
                (expected.orig_val, expected.new_val) = shift(&mut theirs, r);
            }
            let ours = ours.unwrap();
            assert_eq!(ours.value.is_none(), expected.poison, "{}", what());
            assert!(
                ours.value.is_none_or(|v| v == expected.new_val),
                "{}: {expected:?}",
                what()
            );
            let code = &parts.code[section][r.instruction_offset as usize..];
            let code = &code[..code.len().min(16)];
            let mut written = code.to_vec();
            let here: Vec<_> = code.chunks_exact(8).map(swapped).collect();
            let their_written = libbpf::patch(&here, 0, &relo(r), 0, &expected);
            match (patch(&mut written, 0, Endian::Big, &ours), their_written) {
                (Ok(_), Ok(theirs)) => {
                    let written: Vec<_> = written.chunks_exact(8).map(swapped).collect();
                    assert_eq!(written, theirs, "{}", what());
                }
                (Err(_), Err(_)) => {}
                (ours, theirs) => panic!("{}: {ours:?}, libbpf {theirs:?}", what()),
            }
        }
        // What is minimized is of the kernel's byte order, and what the same kernel's of this one is.
        let relocations: Vec<_> = parts.relocations.iter().map(|(_, r)| *r).collect();
        let source = Source {
            btf: &local,
            relocations: &relocations,
        };
        let there = minimize(&[source], Targets::kernel(&big)).unwrap().bytes;
        let here = minimize(&[source], Targets::kernel(&kernel.ours)).unwrap().bytes;
        let (there, here) = (Btf::parse(there).unwrap(), Btf::parse(here).unwrap());
        assert_eq!((there.endian(), here.endian()), (Endian::Big, Endian::Little));
        let definitions = |btf: &Btf<'_>| btf.types().map(|t| t.definition().unwrap()).collect::<Vec<_>>();
        assert_eq!(definitions(&there), definitions(&here));
    }
}
