//! A kernel's BTF cut down to what relocations ask of it: it answers as the whole does, and nothing more can be
//! cut from it.
#![no_main]

use std::sync::Arc;

use bpfleet_fuzz::{Recipe, bounded};
use btf::co_re::{CoreError, Module, Outcome, Relocator, Targets};
use btf::{Btf, Kind, RelocationInfo, Source, minimize};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let recipe = Recipe::read(data);
    // A relocation of few bytes can follow an access of 64 steps.
    bounded(64 << 10, 8 * data.len(), || {
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
        // Types of a module stand beside the kernel's there, which cannot always be told apart.
        let complete = recipe.sound && ends(&object) && ends(&kernel);
        if !complete || !modules[0].btf.is_empty() || has_odd_bit_fields(&kernel) {
            return;
        }
        assert_eq!(min, again, "nothing more can be left out");
        same_answers(&object, &relocations, full, small);
        for source in sources {
            same_answers(&object, source.relocations, full, small);
        }
    });
});

/// Whether no type is a part of itself, and none is nested deeper than C that somebody writes.
fn ends(btf: &Btf<'_>) -> bool {
    let mut depths = vec![0u32; btf.len() as usize];
    for depth in 1..16 {
        let mut deeper = false;
        for t in btf.types() {
            let resolved = |id: u32| btf.get(id).and_then(|t| t.resolved());
            // Behind a pointer everything may come again that is in a struct.
            let target = t.target().filter(|id| match t.kind() {
                Kind::Ptr => !resolved(*id).is_some_and(|t| t.kind().is_composite()),
                kind => kind.is_modifier() || kind == Kind::FuncProto,
            });
            let parts = t
                .members()
                .map(|m| m.type_id)
                .chain(t.parameters().map(|p| p.type_id))
                .chain(target)
                .chain(t.array().map(|a| a.element));
            if parts.into_iter().any(|id| depths[id as usize] + 1 == depth) {
                depths[t.id() as usize] = depth;
                deeper = true;
            }
        }
        if !deeper {
            return true;
        }
    }
    false
}

/// Bit fields of what C has none of: libbpf takes the id of a pointer's target for the size of such a field.
fn has_odd_bit_fields(btf: &Btf<'_>) -> bool {
    let members = btf.types().flat_map(|t| t.members());
    members.filter(|m| m.bit_size > 0).any(|m| {
        let t = btf.get(m.type_id).and_then(|t| t.resolved());
        !t.is_some_and(|t| t.kind() == Kind::Int || t.kind().is_enum())
    })
}

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
