//! Objects and kernels, for comparing with libbpf.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod alike;
pub mod build;
pub mod definitions;
pub mod ours;
pub mod prepared;
pub mod random;
pub mod records;

use std::collections::HashMap;

use bpf_oracle::{corpus, libbpf};

use btf::{Btf, BtfExt, RelocationInfo};
use object::read::elf::ElfFile64;
use object::{Object as _, ObjectSection as _};

/// What relocations need of an object.
pub struct Parts {
    /// `.BTF`.
    pub btf: Vec<u8>,
    /// Relocations in the order of the file, with the section of each.
    pub relocations: Vec<(String, RelocationInfo)>,
    /// Contents of the sections that have relocations.
    pub code: HashMap<String, Vec<u8>>,
}

/// Takes an object apart; `None` if it has no CO-RE relocations.
pub fn take_apart(bytes: &[u8]) -> Option<Parts> {
    let file = ElfFile64::<object::Endianness>::parse(bytes).expect("an ELF file");
    let section = |name: &str| file.section_by_name(name).map(|s| s.data().unwrap().to_vec());
    let data = section(".BTF")?;
    let ext = section(".BTF.ext")?;
    let btf = Btf::parse(data.as_slice()).unwrap();
    let relocations: Vec<_> = BtfExt::parse(&ext)
        .unwrap()
        .relocations()
        .unwrap()
        .map(|record| {
            let (section, relocation) = record.unwrap();
            (btf.text(section).to_owned(), relocation)
        })
        .collect();
    if relocations.is_empty() {
        return None;
    }
    let code = relocations
        .iter()
        .map(|(name, _)| (name.clone(), section(name).expect("a section with code")))
        .collect();
    drop(btf);
    Some(Parts {
        btf: data,
        relocations,
        code,
    })
}

/// A kernel of the corpus, opened by both sides.
pub struct Kernel {
    pub name: String,
    pub path: std::path::PathBuf,
    pub ours: Btf<'static>,
    pub theirs: libbpf::Btf,
}

/// Opens a kernel of the corpus.
pub fn open(kernel: &corpus::Kernel) -> Kernel {
    let bytes = std::fs::read(&kernel.btf).unwrap();
    Kernel {
        name: kernel.name.clone(),
        path: kernel.btf.clone(),
        theirs: libbpf::Btf::new(&bytes).unwrap(),
        ours: Btf::parse(bytes).unwrap(),
    }
}

/// The corpus's objects that have CO-RE relocations, by set and name.
pub fn debians(corpus: &corpus::Corpus) -> Vec<(String, Parts)> {
    let parts = |o: &corpus::Object| take_apart(&o.bytes().unwrap());
    corpus
        .objects
        .iter()
        .filter_map(|o| Some((format!("{}/{}", o.set, o.name), parts(o)?)))
        .collect()
}
