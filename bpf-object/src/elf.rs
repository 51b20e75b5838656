//! The ELF file: header checks, sections and symbols, read once into plain values.

use std::collections::BTreeMap;

use btf::{Btf, BtfExt, Endian};
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, Rel, SectionHeader, Sym};
use object::{Endianness, SymbolIndex};

use crate::bytes::{MAX_NAME, utf8_prefix};
use crate::error::{InspectError, SizeLimit};

/// Largest object that is read, in bytes.
pub const MAX_OBJECT_SIZE: usize = 32 << 20;
/// Most sections; the kernel has no bound, real objects have tens.
const MAX_SECTIONS: usize = 8192;
/// Most symbols; real objects have hundreds, with local labels a few thousand.
const MAX_SYMBOLS: usize = 262_144;
/// Most relocations; real objects have a few thousand.
const MAX_RELOCATIONS: usize = 262_144;
/// Most bytes in a section that takes no room in the file: what `.bss` would allocate when loaded.
const MAX_NOBITS: u64 = 64 << 20;

/// A section of the file.
pub(crate) struct Section<'a> {
    pub(crate) name: &'a str,
    /// Empty for a section without file contents (`.bss`).
    pub(crate) data: &'a [u8],
    /// Size when loaded, in bytes.
    pub(crate) size: u64,
    pub(crate) executable: bool,
}

impl Section<'_> {
    /// Whether it holds subprograms only, and no programs.
    pub(crate) fn is_text(&self) -> bool {
        self.executable && is_text(self.name)
    }

    fn wants_relocations(&self) -> bool {
        self.executable || self.name == ".maps" || self.name.contains("struct_ops")
    }
}

/// Whether code in a section of this name is subprograms only: `.text`, and what
/// `-ffunction-sections` makes of it.
pub(crate) fn is_text(name: &str) -> bool {
    name == ".text" || name.starts_with(".text.")
}

/// What a symbol names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SymbolType {
    Function,
    Section,
    Other,
}

/// A symbol.
pub(crate) struct Symbol<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: SymbolType,
    /// Index of the section it is defined in; `None` if undefined, absolute or common.
    pub(crate) section: Option<usize>,
    pub(crate) undefined: bool,
    pub(crate) local: bool,
    pub(crate) weak: bool,
    /// Not to be seen from outside: what `static` is to the kernel, whatever its binding.
    pub(crate) hidden: bool,
    pub(crate) value: u64,
    pub(crate) size: u64,
}

/// An ELF file for eBPF whose sections lie within the file and whose names are text.
pub(crate) struct Elf<'a> {
    pub(crate) endian: Endian,
    /// By section index; index 0 is the null section.
    pub(crate) sections: Vec<Section<'a>>,
    pub(crate) symbols: Vec<Symbol<'a>>,
    /// Relocations by the section that they apply to.
    pub(crate) relocations: BTreeMap<usize, Vec<Relocation>>,
}

/// A place that depends on where a symbol is.
#[derive(Clone, Copy)]
pub(crate) struct Relocation {
    /// In bytes from the start of the section.
    pub(crate) offset: u64,
    /// Index of the symbol.
    pub(crate) symbol: usize,
}

impl<'a> Elf<'a> {
    /// Reads `bytes`, whose first byte must lie at a multiple of eight in memory.
    pub(crate) fn parse(bytes: &'a [u8], wanted: Endian) -> Result<Self, InspectError> {
        let header = check_header(bytes, wanted)?;
        let object_endian = match wanted {
            Endian::Little => Endianness::Little,
            Endian::Big => Endianness::Big,
        };
        let table = header
            .sections(object_endian, bytes)
            .map_err(|e| InspectError::malformed("section headers", e))?;
        if table.len() > MAX_SECTIONS {
            return Err(InspectError::too_many(
                "the section table",
                table.len(),
                MAX_SECTIONS,
            ));
        }
        let mut sections = Vec::with_capacity(table.len());
        for (index, section) in table.iter().enumerate() {
            let name = table
                .section_name(object_endian, section)
                .map_err(|e| InspectError::malformed(format!("name of section {index}"), e))?;
            let name = checked_name(name, || format!("name of section {index}"))?;
            sections.push(read_section(bytes, object_endian, section, name)?);
        }
        let symbols = read_symbols(bytes, object_endian, &table)?;
        let relocations = read_relocations(bytes, object_endian, &table, &sections, symbols.len())?;
        Ok(Elf {
            endian: wanted,
            sections,
            symbols,
            relocations,
        })
    }

