//! Files, and the BTF in them.

use std::path::Path;
use std::sync::Arc;

use btf::co_re::Module;
use btf::{Btf, BtfExt, RelocationInfo};
use memmap2::Mmap;
use object::read::elf::{ElfFile64, FileHeader};
use object::{Object, ObjectSection};

use crate::map::map;

/// Contents of a file: mapped, or read where it cannot be (files in /sys before 6.16).
pub enum Contents {
    /// Mapped.
    Mapped(Mmap),
    /// Read.
    Read(Vec<u8>),
}

impl std::ops::Deref for Contents {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Contents::Mapped(map) => map,
            Contents::Read(bytes) => bytes,
        }
    }
}

/// Opens a file in one way or the other.
///
/// # Errors
/// A message for the person who named it.
pub fn contents(path: &Path) -> Result<Contents, String> {
    match map(path) {
        Ok(map) => Ok(Contents::Mapped(map)),
        Err(_) => std::fs::read(path)
            .map(Contents::Read)
            .map_err(|e| format!("cannot read {}: {e}", path.display())),
    }
}

/// BTF in a file that is BTF itself, or the `.BTF` section of an ELF file.
///
/// # Errors
/// A message that says what the file is instead.
pub fn btf_part<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a [u8], String> {
    if !bytes.starts_with(b"\x7fELF") {
        return Ok(bytes);
    }
    section(path, bytes, ".BTF")?.ok_or_else(|| {
        format!(
            "{} has no section .BTF; give BTF, or an ELF file that was built with it (`clang -g`, `pahole -J`)",
            path.display()
        )
    })
}

/// Opens BTF.
///
/// # Errors
/// A message that says what is wrong with it.
pub fn open<'a>(path: &Path, bytes: &'a [u8]) -> Result<Btf<'a>, String> {
    Btf::parse(btf_part(path, bytes)?).map_err(|e| format!("{} cannot be read as BTF: {e}", path.display()))
}

/// Opens BTF of modules, each on top of their kernel's.
///
/// # Errors
/// A message that says what is wrong with which.
pub fn open_modules<'a>(
    kernel: &'a [u8],
    kernel_path: &Path,
    modules: &'a [(std::path::PathBuf, Contents)],
) -> Result<Vec<Module<'a>>, String> {
    if modules.is_empty() {
        return Ok(Vec::new());
    }
    let base = Arc::new(open(kernel_path, kernel)?);
    modules
        .iter()
        .map(|(path, bytes)| {
            let btf = Btf::parse_split(btf_part(path, bytes)?, base.clone())
                .map_err(|e| format!("{} cannot be read as BTF of a module: {e}", path.display()))?;
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            Ok(Module { name, btf })
        })
        .collect()
}

/// An object's BTF and CO-RE relocations.
///
/// # Errors
/// A message that says what is wrong with the object.
pub fn object<'a>(path: &Path, bytes: &'a [u8]) -> Result<(Btf<'a>, Vec<RelocationInfo>), String> {
    let name = path.display();
    let btf = open(path, bytes)?;
    let Some(ext) = section(path, bytes, ".BTF.ext")? else {
        return Ok((btf, Vec::new()));
    };
    let relocations = BtfExt::parse(ext)
        .and_then(|ext| ext.relocations()?.map(|r| r.map(|(_, r)| r)).collect())
        .map_err(|e| format!("section .BTF.ext of {name} cannot be read: {e}"))?;
    Ok((btf, relocations))
}

fn section<'a>(path: &Path, bytes: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, String> {
    let bad = |e: object::Error| format!("{} cannot be read as an ELF file: {e}", path.display());
    let file = ElfFile64::<object::Endianness>::parse(bytes).map_err(bad)?;
    // Only to have a wrong byte order said before anything else.
    file.elf_header().endian().map_err(bad)?;
    file.section_by_name(name)
        .map(|section| section.data().map_err(bad))
        .transpose()
}
