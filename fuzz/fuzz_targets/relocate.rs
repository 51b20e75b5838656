//! An object's relocations against a kernel and a module: decided, and written into instructions.
#![no_main]

use std::sync::Arc;

use bpfleet_fuzz::{Recipe, Wanted, bounded};
use btf::co_re::{CoreKind, Module, Outcome, Relocator, Targets, patch};
use btf::{Btf, Endian};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let recipe = Recipe::read(data);
    bounded(64 << 10, data.len(), || {
        let object = Btf::parse(recipe.object.as_slice()).expect("recipes make BTF");
        let kernel = Arc::new(Btf::parse(recipe.kernel.as_slice()).expect("recipes make BTF"));
        let module =
            Btf::parse_split(recipe.module.as_slice(), Arc::clone(&kernel)).expect("recipes make BTF");
        let modules = [Module {
            name: "module".into(),
            btf: module,
        }];
        let targets = Targets {
            kernel: &kernel,
            modules: &modules,
        };
        let mut relocator = Relocator::new(&object, targets);
        for wanted in &recipe.wanted {
            match relocator.relocate(&wanted.relocation) {
                Ok(outcome) => write(wanted, recipe.endian, &outcome),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    });
});

fn write(wanted: &Wanted, endian: Endian, outcome: &Outcome<'_>) {
    assert_eq!(outcome.kind, CoreKind::from_raw(wanted.relocation.kind));
    let mut code = wanted.code;
    if wanted.fitting {
        operand(&mut code, endian, outcome.original);
    }
    let before = code;
    match patch(&mut code, 0, endian, outcome) {
        Ok(_) => assert!(code[8..] == before[8..] || before[0] == 0x18),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(code, before, "nothing is changed where it fails");
        }
    }
    let _ = patch(&mut code[..12], 8, endian, outcome);
    let _ = patch(&mut code, 3, endian, outcome);
}

/// Gives an instruction the operand that it should have.
fn operand(code: &mut [u8; 16], endian: Endian, value: u64) {
    let class = code[0] & 7;
    let mut put = |at: usize, size: usize, value: u64| {
        let (little, big) = (value.to_le_bytes(), value.to_be_bytes());
        code[at..at + size].copy_from_slice(match endian {
            Endian::Little => &little[..size],
            Endian::Big => &big[8 - size..],
        });
    };
    match class {
        // A load or store has an offset, arithmetic a value, a 64-bit load two halves of one.
        1..=3 => put(2, 2, value),
        0 => {
            put(4, 4, value);
            put(12, 4, value >> 32);
        }
        _ => put(4, 4, value),
    }
}
