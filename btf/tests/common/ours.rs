//! Our own C, compiled when tests run. Needs clang and libbpf's headers.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use object::read::elf::ElfFile64;
use object::{Object as _, ObjectSection as _};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/c");

/// Compiles `tests/c/NAME.bpf.c` for this machine's byte order.
pub fn compile(name: &str) -> Vec<u8> {
    compile_with(name, &["-target", "bpf"])
}

/// The same with other arguments.
pub fn compile_with(name: &str, args: &[&str]) -> Vec<u8> {
    let source = Path::new(DIRECTORY).join(format!("{name}.bpf.c"));
    let args = [&["-g"], args].concat();
    bpf_oracle::clang::compile_file(&source, &args).unwrap_or_else(|e| panic!("{e}"))
}

const TYPE_EXISTS: u32 = 8;
const TYPE_MATCHES: u32 = 12;

/// The object with `TYPE_MATCHES` wherever it has `TYPE_EXISTS`: no clang before 15 makes such, and the
/// instructions are the same.
pub fn matching(object: &[u8]) -> Vec<u8> {
    let file = ElfFile64::<object::Endianness>::parse(object).unwrap();
    let (start, _) = file.section_by_name(".BTF.ext").unwrap().file_range().unwrap();
    let mut changed = object.to_vec();
    let ext = &mut changed[start as usize..];
    let word = |ext: &[u8], at: usize| u32::from_le_bytes(ext[at..at + 4].try_into().unwrap());
    let (at, length) = (word(ext, 24), word(ext, 28));
    let mut at = (word(ext, 4) + at) as usize;
    let end = at + length as usize;
    let record = word(ext, at) as usize;
    at += 4;
    let mut found = 0;
    while at < end {
        let count = word(ext, at + 4);
        at += 8;
        for _ in 0..count {
            if word(ext, at + 12) == TYPE_EXISTS {
                ext[at + 12..at + 16].copy_from_slice(&TYPE_MATCHES.to_le_bytes());
                found += 1;
            }
            at += record;
        }
    }
    assert!(found > 0, "nothing to change");
    changed
}

/// Every object of ours for kernels, by name.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    let types = compile("types");
    let declared = compile("fwd");
    vec![
        ("fields", compile("fields")),
        ("bits", compile("bits")),
        ("enums", compile("enums")),
        ("types that match", matching(&types)),
        ("types", types),
        ("declarations that match", matching(&declared)),
        ("declarations", declared),
        ("refused", compile("refused")),
    ]
}
