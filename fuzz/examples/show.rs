//! Shows what an input of `relocate` or `minimize` makes: `show FILE`.

use std::error::Error;
use std::sync::Arc;

use bpfleet_fuzz::Recipe;
use btf::co_re::{CoreKind, Module, Relocator, Targets};
use btf::{Btf, Source, minimize};

fn main() -> Result<(), Box<dyn Error>> {
    let data = std::fs::read(std::env::args().nth(1).ok_or("usage: show FILE")?)?;
    let recipe = Recipe::read(&data);
    let object = Btf::parse(recipe.object.as_slice())?;
    let kernel = Arc::new(Btf::parse(recipe.kernel.as_slice())?);
    let module = Btf::parse_split(recipe.module.as_slice(), Arc::clone(&kernel))?;
    show("object", &object);
    show("kernel", &kernel);
    show("module", &module);
    let modules = [Module {
        name: "module".into(),
        btf: module,
    }];
    let full = Targets {
        kernel: &kernel,
        modules: &modules,
    };
    let relocations: Vec<_> = recipe.wanted.iter().map(|w| w.relocation).collect();
    let source = Source {
        btf: &object,
        relocations: &relocations,
    };
    let min = minimize(&[source], full)?;
    let small = Btf::parse(min.bytes.as_slice())?;
    show("what is left", &small);
    println!("found {}, missing {}", min.found, min.missing);
    let mut with_full = Relocator::new(&object, full);
    let mut with_small = Relocator::new(&object, Targets::kernel(&small));
    for relocation in &relocations {
        let (kind, access) = (
            CoreKind::from_raw(relocation.kind),
            object.text(relocation.access),
        );
        println!("{kind:?} of type {}, {access:?}", relocation.type_id);
        for relocator in [&mut with_full, &mut with_small] {
            match relocator.relocate(relocation) {
                Ok(o) => println!(
                    "    {:?} (was {}), size {}, unfit {}, {:?}",
                    o.value,
                    o.original,
                    o.size,
                    o.unfit,
                    o.target.map(|t| (t.root, t.steps, t.bit_offset))
                ),
                Err(error) => println!("    {error}"),
            }
        }
    }
    Ok(())
}

fn show(what: &str, btf: &Btf<'_>) {
    println!("{what}, {:?}:", btf.endian());
    for t in btf.types() {
        let text = format!("{:?}", t.definition());
        println!("  [{}] {}", t.id(), names(&text));
    }
}

/// Byte strings as text.
fn names(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('[').enumerate() {
        let (inside, rest) = part.split_once(']').unwrap_or(("", part));
        let bytes: Option<Vec<u8>> = inside.split(", ").map(|b| b.parse().ok()).collect();
        match bytes {
            Some(bytes) if index > 0 => out.push_str(&format!("{:?}", String::from_utf8_lossy(&bytes))),
            _ if index > 0 && part.contains(']') => out.push_str(&format!("[{inside}]")),
            _ if index > 0 => out.push('['),
            _ => {}
        }
        out.push_str(rest);
    }
    out
}
