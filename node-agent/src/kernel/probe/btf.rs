//! BTF that the kernel holds, by id: it is there even where sysfs does not show it (5.11).
#![allow(unsafe_code, reason = "attributes of bpf(2) are a union")]

use std::{
    io, mem,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use aya_obj::generated::{bpf_btf_info, bpf_cmd};

use super::super::bpf::{bpf, owned, zeroed};

/// Longest name of a module (MODULE_NAME_LEN).
const NAME_BYTES: usize = 64;

/// What the kernel tells of a BTF object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its id.
    pub id: u32,
    /// Whether it is the kernel's or a module's, and not a program's.
    pub kernel: bool,
    /// `vmlinux`, or a module's name.
    pub name: String,
    /// Its size in bytes.
    pub size: u32,
}

/// BPF_BTF_GET_NEXT_ID; none after the last one.
pub fn next_id(after: u32) -> io::Result<Option<u32>> {
    let mut attr = zeroed();
    attr.__bindgen_anon_6.__bindgen_anon_1.start_id = after;
    match bpf(bpf_cmd::BPF_BTF_GET_NEXT_ID, &mut attr) {
        // SAFETY: the kernel wrote this plain integer, and any bits are a valid value of it.
        Ok(_) => Ok(Some(unsafe { attr.__bindgen_anon_6.next_id })),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// BPF_BTF_GET_FD_BY_ID.
pub fn open(id: u32) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.__bindgen_anon_6.__bindgen_anon_1.btf_id = id;
    owned(bpf(bpf_cmd::BPF_BTF_GET_FD_BY_ID, &mut attr)?)
}

/// What it is.
pub fn info(btf: BorrowedFd<'_>) -> io::Result<Info> {
    let mut name = [0u8; NAME_BYTES];
    let info = get_info(btf, &mut name, &mut [])?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    Ok(Info {
        id: info.id,
        kernel: info.kernel_btf != 0,
        name: String::from_utf8_lossy(name.get(..end).unwrap_or_default()).into_owned(),
        size: info.btf_size,
    })
}

/// Its bytes; there have to be as many as there is room for.
///
/// # Errors
/// If there are others, or the kernel refuses.
pub fn read(btf: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<()> {
    let info = get_info(btf, &mut [], bytes)?;
    if usize::try_from(info.btf_size).ok() == Some(bytes.len()) {
        Ok(())
    } else {
        Err(io::Error::other("its size is not what it was"))
    }
}

fn get_info(btf: BorrowedFd<'_>, name: &mut [u8], bytes: &mut [u8]) -> io::Result<bpf_btf_info> {
    // SAFETY: bpf_btf_info holds plain integers; all zero bits are a valid value.
    let mut info: bpf_btf_info = unsafe { mem::zeroed() };
    if !name.is_empty() {
        info.name = name.as_mut_ptr() as u64;
        info.name_len = u32::try_from(name.len()).map_err(io::Error::other)?;
    }
    if !bytes.is_empty() {
        info.btf = bytes.as_mut_ptr() as u64;
        info.btf_size = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    }
    let mut attr = zeroed();
    attr.info.bpf_fd = btf.as_raw_fd() as u32;
    attr.info.info_len = u32::try_from(mem::size_of::<bpf_btf_info>()).map_err(io::Error::other)?;
    attr.info.info = &raw mut info as u64;
    // The kernel writes at most as much as the lengths say; all three buffers outlive the call.
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info)
}