    /// The first section of this name.
    pub(crate) fn section(&self, name: &str) -> Option<&Section<'a>> {
        self.sections.iter().find(|s| s.name == name)
    }

    /// The object's BTF, which is of its own byte order.
    pub(crate) fn btf(&self) -> Result<Option<Btf<'a>>, InspectError> {
        let Some(section) = self.section(".BTF") else {
            return Ok(None);
        };
        let btf = Btf::parse(section.data).map_err(|e| InspectError::malformed("section .BTF", e))?;
        self.same_order(".BTF", btf.endian()).map(|()| Some(btf))
    }

    /// What `.BTF.ext` says of its instructions.
    pub(crate) fn btf_ext(&self) -> Result<Option<BtfExt<'a>>, InspectError> {
        let Some(section) = self.section(".BTF.ext") else {
            return Ok(None);
        };
        let ext = BtfExt::parse(section.data).map_err(|e| InspectError::malformed("section .BTF.ext", e))?;
        self.same_order(".BTF.ext", ext.endian()).map(|()| Some(ext))
    }

    fn same_order(&self, name: &str, endian: Endian) -> Result<(), InspectError> {
        if endian == self.endian {
            return Ok(());
        }
        Err(InspectError::malformed(
            format!("section {name}"),
            format!("it is {endian}, the object is {}", self.endian),
        ))
    }
}

fn check_header(bytes: &[u8], wanted: Endian) -> Result<&FileHeader64<Endianness>, InspectError> {
    if bytes.len() > MAX_OBJECT_SIZE {
        return Err(InspectError::TooLarge {
            what: "the object".into(),
            size: bytes.len() as u64,
            limit: SizeLimit::Bytes(MAX_OBJECT_SIZE as u64),
        });
    }
    if !bytes.starts_with(&elf::ELFMAG) {
        return Err(InspectError::NotElf { found: look(bytes) });
    }
    let truncated = |what: &str, needed: u64| InspectError::Truncated {
        what: what.into(),
        needed,
        size: bytes.len() as u64,
    };
    if bytes.len() < size_of::<FileHeader64<Endianness>>() {
        return Err(truncated(
            "the ELF header",
            size_of::<FileHeader64<Endianness>>() as u64,
        ));
    }
    if bytes.get(4) == Some(&1) {
        return Err(InspectError::WrongMachine {
            machine: "a 32-bit processor".into(),
        });
    }
    let header =
        FileHeader64::<Endianness>::parse(bytes).map_err(|e| InspectError::malformed("ELF header", e))?;
    let endian = header
        .endian()
        .map_err(|e| InspectError::malformed("byte order", e))?;
    // The machine comes first: an x86 program is no better for having the right byte order.
    let machine = header.e_machine(endian);
    if machine != elf::EM_BPF {
        return Err(InspectError::WrongMachine {
            machine: machine_name(machine),
        });
    }
    let object = match endian {
        Endianness::Little => Endian::Little,
        Endianness::Big => Endian::Big,
    };
    if object != wanted {
        return Err(InspectError::WrongEndian { object, wanted });
    }
    match header.e_type(endian) {
        elf::ET_REL => {}
        elf::ET_EXEC => {
            return Err(InspectError::NotRelocatable {
                found: "an executable".into(),
            });
        }
        elf::ET_DYN => {
            return Err(InspectError::NotRelocatable {
                found: "a shared library".into(),
            });
        }
        other => {
            return Err(InspectError::NotRelocatable {
                found: format!("e_type {}", other.0),
            });
        }
    }
    let count = u64::from(header.e_shnum(endian)).max(1);
    let end = header.e_shoff(endian).saturating_add(count * 64);
    if header.e_shoff(endian) != 0 && end > bytes.len() as u64 {
        return Err(truncated("the table of section headers", end));
    }
    Ok(header)
}

