//! Perf events that are opened disabled and closed at once.
#![allow(unsafe_code, reason = "perf_event_open(2) has no safe wrapper")]

use std::{
    ffi::{CStr, CString},
    io, mem,
    os::fd::{FromRawFd, OwnedFd},
};

use aya_obj::generated::perf_event_attr;

/// include/uapi/linux/perf_event.h.
const PERF_TYPE_SOFTWARE: u32 = 1;
const PERF_TYPE_TRACEPOINT: u32 = 2;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;

/// The processor's clock, on the first CPU.
pub fn clock() -> io::Result<()> {
    open(&mut attributes(PERF_TYPE_SOFTWARE)?).map(drop)
}

/// A tracepoint whose number no tracepoint has: EINVAL where there are tracepoints (kernel/trace/trace_event_perf.c,
/// perf_trace_init), ENOENT where nobody knows such events.
pub fn no_tracepoint() -> io::Result<()> {
    let mut attr = attributes(PERF_TYPE_TRACEPOINT)?;
    attr.config = u64::from(u32::MAX >> 1);
    open(&mut attr).map(drop)
}

/// A kprobe at the start of a function, `module:name` or `name`, disabled: the kernel says whether it would take
/// it, and no instruction is changed. `type_` is that of the kprobe PMU.
pub fn kprobe(type_: u32, function: &str) -> io::Result<()> {
    let function = CString::new(function).map_err(io::Error::other)?;
    let mut attr = attributes(type_)?;
    attr.__bindgen_anon_3.kprobe_func = function.as_ptr() as u64;
    // `function` outlives the call.
    open(&mut attr).map(drop)
}

/// A uprobe in a file that is not there: ENOENT. `type_` is that of the uprobe PMU.
pub fn no_uprobe(type_: u32) -> io::Result<()> {
    const NO_FILE: &CStr = c"/proc/self/bpfleet-asks-for-what-is-not-there";
    let mut attr = attributes(type_)?;
    attr.__bindgen_anon_3.uprobe_path = NO_FILE.as_ptr() as u64;
    open(&mut attr).map(drop)
}

/// Zeroed attributes of a disabled event.
fn attributes(type_: u32) -> io::Result<perf_event_attr> {
    // SAFETY: perf_event_attr is a struct of plain integers; all zero bits are a valid value.
    let mut attr: perf_event_attr = unsafe { mem::zeroed() };
    attr.size = u32::try_from(mem::size_of::<perf_event_attr>()).map_err(io::Error::other)?;
    attr.type_ = type_;
    attr.set_disabled(1);
    Ok(attr)
}

fn open(attr: &mut perf_event_attr) -> io::Result<OwnedFd> {
    // SAFETY: `attr` is initialised, carries its own size, and outlives the call, as does what it points to.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw mut *attr,
            -1,
            0,
            -1,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel just returned this descriptor to us, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
