//! The resolved object as an ELF file. It is written from what was read and checked, never by changing
//! the input: what compilers and linkers leave in objects beside that is not carried along.

use std::collections::BTreeMap;

use btf::Endian;
use object::build::elf::{Builder, Relocation, SectionData, SectionId, SymbolId};
use object::{Endianness, elf};

use crate::elf::{Elf, Symbol, SymbolType};
use crate::initial::Maps;
use crate::map::Map;
use crate::resolve::error::ResolveError;
use crate::resolve::image::{Link, Section, To, data_sections};

/// Everything that goes into the file.
pub(crate) struct Contents<'c, 'a> {
    pub(crate) elf: &'c Elf<'a>,
    pub(crate) sections: &'c [Section<'c>],
    pub(crate) maps: &'c Maps<'c>,
    pub(crate) infos: &'c [Map],
    /// Contents of data sections with values applied, by name.
    pub(crate) globals: &'c BTreeMap<String, Vec<u8>>,
    /// Name and contents of the section of configuration values, if it is referred to.
    pub(crate) kconfig: Option<(&'c str, &'c [u8])>,
    pub(crate) license: &'c str,
    pub(crate) btf: Option<(Vec<u8>, Option<Vec<u8>>)>,
}

/// The licence that stands for none: aya takes an object without one for GPL, the kernel and libbpf do
/// not.
const NO_LICENSE: &str = "none";

/// Most zeros that are written out: of a section without contents in the file, which aya takes for no
/// data at all unless it is `.bss`.
const MAX_ZEROS: usize = 1 << 20;

/// Writes the file.
pub(crate) fn write(contents: &Contents<'_, '_>) -> Result<Vec<u8>, ResolveError> {
    let endian = match contents.elf.endian {
        Endian::Little => Endianness::Little,
        Endian::Big => Endianness::Big,
    };
    let mut out = Out {
        builder: Builder::new(endian, true),
        functions: BTreeMap::new(),
        maps: BTreeMap::new(),
        data: BTreeMap::new(),
        kconfig: None,
    };
    out.builder.header.e_type = elf::ET_REL;
    out.builder.header.e_machine = elf::EM_BPF;
    let code = out.code(contents);
    out.map_definitions(contents)?;
    out.data(contents)?;
    out.rest(contents);
    out.relocations(&code, contents)?;
    let mut bytes = Vec::new();
    out.builder
        .write(&mut bytes)
        .map_err(|e| ResolveError::Write(e.to_string()))?;
    Ok(bytes)
}

struct Out<'c> {
    builder: Builder<'c>,
    functions: BTreeMap<usize, SymbolId>,
    maps: BTreeMap<usize, SymbolId>,
    data: BTreeMap<usize, SymbolId>,
    kconfig: Option<SymbolId>,
}

impl<'c> Out<'c> {
    fn section(&mut self, name: &'c str, flags: elf::SectionFlags, data: &'c [u8]) -> SectionId {
        let section = self.builder.sections.add();
        section.name = name.into();
        section.sh_type = elf::SHT_PROGBITS;
        section.sh_flags = flags;
        section.sh_addralign = 8;
        section.data = SectionData::Data(data.into());
        section.id()
    }

    fn symbol(
        &mut self,
        name: &'c str,
        section: SectionId,
        place: (u64, u64),
        kind: (elf::SymbolBind, elf::SymbolType),
    ) -> SymbolId {
        let symbol = self.builder.symbols.add();
        symbol.name = name.into();
        symbol.section = Some(section);
        (symbol.st_value, symbol.st_size) = place;
        symbol.set_st_info(kind.0, kind.1);
        symbol.id()
    }

