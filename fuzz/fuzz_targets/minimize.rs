//! A kernel's BTF cut down to what relocations ask of it: it answers as the whole does, and nothing more can be
//! cut from it.
#![no_main]

use std::sync::Arc;

use bpfleet_fuzz::{Recipe, bounded};
use btf::co_re::{CoreError, Module, Outcome, Relocator, Targets};
use btf::{Btf, RelocationInfo, Source, minimize};
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
        let full = Targets {
            kernel: &kernel,
            modules: &modules,
        };
        let relocations: Vec<_> = recipe.wanted.iter().map(|w| w.relocation).collect();
        // As of two objects.
        let (some, others) = relocations.split_at(relocations.len() / 2);
        let sources = [some, others].map(|relocations| Source {
            btf: &object,
            relocations,
        });
        let Ok(min) = minimize(&sources, full) else { return };
        assert_eq!(min.found + min.missing, relocations.len());
        let small = Btf::parse(min.bytes.as_slice()).expect("what is left is BTF");
        let small = Targets::kernel(&small);
        let Ok(again) = minimize(&sources, small) else {
            return;
        };
        assert_eq!(min, again, "nothing more can be left out");
        same_answers(&object, &relocations, full, small);
        for source in sources {
            same_answers(&object, source.relocations, full, small);
        }
    });
});

fn same_answers(object: &Btf<'_>, relocations: &[RelocationInfo], full: Targets<'_>, small: Targets<'_>) {
    let mut with_full = Relocator::new(object, full);
    let mut with_small = Relocator::new(object, small);
    for (index, relocation) in relocations.iter().enumerate() {
        let (full, small) = (with_full.relocate(relocation), with_small.relocate(relocation));
        // How many steps it takes differs.
        if let Err(CoreError::TooComplex) = full {
            return;
        }
        let summary = |outcome: Result<Outcome<'_>, CoreError>| {
            let outcome = outcome.ok()?;
            // Ids are given anew.
            let value = if relocation.kind == 7 { None } else { outcome.value };
            Some((
                value,
                outcome.size,
                outcome.unfit,
                outcome.target.map(|t| t.bit_offset),
            ))
        };
        assert_eq!(summary(full), summary(small), "relocation {index} {relocation:?}");
    }
}
