//! BTF and relocations as libbpf reads them out of an object.

use std::ffi::CString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::ptr::NonNull;

use libbpf_sys as sys;

use super::btf::Btf;
use super::error::{EINVAL, Error};
use super::log;
use super::relo::Relo;

/// What an object says about its types.
#[derive(Debug)]
pub struct Elf {
    /// Its `.BTF`.
    pub btf: Btf,
    /// Its `.BTF.ext`, as it is encoded. Empty without.
    pub ext: Vec<u8>,
    /// The CO-RE relocations in there, in their order, each with its section.
    pub relos: Vec<(String, Relo)>,
}

/// Reads an object's BTF (`btf__parse_elf`).
///
/// # Errors
/// If libbpf finds no BTF or an invalid one, or there is no temporary file to give it.
pub fn read_elf(object: &[u8]) -> Result<Elf, Error> {
    const CALL: &str = "btf__parse_elf";
    let io = |e: std::io::Error| Error::new(CALL, -e.raw_os_error().unwrap_or(0)).with_log(e.to_string());
    let mut file = tempfile::NamedTempFile::new().map_err(io)?;
    file.write_all(object).map_err(io)?;
    let path = CString::new(file.path().as_os_str().as_bytes()).map_err(|_| Error::new(CALL, EINVAL))?;
    let mut ext = std::ptr::null_mut();
    let (btf, log) = log::quietly(|| {
        // SAFETY: the path is NUL-terminated, and ext is only used if set.
        let btf = unsafe { sys::btf__parse_elf(path.as_ptr(), &mut ext) };
        NonNull::new(btf).ok_or_else(|| Error::last(CALL))
    });
    let btf = btf.map_err(|e| e.with_log(log))?;
    // SAFETY: new, nobody else's, and without a base.
    let btf = unsafe { Btf::own(btf, None) };
    let mut bytes = Vec::new();
    if !ext.is_null() {
        let mut size = 0;
        // SAFETY: ext is valid and this function's; its bytes are copied before it is freed.
        unsafe {
            let raw: *const u8 = sys::btf_ext__raw_data(ext, &mut size).cast();
            if !raw.is_null() {
                bytes = std::slice::from_raw_parts(raw, size as usize).to_vec();
            }
            sys::btf_ext__free(ext);
        }
    }
    let btf = btf?;
    let relos = relos(&btf, &bytes).ok_or_else(|| Error::new("btf_ext__raw_data", EINVAL))?;
    Ok(Elf {
        btf,
        ext: bytes,
        relos,
    })
}

/// `.BTF.ext`: a header (magic, version, flags, its length, and offset and length of each part), then per
/// part the size of a record, and per section its name, how many records, and these.
fn relos(btf: &Btf, ext: &[u8]) -> Option<Vec<(String, Relo)>> {
    let little = match ext.get(..2) {
        None => return Some(Vec::new()),
        Some(magic) => magic == [0x9f, 0xeb],
    };
    let word = |at: usize| {
        let bytes: [u8; 4] = ext.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if little {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    };
    let header = word(4)? as usize;
    if header < 32 {
        return Some(Vec::new());
    }
    let (start, len) = (header.checked_add(word(24)? as usize)?, word(28)? as usize);
    let end = start.checked_add(len)?;
    let mut found = Vec::new();
    if len == 0 {
        return Some(found);
    }
    let record = word(start)? as usize;
    let mut at = start + 4;
    while at < end {
        let section = btf.string(word(at)?)?;
        let count = word(at + 4)?;
        at += 8;
        for _ in 0..count {
            let relo = Relo {
                insn_off: word(at)?,
                type_id: word(at + 4)?,
                access_str_off: word(at + 8)?,
                kind: word(at + 12)?,
            };
            found.push((section.clone(), relo));
            at = at.checked_add(record)?;
        }
    }
    Some(found)
}