fn read_section<'a>(
    bytes: &'a [u8],
    endian: Endianness,
    section: &elf::SectionHeader64<Endianness>,
    name: &'a str,
) -> Result<Section<'a>, InspectError> {
    let size = section.sh_size(endian);
    let kind = section.sh_type(endian);
    if kind == elf::SHT_NOBITS && size > MAX_NOBITS {
        return Err(InspectError::TooLarge {
            what: format!("section {name:?}"),
            size,
            limit: SizeLimit::Bytes(MAX_NOBITS),
        });
    }
    let data = match section.file_range(endian) {
        None => &[],
        Some(_) if kind == elf::SHT_NULL => &[],
        Some((start, len)) => {
            let end = start.saturating_add(len);
            let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
            range
                .and_then(|(start, end)| bytes.get(start..end))
                .ok_or_else(|| InspectError::Truncated {
                    what: format!("section {name:?}"),
                    needed: end,
                    size: bytes.len() as u64,
                })?
        }
    };
    let executable = section.sh_flags(endian).0 & elf::SHF_EXECINSTR.0 != 0;
    Ok(Section {
        name,
        data,
        size,
        executable: executable && kind == elf::SHT_PROGBITS,
    })
}

fn read_symbols<'a>(
    bytes: &'a [u8],
    endian: Endianness,
    table: &object::read::elf::SectionTable<'a, FileHeader64<Endianness>>,
) -> Result<Vec<Symbol<'a>>, InspectError> {
    let symbols = table
        .symbols(endian, bytes, elf::SHT_SYMTAB)
        .map_err(|e| InspectError::malformed("symbol table", e))?;
    if symbols.len() > MAX_SYMBOLS {
        return Err(InspectError::too_many(
            "the symbol table",
            symbols.len(),
            MAX_SYMBOLS,
        ));
    }
    let mut out = Vec::with_capacity(symbols.len());
    for (index, symbol) in symbols.iter().enumerate() {
        let name = symbols
            .symbol_name(endian, symbol)
            .map_err(|e| InspectError::malformed(format!("name of symbol {index}"), e))?;
        let name = checked_name(name, || format!("name of symbol {index}"))?;
        let section = symbols
            .symbol_section(endian, symbol, SymbolIndex(index))
            .map_err(|e| InspectError::malformed(format!("section of symbol {name:?}"), e))?
            .map(|s| s.0);
        if section.is_some_and(|s| s >= table.len()) {
            return Err(InspectError::malformed(
                format!("symbol {name:?}"),
                "it is in a section that is not",
            ));
        }
        out.push(Symbol {
            name,
            kind: match symbol.st_type() {
                elf::STT_FUNC => SymbolType::Function,
                elf::STT_SECTION => SymbolType::Section,
                _ => SymbolType::Other,
            },
            section,
            undefined: index != 0 && symbol.is_undefined(endian),
            local: symbol.st_bind() == elf::STB_LOCAL,
            weak: symbol.st_bind() == elf::STB_WEAK,
            hidden: matches!(symbol.st_visibility(), elf::STV_HIDDEN | elf::STV_INTERNAL),
            value: symbol.st_value(endian),
            size: symbol.st_size(endian),
        });
    }
    Ok(out)
}

