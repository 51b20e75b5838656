//! Objects made to want nothing of the running kernel.

use object::read::elf::{ElfFile64, FileHeader, SectionHeader};
use object::{Endianness, elf};

/// `Elf64_Sym`'s size, and where `st_info` is in it.
const SYMBOL: usize = 24;
const INFO: usize = 4;

/// A copy of an object with all undefined symbols weak, so that [`prepare`](super::prepare) does not fail
/// where the running kernel lacks a symbol, a function or a setting: libbpf then makes zero of symbols and
/// settings, and calls of functions invalid. CO-RE relocations stay what they are.
///
/// # Errors
/// If it is no 64-bit ELF file.
pub fn weaken(object: &[u8]) -> Result<Vec<u8>, String> {
    let file = ElfFile64::<Endianness>::parse(object).map_err(|e| e.to_string())?;
    let endian = file.endian();
    let header = file.elf_header();
    let sections = header
        .section_headers(endian, object)
        .map_err(|e| e.to_string())?;
    let mut weak = object.to_vec();
    for section in sections.iter().filter(|s| s.sh_type(endian) == elf::SHT_SYMTAB) {
        let symbols = section
            .data_as_array::<elf::Sym64<Endianness>, _>(endian, object)
            .map_err(|e| e.to_string())?;
        let start = usize::try_from(section.sh_offset(endian)).map_err(|e| e.to_string())?;
        for (at, symbol) in symbols.iter().enumerate() {
            if symbol.st_shndx.get(endian) == elf::SHN_UNDEF && symbol.st_bind() == elf::STB_GLOBAL {
                weak[start + at * SYMBOL + INFO] = (elf::STB_WEAK | symbol.st_type()).0;
            }
        }
    }
    Ok(weak)
}
