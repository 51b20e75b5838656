//! The kernel's BTF objects, by id: its own (from 5.11), those of modules and those of programs.
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

/// Most bytes of a BTF that are read; a kernel's own has some 5 MB.
const MAX_BTF: u32 = 64 << 20;
/// What the kernel calls its own.
const KERNEL: &str = "vmlinux";
/// Room for a module's name (MODULE_NAME_LEN of include/linux/module.h is 64 less what a long has).
const NAME: usize = 64;
/// Bytes of what the kernel says about a BTF that is refused.
const LOG: usize = 64 << 10;

/// A BTF of the kernel or of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelBtf {
    /// Its id, until the module goes.
    pub id: u32,
    /// The module's name.
    pub name: String,
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

/// The modules that have BTF, by ascending id. Before 5.11 there are none.
pub fn modules() -> io::Result<Vec<KernelBtf>> {
    let mut found = Vec::new();
    each(|id, _, name| {
        if name != KERNEL {
            found.push(KernelBtf { id, name });
        }
        false
    })?;
    Ok(found)
}

/// A descriptor of a module's BTF, or of the kernel's own (`vmlinux`); none if no such module is loaded, or it
/// has no BTF.
pub fn by_name(module: &str) -> io::Result<Option<OwnedFd>> {
    let mut found = None;
    each(|_, fd, name| {
        let wanted = name == module;
        if wanted {
            found = Some(fd);
        }
        wanted
    })?;
    Ok(found)
}

/// The kernel's own BTF, read without a file: /sys/kernel/btf may be hidden. None before 5.11, and if the kernel
/// has none.
pub fn kernel() -> io::Result<Option<Vec<u8>>> {
    by_name(KERNEL)?.map(|fd| bytes(fd.as_fd())).transpose()
}

/// The bytes of a BTF. A module's refers to types and strings of the kernel's.
pub fn bytes(btf: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let size = info(btf, &mut [], &mut [])?.btf_size;
    if size > MAX_BTF {
        return Err(io::Error::other(format!(
            "the kernel has BTF of {size} bytes, at most {MAX_BTF} are read"
        )));
    }
    let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    info(btf, &mut bytes, &mut [])?;
    Ok(bytes)
}

/// Calls `visit` with each BTF of kernel and modules until it says that it has enough.
fn each(mut visit: impl FnMut(u32, OwnedFd, String) -> bool) -> io::Result<()> {
    let mut last = 0;
    while let Some(id) = next_id(last)? {
        last = id;
        let fd = match open(id) {
            Ok(fd) => fd,
            // Gone since.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
            Err(error) => return Err(error),
        };
        let mut name = [0; NAME];
        // What programs brought has no name.
        if info(fd.as_fd(), &mut [], &mut name)?.kernel_btf != 0 && visit(id, fd, text(&name)) {
            break;
        }
    }
    Ok(())
}

/// BPF_BTF_GET_NEXT_ID.
fn next_id(after: u32) -> io::Result<Option<u32>> {
    let mut attr = zeroed();
    // SAFETY: writing fields of a zeroed union of plain data.
    let fields = unsafe { &mut attr.__bindgen_anon_6 };
    fields.__bindgen_anon_1.start_id = after;
    match bpf(bpf_cmd::BPF_BTF_GET_NEXT_ID, &mut attr) {
        // SAFETY: the kernel wrote this plain integer, and any bits are a valid value of it.
        Ok(_) => Ok(Some(unsafe { attr.__bindgen_anon_6.next_id }).filter(|id| *id > after)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// BPF_BTF_GET_FD_BY_ID.
fn open(id: u32) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    // SAFETY: writing fields of a zeroed union of plain data.
    let fields = unsafe { &mut attr.__bindgen_anon_6 };
    fields.__bindgen_anon_1.btf_id = id;
    owned(bpf(bpf_cmd::BPF_BTF_GET_FD_BY_ID, &mut attr)?)
}

/// BPF_OBJ_GET_INFO_BY_FD of a BTF, with its bytes and its name as far as there is room.
fn info(btf: BorrowedFd<'_>, bytes: &mut [u8], name: &mut [u8]) -> io::Result<bpf_btf_info> {
    // SAFETY: bpf_btf_info is a struct of plain integers; all zero bits are a valid value.
    let mut info: bpf_btf_info = unsafe { mem::zeroed() };
    if !bytes.is_empty() {
        info.btf = bytes.as_mut_ptr() as u64;
        info.btf_size = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    }
    if !name.is_empty() {
        info.name = name.as_mut_ptr() as u64;
        info.name_len = u32::try_from(name.len()).map_err(io::Error::other)?;
    }
    let mut attr = zeroed();
    attr.info.bpf_fd = btf.as_raw_fd() as u32;
    attr.info.info_len = mem::size_of::<bpf_btf_info>() as u32;
    attr.info.info = &raw mut info as u64;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_btf_is_that_of_the_file() {
        let file = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
        assert!(kernel().unwrap().unwrap() == file, "the same bytes");
    }

    #[test]
    fn modules_are_those_of_the_directory() {
        let mut files: Vec<String> = std::fs::read_dir("/sys/kernel/btf")
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != KERNEL)
            .collect();
        files.sort();
        let mut names: Vec<String> = modules().unwrap().into_iter().map(|module| module.name).collect();
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