    fn code(&mut self, contents: &Contents<'c, '_>) -> Vec<SectionId> {
        let mut ids = Vec::new();
        for section in contents.sections {
            let id = self.section(section.name, elf::SHF_ALLOC | elf::SHF_EXECINSTR, &[]);
            let mut bytes = Vec::new();
            for placed in &section.functions {
                bytes.extend_from_slice(placed.code);
                let place = (placed.offset, placed.code.len() as u64);
                let symbol = self.symbol(placed.name, id, place, (bind(placed.local), elf::STT_FUNC));
                if section.name == ".text" {
                    self.functions.insert(placed.function, symbol);
                }
            }
            self.builder.sections.get_mut(id).data = SectionData::Data(bytes.into());
            ids.push(id);
        }
        ids
    }

    /// Sections of map definitions, without their initialisers.
    fn map_definitions(&mut self, contents: &Contents<'c, '_>) -> Result<(), ResolveError> {
        let mut sections: BTreeMap<usize, SectionId> = BTreeMap::new();
        let mut ends: BTreeMap<usize, u64> = BTreeMap::new();
        for definition in &contents.maps.definitions {
            let end = ends.entry(definition.section).or_default();
            *end = (*end).max(definition.offset.saturating_add(definition.size));
        }
        for (index, definition) in contents.maps.definitions.iter().enumerate() {
            let Some(source) = contents.elf.sections.get(definition.section) else {
                continue;
            };
            let id = match sections.get(&definition.section) {
                Some(id) => *id,
                None => {
                    let id = self.section(source.name, elf::SHF_ALLOC | elf::SHF_WRITE, source.data);
                    sections.insert(definition.section, id);
                    // A section that takes no room in the file still has its maps.
                    let end = ends.get(&definition.section).copied().unwrap_or(0);
                    if end > source.data.len() as u64 {
                        let zeros = zeros(source.name, end)?;
                        self.builder.sections.get_mut(id).data = SectionData::Data(zeros.into());
                    }
                    id
                }
            };
            let place = (definition.offset, definition.size);
            let kind = (bind(definition.local), elf::STT_OBJECT);
            let symbol = self.symbol(&definition.map.name, id, place, kind);
            self.maps.insert(index, symbol);
        }
        Ok(())
    }

    fn data(&mut self, contents: &Contents<'c, '_>) -> Result<(), ResolveError> {
        let mut by_section: BTreeMap<usize, Vec<&Symbol<'c>>> = BTreeMap::new();
        for symbol in contents
            .elf
            .symbols
            .iter()
            .filter(|s| s.kind == SymbolType::Other)
        {
            if let Some(section) = symbol.section.filter(|_| !symbol.name.is_empty()) {
                by_section.entry(section).or_default().push(symbol);
            }
        }
        for index in data_sections(contents.elf, contents.infos) {
            let Some(section) = contents.elf.sections.get(index) else {
                continue;
            };
            let writable = !section.name.starts_with(".rodata");
            let flags = elf::SHF_ALLOC
                | if writable {
                    elf::SHF_WRITE
                } else {
                    elf::SectionFlags(0)
                };
            let id = self.section(section.name, flags, section.data);
            let values = contents.globals.get(section.name);
            let target = self.builder.sections.get_mut(id);
            if section.name.starts_with(".bss") {
                target.sh_type = elf::SHT_NOBITS;
                target.data = SectionData::UninitializedData(section.size);
            } else if let Some(values) = values {
                target.data = SectionData::Data(values.as_slice().into());
            } else if section.data.is_empty() {
                let zeros = zeros(section.name, section.size)?;
                target.data = SectionData::Data(zeros.into());
            }
            let symbol = self.symbol("", id, (0, 0), (elf::STB_LOCAL, elf::STT_SECTION));
            self.data.insert(index, symbol);
            for symbol in by_section.get(&index).map_or(&[][..], Vec::as_slice) {
                let kind = (bind(symbol.local), elf::STT_OBJECT);
                self.symbol(symbol.name, id, (symbol.value, symbol.size), kind);
            }
        }
        if let Some((name, bytes)) = contents.kconfig {
            let id = self.section(name, elf::SHF_ALLOC, bytes);
            self.kconfig = Some(self.symbol("", id, (0, 0), (elf::STB_LOCAL, elf::STT_SECTION)));
        }
        Ok(())
    }