/// Relocations of sections that hold instructions, and of those whose initialisers mean something.
/// Those of debug information are many and not needed.
fn read_relocations(
    bytes: &[u8],
    endian: Endianness,
    table: &object::read::elf::SectionTable<'_, FileHeader64<Endianness>>,
    sections: &[Section<'_>],
    symbols: usize,
) -> Result<BTreeMap<usize, Vec<Relocation>>, InspectError> {
    let mut out: BTreeMap<usize, Vec<Relocation>> = BTreeMap::new();
    let mut total = 0usize;
    for header in table.iter() {
        let target = header.sh_info(endian) as usize;
        let Some(section) = sections.get(target).filter(|s| s.wants_relocations()) else {
            continue;
        };
        let bad = |detail: &str| {
            InspectError::malformed(format!("relocations of section {:?}", section.name), detail)
        };
        if header.sh_type(endian) == elf::SHT_RELA {
            return Err(bad("they carry addends (RELA), which eBPF objects do not have"));
        }
        let found = header.rel(endian, bytes).map_err(|e| bad(&e.to_string()))?;
        let Some((entries, _)) = found else { continue };
        total = total.saturating_add(entries.len());
        if total > MAX_RELOCATIONS {
            return Err(InspectError::too_many(
                "the list of relocations",
                total,
                MAX_RELOCATIONS,
            ));
        }
        let list = out.entry(target).or_default();
        for entry in entries {
            let symbol = entry.r_sym(endian) as usize;
            if symbol >= symbols {
                return Err(bad("one refers to a symbol that is not there"));
            }
            list.push(Relocation {
                offset: entry.r_offset(endian),
                symbol,
            });
        }
    }
    for list in out.values_mut() {
        list.sort_by_key(|r| r.offset);
    }
    Ok(out)
}

fn checked_name(name: &[u8], what: impl Fn() -> String) -> Result<&str, InspectError> {
    if name.len() > MAX_NAME {
        return Err(InspectError::malformed(
            what(),
            format!("longer than {MAX_NAME} bytes"),
        ));
    }
    std::str::from_utf8(name).map_err(|e| InspectError::malformed(what(), e))
}

/// The contents of the `license` section; `None` if there is none or it is empty.
pub(crate) fn license(elf: &Elf<'_>) -> Option<String> {
    let data = elf.section("license")?.data;
    let end = data
        .iter()
        .position(|b| *b == 0)
        .unwrap_or(data.len())
        .min(MAX_NAME);
    let text = utf8_prefix(data.get(..end)?);
    (!text.is_empty()).then(|| text.to_owned())
}

/// Runs `f` on the bytes at an address that is a multiple of eight, where the ELF reader wants
/// them; copies them only if they are not there already.
pub(crate) fn with_aligned<T>(bytes: &[u8], f: impl FnOnce(&[u8]) -> T) -> T {
    if bytes.as_ptr().align_offset(8) == 0 {
        return f(bytes);
    }
    let mut copy = vec![0u8; bytes.len().saturating_add(8)];
    let start = copy.as_ptr().align_offset(8);
    match copy.get_mut(start..).and_then(|c| c.get_mut(..bytes.len())) {
        Some(place) => {
            place.copy_from_slice(bytes);
            f(place)
        }
        // Unaligned: the reader says so instead of reading.
        None => f(bytes),
    }
}

/// The byte order that a file says it has; the reader tells what is wrong with one that says none.
pub(crate) fn stated_endian(object: &[u8]) -> Endian {
    match object.get(5) {
        Some(1) => Endian::Little,
        Some(2) => Endian::Big,
        _ => Endian::HOST,
    }
}

fn machine_name(machine: elf::Machine) -> String {
    match machine {
        elf::EM_X86_64 => "x86-64".into(),
        elf::EM_AARCH64 => "arm64".into(),
        elf::EM_386 => "x86".into(),
        elf::EM_ARM => "arm".into(),
        elf::EM_S390 => "s390x".into(),
        elf::EM_PPC64 => "powerpc64".into(),
        elf::EM_RISCV => "RISC-V".into(),
        elf::EM_NONE => "no machine (e_machine 0)".into(),
        other => format!("ELF machine {}", other.0),
    }
}

/// What bytes that are no ELF file look like: the usual mistakes by name, else their first bytes.
fn look(bytes: &[u8]) -> String {
    let starts = |prefix: &[u8]| bytes.starts_with(prefix);
    match bytes {
        [] => "an empty file".into(),
        _ if starts(b"\x1f\x8b") => "a gzip archive".into(),
        _ if starts(b"\x28\xb5\x2f\xfd") => "a zstd archive".into(),
        _ if starts(b"\xfd7zXZ") => "an xz archive".into(),
        _ if starts(b"!<arch>") => "a static library (ar archive)".into(),
        _ if starts(b"BC\xc0\xde") => "LLVM bitcode".into(),
        _ if starts(b"f0VMR") => {
            "base64 text of an ELF file (a ConfigMap takes it in binaryData, not data)".into()
        }
        _ if bytes.len() < 4 && elf::ELFMAG.starts_with(bytes) => "only the start of one".into(),
        _ => {
            let head = bytes.get(..24.min(bytes.len())).unwrap_or(bytes);
            let text = utf8_prefix(head);
            let line = text.lines().next().unwrap_or("");
            if !line.is_empty() && line.chars().all(|c| !c.is_control() || c == '\t') {
                format!("text that begins with {line:?}")
            } else {
                let first: Vec<String> = head.iter().take(4).map(|b| format!("{b:02x}")).collect();
                format!("data that begins with {}", first.join(" "))
            }
        }
    }
}
