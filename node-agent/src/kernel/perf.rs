//! Perf events without links: before 5.15 a program is attached to an event for as long as somebody holds
//! the event's descriptor.
#![allow(
    unsafe_code,
    reason = "perf_event_open(2) and its ioctls have no safe wrapper"
)]

use std::{
    ffi::CString,
    fs, io, mem,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use aya::programs::perf_event::SamplePolicy;
use aya_obj::generated::perf_event_attr;
use bpfleet_crds::hook::PerfEvent;

/// `enum perf_type_id` of include/uapi/linux/perf_event.h.
const PERF_TYPE_HARDWARE: u32 = 0;
const PERF_TYPE_SOFTWARE: u32 = 1;
const PERF_TYPE_TRACEPOINT: u32 = 2;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
/// `_IO('$', 0)` and `_IOW('$', 8, __u32)`.
const PERF_EVENT_IOC_ENABLE: libc::c_ulong = 0x2400;
const PERF_EVENT_IOC_SET_BPF: libc::c_ulong = 0x4004_2408;
const UPROBE_PMU: &str = "/sys/bus/event_source/devices/uprobe";
/// Where tracefs is mounted, newest first.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Attaches to a tracepoint; dropping the event detaches.
pub fn tracepoint(program: BorrowedFd<'_>, category: &str, name: &str) -> io::Result<OwnedFd> {
    let id = TRACEFS
        .iter()
        .find_map(|root| fs::read_to_string(format!("{root}/events/{category}/{name}/id")).ok())
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
    let id: u64 = id.trim().parse().map_err(io::Error::other)?;
    attached(
        open(PERF_TYPE_TRACEPOINT, id, SamplePolicy::Period(1), 0)?,
        program,
    )
}

/// Attaches to a sampled event of one CPU; dropping the event detaches.
pub fn event(
    program: BorrowedFd<'_>,
    event: PerfEvent,
    sample: SamplePolicy,
    cpu: u32,
) -> io::Result<OwnedFd> {
    let (type_, config) = match event {
        PerfEvent::CpuCycles => (PERF_TYPE_HARDWARE, 0),
        PerfEvent::Instructions => (PERF_TYPE_HARDWARE, 1),
        PerfEvent::CacheReferences => (PERF_TYPE_HARDWARE, 2),
        PerfEvent::CacheMisses => (PERF_TYPE_HARDWARE, 3),
        PerfEvent::BranchInstructions => (PERF_TYPE_HARDWARE, 4),
        PerfEvent::BranchMisses => (PERF_TYPE_HARDWARE, 5),
        PerfEvent::CpuClock => (PERF_TYPE_SOFTWARE, 0),
        PerfEvent::TaskClock => (PERF_TYPE_SOFTWARE, 1),
        PerfEvent::PageFaults => (PERF_TYPE_SOFTWARE, 2),
        PerfEvent::ContextSwitches => (PERF_TYPE_SOFTWARE, 3),
        PerfEvent::CpuMigrations => (PERF_TYPE_SOFTWARE, 4),
    };
    attached(open(type_, config, sample, cpu)?, program)
}

/// Attaches to an instruction of a binary, `offset` bytes from the start of the file, or to the return of the
/// function there (4.17); dropping the event detaches.
pub fn uprobe(program: BorrowedFd<'_>, file: &Path, offset: u64, on_return: bool) -> io::Result<OwnedFd> {
    let read = |name: &str| fs::read_to_string(format!("{UPROBE_PMU}/{name}"));
    let type_ = read("type")?.trim().parse().map_err(io::Error::other)?;
    let path = CString::new(file.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let mut attr = attributes(type_)?;
    if on_return {
        // The format is `config:BIT`.
        let format = read("format/retprobe")?;
        let bit: u32 = format
            .trim()
            .trim_start_matches("config:")
            .parse()
            .map_err(io::Error::other)?;
        attr.config = 1u64
            .checked_shl(bit)
            .ok_or_else(|| io::Error::other(format!("{UPROBE_PMU}/format/retprobe says {format}")))?;
    }
    attr.__bindgen_anon_3.uprobe_path = path.as_ptr() as u64;
    attr.__bindgen_anon_4.probe_offset = offset;
    // `path` outlives the call.
    attached(open_attributes(&mut attr, 0)?, program)
}

/// Zeroed attributes of this type.
fn attributes(type_: u32) -> io::Result<perf_event_attr> {
    // SAFETY: perf_event_attr is a struct of plain integers; all zero bits are a valid value.
    let mut attr: perf_event_attr = unsafe { mem::zeroed() };
    attr.size = u32::try_from(mem::size_of::<perf_event_attr>()).map_err(io::Error::other)?;
    attr.type_ = type_;
    Ok(attr)
}

fn open(type_: u32, config: u64, sample: SamplePolicy, cpu: u32) -> io::Result<OwnedFd> {
    let mut attr = attributes(type_)?;
    attr.config = config;
    match sample {
        SamplePolicy::Period(period) => attr.__bindgen_anon_1.sample_period = period,
        SamplePolicy::Frequency(frequency) => {
            attr.set_freq(1);
            attr.__bindgen_anon_1.sample_freq = frequency;
        }
    }
    open_attributes(&mut attr, cpu)
}

/// Opens an event on one CPU, for every process.
fn open_attributes(attr: &mut perf_event_attr, cpu: u32) -> io::Result<OwnedFd> {
    // SAFETY: `attr` is initialised, carries its own size, and outlives the call, as does what it points to.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw mut *attr,
            -1,
            cpu,
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

fn attached(event: OwnedFd, program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    for (request, argument) in [
        (PERF_EVENT_IOC_SET_BPF, program.as_raw_fd()),
        (PERF_EVENT_IOC_ENABLE, 0),
    ] {
        // SAFETY: both ioctls take an integer argument, and both descriptors are open.
        if unsafe { libc::ioctl(event.as_raw_fd(), request, argument) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(event)
}
