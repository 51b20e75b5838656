//! Types of modules: searched where the kernel has none of the name, and merged with the kernel's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;

use bpf_oracle::{corpus, libbpf};
use btf::co_re::{Module, Relocator, Targets};
use btf::{Btf, Endian, Kind, Source, minimize};
use common::alike::{Counts, compare, minimized};
use common::build::{enumeration, int, structure, with_relocations};
use common::definitions::encode_split;
use common::{ours, take_apart};

/// A kernel with its modules, opened by both sides.
struct Kernel {
    name: String,
    kernel: Arc<Btf<'static>>,
    modules: Vec<Module<'static>>,
    theirs: libbpf::Btf,
    their_modules: Vec<libbpf::Btf>,
}

impl Kernel {
    fn open(kernel: &corpus::Kernel) -> Self {
        let bytes = std::fs::read(&kernel.btf).unwrap();
        let theirs = libbpf::Btf::new(&bytes).unwrap();
        let base = Arc::new(Btf::parse(bytes).unwrap());
        let (mut modules, mut their_modules) = (Vec::new(), Vec::new());
        for (name, path) in &kernel.modules {
            let bytes = std::fs::read(path).unwrap();
            their_modules.push(libbpf::Btf::split(&bytes, &theirs).unwrap());
            modules.push(Module {
                name: name.clone(),
                btf: Btf::parse_split(bytes, base.clone()).unwrap(),
            });
        }
        Kernel {
            name: kernel.name.clone(),
            kernel: base,
            modules,
            theirs,
            their_modules,
        }
    }

    fn targets(&self) -> Targets<'_> {
        Targets {
            kernel: &self.kernel,
            modules: &self.modules,
        }
    }
}

fn kernels() -> impl Iterator<Item = Kernel> {
    let corpus = corpus::ensure().unwrap();
    let with_modules = |k: &corpus::Kernel| !k.modules.is_empty();
    let kernels: Vec<_> = corpus.kernels.into_iter().filter(with_modules).collect();
    assert!(!kernels.is_empty());
    kernels.into_iter().map(|k| Kernel::open(&k))
}

#[test]
fn types_of_modules_are_found_as_libbpf_finds_them_and_answered_alike_by_one_btf_made_of_all() {
    let object = ours::compile("modules");
    let objects = [
        ("modules", take_apart(&object).unwrap()),
        (
            "modules that match",
            take_apart(&ours::matching(&object)).unwrap(),
        ),
    ];
    let mut counts = Counts::default();
    for kernel in kernels() {
        for (name, parts) in &objects {
            let what = format!("{name} on {}", kernel.name);
            counts += compare(
                &what,
                parts,
                kernel.targets(),
                &kernel.theirs,
                &kernel.their_modules,
            );
            let alone = Targets::kernel(&kernel.kernel);
            let alone = compare(&what, parts, alone, &kernel.theirs, &[]);
            let with = minimized(&what, parts, kernel.targets());
            assert!(with.len() < 8192, "{what}: {} bytes", with.len());
            assert!(alone.poisoned > 50, "{what}: the kernel has it all: {alone:?}");
        }
    }
    println!("{counts:?}");
    assert!(counts.poisoned * 5 < counts.relocations, "{counts:?}");
}

#[test]
fn a_name_that_the_kernel_has_is_not_looked_for_in_modules() {
    let mut seen = Vec::new();
    for kernel in kernels() {
        let targets = kernel.targets();
        for module in &kernel.modules {
            let both = module.btf.types().filter(|t| {
                t.kind() == Kind::Struct && kernel.kernel.find(Kind::Struct, t.name_bytes()).is_some()
            });
            for t in both.filter(|t| !t.name().is_empty()).take(5) {
                let ours = targets.candidates(t).unwrap();
                assert!(!ours.is_empty());
                assert!(ours.iter().all(|c| c.module.is_none()), "{}: {t:?}", kernel.name);
                // The module's BTF in the place of an object's.
                let their_module = libbpf::Btf::split(module.btf.bytes(), &kernel.theirs).unwrap();
                let theirs =
                    libbpf::candidates(&their_module, t.id(), &kernel.theirs, &kernel.their_modules).unwrap();
                assert!(theirs.iter().all(|c| c.origin == 0));
                assert!(theirs.iter().map(|c| c.id).eq(ours.iter().map(|c| c.id)));
                seen.push(t.name().to_owned());
            }
        }
    }
    assert!(seen.iter().any(|n| n == "Qdisc" || n == "module"), "{seen:?}");
}

#[test]
fn a_nested_type_of_a_module_does_not_stand_in_for_the_kernels_of_that_name() {
    // The kernel's `inner` has `x` at 4, the one that the module's `outer` has inside at 8; so with `e`.
    let definitions = vec![
        int(),
        structure("inner", 8, &[("x", 1, 4)]),
        enumeration("e", 4, &[("A", 1)]),
        structure("inner", 12, &[("x", 1, 8)]),
        enumeration("e", 1, &[("A", 2)]),
        structure("outer", 24, &[("in", 4, 4), ("e", 5, 16)]),
    ];
    let (kernel, module) = encode_split((definitions, 3));
    let kernel = Arc::new(Btf::parse(kernel).unwrap());
    let modules = [Module {
        name: "module".into(),
        btf: Btf::parse_split(module, kernel.clone()).unwrap(),
    }];
    let targets = Targets {
        kernel: &kernel,
        modules: &modules,
    };
    let local = [
        int(),
        structure("inner", 4, &[("x", 1, 0)]),
        enumeration("e", 4, &[("A", 0)]),
        structure("outer", 8, &[("in", 2, 0), ("e", 3, 4)]),
    ];
    let asked = [
        (2, "0:0", 0),
        (2, "0", 9),
        (3, "0", 11),
        (3, "0", 9),
        (4, "0:0:0", 0),
        (4, "0:0", 1),
        (4, "0:1", 0),
        (4, "0:1", 1),
    ];
    let (btf, relocations) = with_relocations(Endian::HOST, &local, &asked);
    let local = Btf::parse(btf).unwrap();
    let source = Source {
        btf: &local,
        relocations: &relocations,
    };
    let min = Btf::parse(minimize(&[source], targets).unwrap().bytes).unwrap();
    for targets in [targets, Targets::kernel(&min)] {
        let mut relocator = Relocator::new(&local, targets);
        let values: Vec<_> = relocations
            .iter()
            .map(|r| relocator.relocate(r).unwrap().value.unwrap())
            .collect();
        assert_eq!(values, [4, 8, 1, 4, 12, 12, 16, 1]);
    }
}
