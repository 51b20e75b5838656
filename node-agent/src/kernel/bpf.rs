//! The few commands of bpf(2) that aya does not expose.
#![allow(
    unsafe_code,
    reason = "bpf(2) has no safe wrapper; each block says why it is sound"
)]

use std::{
    ffi::CString,
    io, mem,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_link_info, bpf_link_type};

/// Most programs that one query reports; the kernel allows 64 on a cgroup (BPF_CGROUP_MAX_PROGS).
const MAX_QUERIED: usize = 64;

/// Runs one command. What `attr` points to must live until it returns.
pub(super) fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i64> {
    // SAFETY: `attr` is a valid, fully initialised bpf_attr for the duration of the call, and its size is
    // given. Pointers in it point to memory that the callers below keep alive across the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_int,
            &raw mut *attr,
            mem::size_of::<bpf_attr>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

pub(super) fn zeroed() -> bpf_attr {
    // SAFETY: bpf_attr is a union of plain integers and arrays of them; all zero bits are a valid value.
    unsafe { mem::zeroed() }
}

pub(super) fn owned(fd: i64) -> io::Result<OwnedFd> {
    let fd = i32::try_from(fd).map_err(|_| io::Error::other("bpf(2) returned no file descriptor"))?;
    // SAFETY: the kernel just returned this descriptor to us, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(super) fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// BPF_OBJ_GET: opens a pin of any kind.
pub fn obj_get(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let mut attr = zeroed();
    // SAFETY: writing a field of a zeroed union of plain data. `path` outlives the call.
    let fields = unsafe { &mut attr.__bindgen_anon_4 };
    fields.pathname = path.as_ptr() as u64;
    owned(bpf(bpf_cmd::BPF_OBJ_GET, &mut attr)?)
}

/// BPF_OBJ_PIN.
pub fn obj_pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut attr = zeroed();
    // SAFETY: writing fields of a zeroed union of plain data. `path` outlives the call.
    let fields = unsafe { &mut attr.__bindgen_anon_4 };
    fields.pathname = path.as_ptr() as u64;
    fields.bpf_fd = object.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_OBJ_PIN, &mut attr).map(drop)
}

/// What a link attaches to.
#[derive(Clone, Copy, Debug)]
pub enum LinkTarget<'a> {
    /// A cgroup.
    Fd(BorrowedFd<'a>),
    /// A network interface.
    Interface(u32),
    /// Nothing: the program says it all.
    None,
}

/// BPF_LINK_CREATE (cgroups 5.7, XDP 5.9, TCX 6.6). aya gives no descriptor for some cgroup links, and falls
/// back to netlink for XDP, whose attachment would outlive us without a trace.
pub fn link_create(
    program: BorrowedFd<'_>,
    target: LinkTarget<'_>,
    attach_type: u32,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    match target {
        LinkTarget::Fd(fd) => attr.link_create.__bindgen_anon_2.target_fd = fd.as_raw_fd() as u32,
        LinkTarget::None => {}
        LinkTarget::Interface(index) => attr.link_create.__bindgen_anon_2.target_ifindex = index,
    }
    attr.link_create.attach_type = attach_type;
    attr.link_create.flags = flags;
    owned(bpf(bpf_cmd::BPF_LINK_CREATE, &mut attr)?)
}

/// BPF_LINK_UPDATE: the link runs another program from now on, without a gap (5.7).
pub fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = zeroed();
    attr.link_update.link_fd = link.as_raw_fd() as u32;
    attr.link_update.__bindgen_anon_1.new_prog_fd = program.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_LINK_UPDATE, &mut attr).map(drop)
}

/// BPF_LINK_DETACH: at once, where the last close or unpinning detaches some time later (5.9).
pub fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = zeroed();
    attr.link_detach.link_fd = link.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_LINK_DETACH, &mut attr).map(drop)
}

/// A link as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// Id of the link.
    pub id: u32,
    /// Id of the program that it runs.
    pub program_id: u32,
    /// Whether it is an iterator's.
    pub iter: bool,
    /// False if what it was attached to is gone: an interface, a cgroup, a network namespace.
    pub attached: bool,
}

