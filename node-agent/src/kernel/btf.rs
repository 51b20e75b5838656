//! The kernel's BTF objects, by id: its own (from 5.11), those of modules and those of programs. They are there even
//! where sysfs does not show them.
#![allow(unsafe_code, reason = "bpf(2) takes addresses of what it writes to")]

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use aya_obj::generated::{bpf_btf_info, bpf_cmd};

use super::{
    bpf::{bpf, owned, zeroed},
    prog_load::text,
};

/// Most BTF objects that are looked at; each loaded program can have one.
const MAX_IDS: usize = 65_536;
/// Room for a module's name (MODULE_NAME_LEN of include/linux/module.h is 64 less what a long has).
const NAME: usize = 64;
/// Bytes of what the kernel says about a BTF that is refused.
const LOG: usize = 64 << 10;

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

/// BPF_BTF_LOAD, or the error and what the kernel says of it.
pub fn load(bytes: &[u8]) -> Result<OwnedFd, (io::Error, String)> {
    let attempt = |log: &mut [u8]| {
        let mut attr = zeroed();
        // SAFETY: writing fields of a zeroed union of plain data. `bytes` and `log` outlive the call.
        let fields = unsafe { &mut attr.__bindgen_anon_7 };
        fields.btf = bytes.as_ptr() as u64;
        fields.btf_size = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        if !log.is_empty() {
            fields.btf_log_buf = log.as_mut_ptr() as u64;
            fields.btf_log_size = u32::try_from(log.len()).map_err(io::Error::other)?;
            fields.btf_log_level = 1;
        }
        owned(bpf(bpf_cmd::BPF_BTF_LOAD, &mut attr)?)
    };
    attempt(&mut []).or_else(|error| {
        let mut log = vec![0; LOG];
        attempt(&mut log).map_err(|_| (error, text(&log)))
    })
}

/// Calls `look` with every BTF of the kernel and its modules until it returns false.
pub fn each(mut look: impl FnMut(&Info, OwnedFd) -> bool) -> io::Result<()> {
    let mut id = 0;
    for _ in 0..MAX_IDS {
        let Some(next) = next_id(id)? else {
            return Ok(());
        };
        id = next;
        // It may have gone since.
        let Ok(fd) = open(id) else { continue };
        let info = match info(fd.as_fd()) {
            Ok(info) => info,
            // Before 5.11 BTF has no name, and what asks for one is refused. Only programs' has an id there.
            Err(error) if error.raw_os_error() == Some(libc::E2BIG) => continue,
            Err(error) => return Err(error),
        };
        if info.kernel && !look(&info, fd) {
            return Ok(());
        }
    }
    Ok(())
}

/// A descriptor of a module's BTF, or of the kernel's own (`vmlinux`); none if no such module is loaded, or it
/// has no BTF.
pub fn by_name(module: &str) -> io::Result<Option<OwnedFd>> {
    let mut found = None;
    each(|info, fd| {
        if info.name == module {
            found = Some(fd);
        }
        found.is_none()
    })?;
    Ok(found)
}

/// BPF_BTF_GET_NEXT_ID; none after the last one.
fn next_id(after: u32) -> io::Result<Option<u32>> {
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
    let mut name = [0u8; NAME];
    let info = get_info(btf, &mut name, &mut [])?;
    Ok(Info {
        id: info.id,
        kernel: info.kernel_btf != 0,
        name: text(&name),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_those_of_the_directory() {
        let mut files: Vec<String> = std::fs::read_dir("/sys/kernel/btf")
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let mut names = Vec::new();
        each(|info, _| {
            names.push(info.name.clone());
            true
        })
        .unwrap();
        names.sort();
        assert_eq!(names, files);
        assert!(by_name("no_such_module").unwrap().is_none());
    }

    #[test]
    fn what_is_no_btf_is_refused() {
        let (error, _) = load(b"this is no BTF at all, for sure").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