    fn rest(&mut self, contents: &Contents<'c, '_>) {
        let license = match contents.license {
            "" => NO_LICENSE,
            given => given,
        };
        let mut bytes = license.as_bytes().to_vec();
        bytes.push(0);
        let id = self.section("license", elf::SHF_ALLOC | elf::SHF_WRITE, &[]);
        self.builder.sections.get_mut(id).data = SectionData::Data(bytes.into());
        if let Some(version) = contents.elf.section("version").filter(|s| s.data.len() == 4) {
            self.section("version", elf::SHF_ALLOC | elf::SHF_WRITE, version.data);
        }
        if let Some((btf, ext)) = &contents.btf {
            for (name, bytes) in [(".BTF", Some(btf)), (".BTF.ext", ext.as_ref())] {
                if let Some(bytes) = bytes {
                    let id = self.section(name, elf::SectionFlags(0), &[]);
                    self.builder.sections.get_mut(id).data = SectionData::Data(bytes.clone().into());
                }
            }
        }
    }

    fn relocations(&mut self, code: &[SectionId], contents: &Contents<'c, '_>) -> Result<(), ResolveError> {
        let symbols = self.builder.sections.add();
        symbols.name = ".symtab".into();
        symbols.sh_type = elf::SHT_SYMTAB;
        symbols.sh_addralign = 8;
        symbols.sh_entsize = 24;
        symbols.data = SectionData::Symbol;
        let symbols = symbols.id();
        let strings = self.builder.sections.add();
        strings.name = ".strtab".into();
        strings.sh_type = elf::SHT_STRTAB;
        strings.data = SectionData::String;
        let strings = strings.id();
        self.builder.sections.get_mut(symbols).sh_link_section = Some(strings);
        let names = self.builder.sections.add();
        names.name = ".shstrtab".into();
        names.sh_type = elf::SHT_STRTAB;
        names.data = SectionData::SectionString;
        for (section, id) in contents.sections.iter().zip(code) {
            let mut list = Vec::new();
            for placed in &section.functions {
                for link in placed.links {
                    let symbol = self.target(link).ok_or_else(|| {
                        ResolveError::Write(format!("function {} refers to what is not there", placed.name))
                    })?;
                    list.push(Relocation {
                        r_offset: placed.offset + link.at as u64,
                        symbol: Some(symbol),
                        r_type: if link.call {
                            elf::R_BPF_64_32
                        } else {
                            elf::R_BPF_64_64
                        },
                        r_addend: 0,
                    });
                }
            }
            if list.is_empty() {
                continue;
            }
            let relocations = self.builder.sections.add();
            relocations.name = format!(".rel{}", section.name).into_bytes().into();
            relocations.sh_type = elf::SHT_REL;
            relocations.sh_flags = elf::SHF_INFO_LINK;
            relocations.sh_addralign = 8;
            relocations.sh_entsize = 16;
            relocations.sh_link_section = Some(symbols);
            relocations.sh_info_section = Some(*id);
            relocations.data = SectionData::Relocation(list);
        }
        Ok(())
    }

    fn target(&self, link: &Link) -> Option<SymbolId> {
        match link.to {
            To::Function(index) => self.functions.get(&index).copied(),
            To::Map(index) => self.maps.get(&index).copied(),
            To::Data(index) => self.data.get(&index).copied(),
            To::Kconfig => self.kconfig,
        }
    }
}

fn bind(local: bool) -> elf::SymbolBind {
    if local { elf::STB_LOCAL } else { elf::STB_GLOBAL }
}

/// Zeros for a section that has none in the file.
fn zeros(section: &str, size: u64) -> Result<Vec<u8>, ResolveError> {
    let size = usize::try_from(size).ok().filter(|size| *size <= MAX_ZEROS);
    size.map(|size| vec![0; size])
        .ok_or_else(|| ResolveError::Unsupported {
            program: section.to_owned(),
            what: "more than a megabyte of zeros outside of .bss".into(),
            advice: "name the section .bss.…",
        })
}