/// BPF_OBJ_GET_INFO_BY_FD of a link.
pub fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkState> {
    // SAFETY: bpf_link_info holds plain integers and unions of them; all zero bits are a valid value.
    let mut info: bpf_link_info = unsafe { mem::zeroed() };
    let mut attr = zeroed();
    attr.info.bpf_fd = link.as_raw_fd() as u32;
    attr.info.info_len = mem::size_of::<bpf_link_info>() as u32;
    attr.info.info = &raw mut info as u64;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    let is = |kind: bpf_link_type| info.type_ == kind as u32;
    let target = &info.__bindgen_anon_1;
    // SAFETY: all members of the union are plain integers, and any bits are a valid value of them.
    let attached = unsafe {
        if is(bpf_link_type::BPF_LINK_TYPE_XDP) {
            target.xdp.ifindex != 0
        } else if is(bpf_link_type::BPF_LINK_TYPE_TCX) {
            target.tcx.ifindex != 0
        } else if is(bpf_link_type::BPF_LINK_TYPE_NETKIT) {
            target.netkit.ifindex != 0
        } else if is(bpf_link_type::BPF_LINK_TYPE_CGROUP) {
            target.cgroup.cgroup_id != 0
        } else if is(bpf_link_type::BPF_LINK_TYPE_NETNS) {
            target.netns.netns_ino != 0
        } else {
            true
        }
    };
    let iter = is(bpf_link_type::BPF_LINK_TYPE_ITER);
    Ok(LinkState {
        id: info.id,
        program_id: info.prog_id,
        iter,
        attached,
    })
}

/// BPF_PROG_QUERY: ids of the programs attached to a cgroup or sockmap.
pub fn prog_query(target: BorrowedFd<'_>, attach_type: u32) -> io::Result<Vec<u32>> {
    let mut ids = [0u32; MAX_QUERIED];
    let mut attr = zeroed();
    attr.query.__bindgen_anon_1.target_fd = target.as_raw_fd() as u32;
    attr.query.attach_type = attach_type;
    attr.query.prog_ids = ids.as_mut_ptr() as u64;
    attr.query.__bindgen_anon_2.prog_cnt = MAX_QUERIED as u32;
    bpf(bpf_cmd::BPF_PROG_QUERY, &mut attr)?;
    // SAFETY: the kernel wrote this plain integer, and any bits are a valid value of it.
    let count = unsafe { attr.query.__bindgen_anon_2.prog_cnt };
    Ok(ids.iter().copied().take(count as usize).collect())
}

/// BPF_PROG_ATTACH of one program to a cgroup or sockmap.
pub fn prog_attach(
    program: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    attach_type: u32,
    flags: u32,
) -> io::Result<()> {
    let mut attr = zeroed();
    // SAFETY: writing fields of a zeroed union of plain data.
    let fields = unsafe { &mut attr.__bindgen_anon_5 };
    fields.__bindgen_anon_1.target_fd = target.as_raw_fd() as u32;
    fields.attach_bpf_fd = program.as_raw_fd() as u32;
    fields.attach_type = attach_type;
    fields.attach_flags = flags;
    bpf(bpf_cmd::BPF_PROG_ATTACH, &mut attr).map(drop)
}

/// BPF_PROG_DETACH of one program from a cgroup or sockmap.
pub fn prog_detach(program: BorrowedFd<'_>, target: BorrowedFd<'_>, attach_type: u32) -> io::Result<()> {
    let mut attr = zeroed();
    // SAFETY: writing fields of a zeroed union of plain data.
    let fields = unsafe { &mut attr.__bindgen_anon_5 };
    fields.__bindgen_anon_1.target_fd = target.as_raw_fd() as u32;
    fields.attach_bpf_fd = program.as_raw_fd() as u32;
    fields.attach_type = attach_type;
    bpf(bpf_cmd::BPF_PROG_DETACH, &mut attr).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_no_pin_is_an_error() {
        assert!(obj_get(Path::new("/proc/self/exe")).is_err());
        assert!(obj_get(Path::new("/with\0nul")).is_err());
    }
}
