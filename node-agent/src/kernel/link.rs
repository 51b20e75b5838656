//! Links that [`bpf::link_create`](super::bpf::link_create) cannot express: those that attach to more than one
//! descriptor or interface. That one also serves `lsm_cgroup` (6.0), Unix socket addresses (6.7) and netkit (6.7).
//! Who pins a link keeps the program attached.
#![allow(unsafe_code, reason = "bpf(2) takes addresses of what it reads")]

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd};

use super::bpf::{bpf, c_path, owned, zeroed};

/// `BPF_TRACE_KPROBE_SESSION` and `BPF_TRACE_UPROBE_SESSION` of include/uapi/linux/bpf.h (6.10, 6.13).
const BPF_TRACE_KPROBE_SESSION: u32 = 56;
const BPF_TRACE_UPROBE_SESSION: u32 = 57;
/// `BPF_F_KPROBE_MULTI_RETURN` and `BPF_F_UPROBE_MULTI_RETURN`.
const RETURN: u32 = 1;

/// Attaches fentry, fexit, fmod_ret, LSM, tp_btf: what they attach to was said when they were loaded
/// (BPF_RAW_TRACEPOINT_OPEN, 5.5; every kernel since takes it). A cookie needs BPF_LINK_CREATE (5.19).
pub fn tracing(program: BorrowedFd<'_>, attach_type: u32, cookie: Option<u64>) -> io::Result<OwnedFd> {
    match cookie {
        None => raw_tracepoint_open(program, 0),
        Some(cookie) => {
            let mut attr = new(program, attach_type);
            attr.link_create.__bindgen_anon_3.tracing.cookie = cookie;
            create(&mut attr)
        }
    }
}

/// Attaches a raw tracepoint, writable or not, by its name (4.17; a link since 5.8).
pub fn raw_tracepoint(program: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let name = CString::new(name).map_err(io::Error::other)?;
    raw_tracepoint_open(program, name.as_ptr() as u64)
}

/// `name` is an address that the caller keeps alive, or 0.
fn raw_tracepoint_open(program: BorrowedFd<'_>, name: u64) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.raw_tracepoint.name = name;
    attr.raw_tracepoint.prog_fd = program.as_raw_fd() as u32;
    owned(bpf(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr)?)
}

/// Attaches to a perf event, of any kind (5.15). The link keeps the event.
pub fn perf_event(program: BorrowedFd<'_>, event: BorrowedFd<'_>, cookie: u64) -> io::Result<OwnedFd> {
    let mut attr = new(program, bpf_attach_type::BPF_PERF_EVENT as u32);
    attr.link_create.__bindgen_anon_2.target_fd = event.as_raw_fd() as u32;
    attr.link_create.__bindgen_anon_3.perf_event.bpf_cookie = cookie;
    create(&mut attr)
}

/// When a program runs at a function that it is attached to with others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// As it begins.
    #[default]
    Entry,
    /// As it returns.
    Return,
    /// Both, the entry deciding whether the return follows.
    Session,
}

impl When {
    fn flags(self) -> u32 {
        if self == When::Return { RETURN } else { 0 }
    }
}

/// Functions of the kernel.
#[derive(Clone, Copy, Debug)]
pub enum Functions<'a> {
    /// By name. One that is not there, or cannot be traced, fails the whole.
    Names(&'a [&'a str]),
    /// By address.
    Addresses(&'a [u64]),
}

