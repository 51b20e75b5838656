//! Perf events that are opened disabled and closed at once.

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::OwnedFd,
};

use aya_obj::generated::perf_event_attr;

use super::super::perf::{attributes, open_attributes};

/// include/uapi/linux/perf_event.h.
const PERF_TYPE_SOFTWARE: u32 = 1;
const PERF_TYPE_TRACEPOINT: u32 = 2;

/// The processor's clock, on the first CPU.
pub fn clock() -> io::Result<()> {
    open(&mut disabled(PERF_TYPE_SOFTWARE)?).map(drop)
}

/// A tracepoint whose number no tracepoint has: EINVAL where there are tracepoints (kernel/trace/trace_event_perf.c,
/// perf_trace_init), ENOENT where nobody knows such events.
pub fn no_tracepoint() -> io::Result<()> {
    let mut attr = disabled(PERF_TYPE_TRACEPOINT)?;
    attr.config = u64::from(u32::MAX >> 1);
    open(&mut attr).map(drop)
}

/// A kprobe at the start of a function, `module:name` or `name`, disabled: the kernel says whether it would take
/// it, and no instruction is changed. `type_` is that of the kprobe PMU.
pub fn kprobe(type_: u32, function: &str) -> io::Result<()> {
    let function = CString::new(function).map_err(io::Error::other)?;
    let mut attr = disabled(type_)?;
    attr.__bindgen_anon_3.kprobe_func = function.as_ptr() as u64;
    // `function` outlives the call.
    open(&mut attr).map(drop)
}

/// A uprobe in a file that is not there: ENOENT. `type_` is that of the uprobe PMU.
pub fn no_uprobe(type_: u32) -> io::Result<()> {
    const NO_FILE: &CStr = c"/proc/self/bpfleet-asks-for-what-is-not-there";
    let mut attr = disabled(type_)?;
    attr.__bindgen_anon_3.uprobe_path = NO_FILE.as_ptr() as u64;
    open(&mut attr).map(drop)
}

/// Zeroed attributes of a disabled event.
fn disabled(type_: u32) -> io::Result<perf_event_attr> {
    let mut attr = attributes(type_)?;
    attr.set_disabled(1);
    Ok(attr)
}

fn open(attr: &mut perf_event_attr) -> io::Result<OwnedFd> {
    open_attributes(attr, 0)
}
