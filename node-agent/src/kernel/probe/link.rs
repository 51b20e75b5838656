//! Links that cannot be made: the errno tells whether the kernel knows their kind.
#![allow(unsafe_code, reason = "attributes of bpf(2) are a union")]

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use aya_obj::generated::{bpf_attr, bpf_cmd};

use super::super::bpf::{bpf, owned, zeroed};

/// A descriptor that nobody has.
const NO_FD: u32 = u32::MAX;
/// The loopback interface has this index in every network namespace (LOOPBACK_IFINDEX).
const LOOPBACK: u32 = 1;
/// An index that no interface has.
const NO_INTERFACE: u32 = i32::MAX as u32;
/// include/uapi/linux/if_link.h.
const XDP_FLAGS_DRV_MODE: u32 = 4;
/// No protocol family of netfilter.
const NO_FAMILY: u32 = 255;
/// `/` is a directory, in which there can be no function.
const DIRECTORY: &CStr = c"/";
/// No kernel function has such a name.
const NO_FUNCTION: &CStr = c"bpfleet-asks-for-what-is-not-there";

/// What a link is made to, wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impossible {
    /// A descriptor that is not open: EBADF.
    Descriptor,
    /// An interface that is not there: ENODEV.
    Interface,
    /// The driver mode of the loopback interface, which has none: EOPNOTSUPP. An interface that is not there would
    /// tell nothing, since it is EINVAL (net/core/dev.c, bpf_xdp_link_attach).
    NativeXdpOnLoopback,
    /// A family of protocols that netfilter does not have: EAFNOSUPPORT.
    NetfilterFamily,
    /// A kernel function that is not there: ESRCH.
    Function,
    /// A directory in the place of a binary: EBADF.
    Binary,
}

/// BPF_LINK_CREATE to what cannot be; the error is the answer.
pub fn refusal(program: BorrowedFd<'_>, attach_type: u32, target: Impossible) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    let offset = 0u64;
    let names = [NO_FUNCTION.as_ptr() as u64];
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    attr.link_create.attach_type = attach_type;
    fill(&mut attr, target, &offset, &names);
    // `offset` and `names` outlive the call.
    owned(bpf(bpf_cmd::BPF_LINK_CREATE, &mut attr)?)
}

fn fill(attr: &mut bpf_attr, target: Impossible, offset: &u64, names: &[u64; 1]) {
    match target {
        Impossible::Descriptor => attr.link_create.__bindgen_anon_2.target_fd = NO_FD,
        Impossible::Interface => attr.link_create.__bindgen_anon_2.target_ifindex = NO_INTERFACE,
        Impossible::NativeXdpOnLoopback => {
            attr.link_create.__bindgen_anon_2.target_ifindex = LOOPBACK;
            attr.link_create.flags = XDP_FLAGS_DRV_MODE;
        }
        Impossible::NetfilterFamily => attr.link_create.__bindgen_anon_3.netfilter.pf = NO_FAMILY,
        Impossible::Function => {
            // SAFETY: writing fields of a zeroed union of plain data.
            let multi = unsafe { &mut attr.link_create.__bindgen_anon_3.kprobe_multi };
            multi.syms = names.as_ptr() as u64;
            multi.cnt = 1;
        }
        Impossible::Binary => {
            // SAFETY: writing fields of a zeroed union of plain data.
            let multi = unsafe { &mut attr.link_create.__bindgen_anon_3.uprobe_multi };
            multi.path = DIRECTORY.as_ptr() as u64;
            multi.offsets = &raw const *offset as u64;
            multi.cnt = 1;
        }
    }
}

/// BPF_RAW_TRACEPOINT_OPEN. With a name that no tracepoint has, ENOENT says that the kernel knows the command;
/// with none, a tracing or LSM program is attached to what it was loaded for.
pub fn raw_tracepoint(program: BorrowedFd<'_>, name: Option<&CStr>) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.raw_tracepoint.name = name.map_or(0, |name| name.as_ptr() as u64);
    attr.raw_tracepoint.prog_fd = program.as_raw_fd() as u32;
    owned(bpf(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr)?)
}

/// BPF_PROG_ATTACH to a descriptor that is not open: EBADF.
pub fn cgroup_attach(program: BorrowedFd<'_>, attach_type: u32) -> io::Result<()> {
    let mut attr = zeroed();
    // SAFETY: writing fields of a zeroed union of plain data.
    let fields = unsafe { &mut attr.__bindgen_anon_5 };
    fields.__bindgen_anon_1.target_fd = NO_FD;
    fields.attach_bpf_fd = program.as_raw_fd() as u32;
    fields.attach_type = attach_type;
    bpf(bpf_cmd::BPF_PROG_ATTACH, &mut attr).map(drop)
}