/// Attaches to many kernel functions (kprobe.multi 5.18, session 6.10). There is a cookie for each, or none at
/// all.
pub fn kprobe_multi(
    program: BorrowedFd<'_>,
    functions: Functions<'_>,
    cookies: &[u64],
    when: When,
) -> io::Result<OwnedFd> {
    let attach_type = match when {
        When::Session => BPF_TRACE_KPROBE_SESSION,
        _ => bpf_attach_type::BPF_TRACE_KPROBE_MULTI as u32,
    };
    let mut attr = new(program, attach_type);
    let names: Vec<CString>;
    let pointers: Vec<u64>;
    let (count, symbols, addresses) = match functions {
        Functions::Names(given) => {
            names = given
                .iter()
                .map(|name| CString::new(*name).map_err(io::Error::other))
                .collect::<Result<_, _>>()?;
            pointers = names.iter().map(|name| name.as_ptr() as u64).collect();
            (given.len(), address(&pointers), 0)
        }
        Functions::Addresses(given) => (given.len(), 0, address(given)),
    };
    // SAFETY: writing fields of a zeroed union of plain data. What is pointed to outlives the call, and has as
    // many elements as are said: `same` sees to that.
    let fields = unsafe { &mut attr.link_create.__bindgen_anon_3.kprobe_multi };
    fields.flags = when.flags();
    fields.cnt = u32::try_from(count).map_err(io::Error::other)?;
    fields.syms = symbols;
    fields.addrs = addresses;
    fields.cookies = same(count, cookies)?;
    create(&mut attr)
}

/// Places of one binary, as offsets in its file.
#[derive(Clone, Copy, Debug)]
pub struct UserPlaces<'a> {
    /// The binary.
    pub path: &'a Path,
    /// The places.
    pub offsets: &'a [u64],
    /// For each the offset of a counter that the kernel raises while it is attached (a semaphore of a USDT probe),
    /// or 0; or nothing at all.
    pub counters: &'a [u64],
    /// A cookie for each, or nothing at all.
    pub cookies: &'a [u64],
    /// Only in this process; 0 for every one.
    pub process: u32,
}

/// Attaches to many places of a binary (uprobe.multi 6.6, session 6.13).
pub fn uprobe_multi(program: BorrowedFd<'_>, places: &UserPlaces<'_>, when: When) -> io::Result<OwnedFd> {
    let attach_type = match when {
        When::Session => BPF_TRACE_UPROBE_SESSION,
        _ => bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32,
    };
    let mut attr = new(program, attach_type);
    let path = c_path(places.path)?;
    let count = places.offsets.len();
    // SAFETY: writing fields of a zeroed union of plain data. What is pointed to outlives the call, and has as
    // many elements as are said: `same` sees to that.
    let fields = unsafe { &mut attr.link_create.__bindgen_anon_3.uprobe_multi };
    fields.path = path.as_ptr() as u64;
    fields.offsets = address(places.offsets);
    fields.ref_ctr_offsets = same(count, places.counters)?;
    fields.cookies = same(count, places.cookies)?;
    fields.cnt = u32::try_from(count).map_err(io::Error::other)?;
    fields.flags = when.flags();
    fields.pid = places.process;
    create(&mut attr)
}

/// A link of a program that is not attached to anything yet.
fn new(program: BorrowedFd<'_>, attach_type: u32) -> bpf_attr {
    let mut attr = zeroed();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    attr.link_create.attach_type = attach_type;
    attr
}

fn create(attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    owned(bpf(bpf_cmd::BPF_LINK_CREATE, attr)?)
}

/// The address of a list, which must have as many elements as there are places; 0 of none.
fn same(count: usize, list: &[u64]) -> io::Result<u64> {
    if !list.is_empty() && list.len() != count {
        let message = format!("{} values for {count} places", list.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(address(list))
}

fn address(list: &[u64]) -> u64 {
    if list.is_empty() { 0 } else { list.as_ptr() as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_unequal_length_never_reach_the_kernel() {
        use std::os::fd::AsFd;
        let no_program = std::fs::File::open("/dev/null").unwrap();
        let places = UserPlaces {
            path: Path::new("/bin/true"),
            offsets: &[1, 2],
            counters: &[],
            cookies: &[7],
            process: 0,
        };
        let uprobes = uprobe_multi(no_program.as_fd(), &places, When::Entry);
        let functions = Functions::Addresses(&[1]);
        let kprobes = kprobe_multi(no_program.as_fd(), functions, &[1, 2], When::Return);
        for result in [uprobes, kprobes] {
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
