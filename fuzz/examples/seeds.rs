//! Writes seeds: `seeds DIR` compiles C of this repository with clang and makes inputs of each target from it,
//! in `DIR/TARGET`.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bpfleet_fuzz::{Part, Writer};
use btf::{Btf, BtfExt};
use object::build::elf::{Builder, SectionData};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Configurations, and values of variables.
const TEXTS: [&str; 4] = [
    "CONFIG_HZ=250\nCONFIG_SMP=y\nCONFIG_CC_VERSION_TEXT=\"gcc 12\"\n# CONFIG_X is not set\n",
    "{\"name\":\"abc\",\"colour\":\"RED\",\"on\":true}",
    "[1,-2,0.5,\"0x7f\",null]",
    "300",
];

fn main() -> Outcome<()> {
    let into = PathBuf::from(std::env::args().nth(1).ok_or("usage: seeds DIR")?);
    for target in ["parse", "relocate", "minimize", "inspect", "resolve", "globals"] {
        fs::create_dir_all(into.join(target))?;
    }
    let into = into.canonicalize()?;
    let kernel = compile(&into, "fuzz/seeds/kernel.c", "bpf")?;
    let kernel = section(&kernel, ".BTF")?.ok_or("the kernel's object has no BTF")?;
    for (source, target) in [
        ("fuzz/seeds/tools.bpf.c", "bpf"),
        ("fuzz/seeds/tools.bpf.c", "bpfeb"),
        ("e2e/programs/core_guarded.bpf.c", "bpf"),
        ("e2e/programs/kconfig.bpf.c", "bpf"),
        ("e2e/programs/odd_names.bpf.c", "bpf"),
        ("e2e/programs/xdp.bpf.c", "bpf"),
        ("e2e/programs/tp_btf.bpf.c", "bpf"),
    ] {
        let name = Path::new(source)
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy();
        let name = format!("{name}-{target}");
        let object = compile(&into, source, target)?;
        fs::write(into.join("inspect").join(&name), &object)?;
        for how in [0, 0x22, 0x4d] {
            let input = [&[how], object.as_slice()].concat();
            fs::write(into.join("resolve").join(format!("{name}-{how}")), input)?;
        }
        let btf = section(&object, ".BTF")?.ok_or("an object without BTF")?;
        let ext = section(&object, ".BTF.ext")?.ok_or("an object without .BTF.ext")?;
        let parse = |how: u8, parts: &[&[u8]]| {
            fs::write(
                into.join("parse").join(format!("{name}-{how}")),
                [&[how], parts.concat().as_slice()].concat(),
            )
        };
        parse(0, &[&btf])?;
        parse(1, &[&ext])?;
        parse(3, &[&(btf.len() as u16).to_le_bytes(), &btf, &btf])?;
        let recipe = recipe(&object, &btf, &ext, &kernel)?;
        for (how, text) in TEXTS.iter().enumerate() {
            let length = (text.len() as u16).to_le_bytes();
            let input = [&[how as u8], length.as_slice(), text.as_bytes(), &recipe[0]].concat();
            fs::write(into.join("globals").join(format!("{name}-{how}")), input)?;
        }
        for target in ["relocate", "minimize"] {
            for (how, recipe) in recipe.iter().enumerate() {
                fs::write(into.join(target).join(format!("{name}-{how}")), recipe)?;
            }
        }
    }
    Ok(())
}

/// The object of a C file of this repository, without what is for debuggers. It names its sources as they stand in
/// the repository, wherever that lies: descendants of it are kept in the tree.
fn compile(into: &Path, source: &str, target: &str) -> Outcome<Vec<u8>> {
    let out = into.join("object.o");
    let run = Command::new("clang")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args([
            "-O2",
            "-g",
            "-w",
            "-c",
            "-fno-addrsig",
            "-fdebug-compilation-dir=.",
            "-target",
            target,
        ])
        .arg(format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH))
        .arg(source)
        .arg("-o")
        .arg(&out)
        .output()
        .map_err(|e| format!("clang does not run: {e}; install it: apt-get install clang libbpf-dev"))?;
    if !run.status.success() {
        return Err(format!("{source}: {}", String::from_utf8_lossy(&run.stderr)).into());
    }
    let data = fs::read(&out)?;
    fs::remove_file(&out)?;
    let mut builder = Builder::read(data.as_slice())?;
    let mut debugging = Vec::new();
    for section in &mut builder.sections {
        let name = section.name.to_vec();
        if name.starts_with(b".debug") || name.starts_with(b".rel.debug") {
            section.delete = true;
            debugging.push(section.id());
        }
    }
    for symbol in &mut builder.symbols {
        symbol.delete = symbol.section.is_some_and(|s| debugging.contains(&s));
    }
    // Clang has one table for all strings, which the builder does not write.
    let names = builder.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = object::elf::SHT_STRTAB;
    names.data = SectionData::SectionString;
    builder.set_section_sizes();
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}

fn section(object: &[u8], name: &str) -> Outcome<Option<Vec<u8>>> {
    let builder = Builder::read(object)?;
    let found = builder
        .sections
        .iter()
        .find(|s| s.name.as_slice() == name.as_bytes());
    Ok(match found.map(|s| &s.data) {
        Some(SectionData::Data(data)) => Some(data.to_vec()),
        _ => None,
    })
}

/// The object against itself, and against the kernel.
fn recipe(object: &[u8], btf: &[u8], ext: &[u8], kernel: &[u8]) -> Outcome<[Vec<u8>; 2]> {
    let (local, kernel) = (Btf::parse(btf)?, Btf::parse(kernel)?);
    let make = |same: bool| -> Outcome<Vec<u8>> {
        let mut writer = Writer::default();
        writer.types(&local);
        if same {
            writer.same();
        } else {
            writer.part(Part::Kernel);
            writer.types(&kernel);
        }
        for record in BtfExt::parse(ext)?.relocations()? {
            let (section_name, relocation) = record?;
            let code = section(object, local.text(section_name))?.unwrap_or_default();
            let code = code.get(relocation.instruction_offset as usize).copied();
            writer.relocation(&local, &relocation, code.unwrap_or(0xb7));
        }
        Ok(writer.finish())
    };
    Ok([make(true)?, make(false)?])
}
