//! Perf events. From 5.15 on a link keeps a program attached to one; before, it is attached for as long as
//! somebody holds the event's descriptor.
#![allow(
    unsafe_code,
    reason = "perf_event_open(2) and its ioctls have no safe wrapper"
)]

use std::{
    ffi::CString,
    fs, io, mem,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use aya::programs::perf_event::SamplePolicy;
use aya_obj::generated::perf_event_attr;
use bpfleet_crds::hook::PerfEvent;

use super::link;

/// `enum perf_type_id` of include/uapi/linux/perf_event.h.
const PERF_TYPE_HARDWARE: u32 = 0;
const PERF_TYPE_SOFTWARE: u32 = 1;
const PERF_TYPE_TRACEPOINT: u32 = 2;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
/// `_IO('$', 0)` and `_IOW('$', 8, __u32)`.
const PERF_EVENT_IOC_ENABLE: libc::c_ulong = 0x2400;
const PERF_EVENT_IOC_SET_BPF: libc::c_ulong = 0x4004_2408;
/// Sources of events, from 4.17.
const UPROBE_PMU: &str = "/sys/bus/event_source/devices/uprobe";
const KPROBE_PMU: &str = "/sys/bus/event_source/devices/kprobe";
/// Where tracefs is mounted, newest first.
pub const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

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
/// function there; dropping the event detaches.
pub fn uprobe(program: BorrowedFd<'_>, file: &Path, offset: u64, on_return: bool) -> io::Result<OwnedFd> {
    Way::Event.attach(uprobe_event(file, offset, 0, on_return)?, program)
}

/// How a program is attached to an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a link, which can be pinned (5.15).
    Link {
        /// What the program sees as its cookie.
        cookie: u64,
    },
    /// Until the event's descriptor is closed by all who have it.
    Event,
}

impl Way {
    /// Attaches a program to an event, and gives what keeps it attached: the link or the event.
    pub fn attach(self, event: OwnedFd, program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        match self {
            Way::Event => attached(event, program),
            Way::Link { cookie } => {
                let link = link::perf_event(program, event.as_fd(), cookie)?;
                control(&event, PERF_EVENT_IOC_ENABLE, 0)?;
                Ok(link)
            }
        }
    }
}

/// An instruction of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelPlace<'a> {
    /// So many bytes after the begin of a function. A name that several functions have is refused
    /// (EADDRNOTAVAIL, 6.7 and some kernels before), or means the first. Bytes beyond the function's end lead into
    /// another: the kernel does not mind (5.10, 7.3), who asks must.
    Function {
        /// The function.
        name: &'a str,
        /// The bytes.
        offset: u64,
    },
    /// At an address, for a function whose name others have too.
    Address(u64),
}

/// An event of the kernel's reaching an instruction, or of the function there returning. Its errors are those of
/// perf_event_open(2), but [`io::ErrorKind::Unsupported`] where the kernel has no kprobes at all.
pub fn kprobe_event(place: KernelPlace<'_>, on_return: bool) -> io::Result<OwnedFd> {
    let mut attr = probe(KPROBE_PMU, "kprobes", on_return)?;
    let function;
    match place {
        KernelPlace::Function { name, offset } => {
            function = CString::new(name).map_err(io::Error::other)?;
            attr.__bindgen_anon_3.kprobe_func = function.as_ptr() as u64;
            attr.__bindgen_anon_4.probe_offset = offset;
        }
        KernelPlace::Address(address) => attr.__bindgen_anon_4.kprobe_addr = address,
    }
    // `function` outlives the call.
    open_attributes(&mut attr, 0)
}

/// An event of any process' reaching an instruction of a binary, `offset` bytes from the start of the file, or of
/// the function there returning. `counter` is the offset in the file of a counter that the kernel raises meanwhile
/// (a semaphore of a USDT probe, 4.20), or 0.
pub fn uprobe_event(file: &Path, offset: u64, counter: u64, on_return: bool) -> io::Result<OwnedFd> {
    let path = CString::new(file.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let mut attr = probe(UPROBE_PMU, "uprobes", on_return)?;
    if counter > 0 {
        // It stands in the upper half (`config:32-63`), of which a kernel before 4.20 takes no notice.
        let format = format!("{UPROBE_PMU}/format/ref_ctr_offset");
        if !Path::new(&format).exists() {
            let message = format!("this kernel raises no counters of USDT probes ({format} is missing)");
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        let counter = u32::try_from(counter)
            .map_err(|_| io::Error::other(format!("the counter is at {counter:#x}, beyond 4 GiB")))?;
        attr.config |= u64::from(counter) << 32;
    }
    attr.__bindgen_anon_3.uprobe_path = path.as_ptr() as u64;
    attr.__bindgen_anon_4.probe_offset = offset;
    // `path` outlives the call.
    open_attributes(&mut attr, 0)
}

/// Attributes for a source of probes.
fn probe(source: &str, what: &str, on_return: bool) -> io::Result<perf_event_attr> {
    let read = |name: &str| {
        fs::read_to_string(format!("{source}/{name}")).map_err(|error| {
            let message = format!("this kernel has no {what}: {source}/{name}: {error}");
            io::Error::new(io::ErrorKind::Unsupported, message)
        })
    };
    let mut attr = attributes(read("type")?.trim().parse().map_err(io::Error::other)?)?;
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
            .ok_or_else(|| io::Error::other(format!("{source}/format/retprobe says {format}")))?;
    }
    Ok(attr)
}

/// Zeroed attributes of this type.
pub(super) fn attributes(type_: u32) -> io::Result<perf_event_attr> {
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
pub(super) fn open_attributes(attr: &mut perf_event_attr, cpu: u32) -> io::Result<OwnedFd> {
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
    control(&event, PERF_EVENT_IOC_SET_BPF, program.as_raw_fd())?;
    control(&event, PERF_EVENT_IOC_ENABLE, 0)?;
    Ok(event)
}

fn control(event: &OwnedFd, request: libc::c_ulong, argument: libc::c_int) -> io::Result<()> {
    // SAFETY: the ioctls above take an integer argument, and the descriptors are open.
    match unsafe { libc::ioctl(event.as_raw_fd(), request, argument) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_kprobes_the_kernel_is_named_as_the_reason() {
        let place = KernelPlace::Function {
            name: "no_such_function",
            offset: 0,
        };
        let error = kprobe_event(place, false).unwrap_err();
        if Path::new(KPROBE_PMU).exists() {
            assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        } else {
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
            assert!(error.to_string().contains("no kprobes"), "{error}");
        }
    }

    #[test]
    fn a_counter_beyond_what_the_kernel_takes_is_refused() {
        let error = uprobe_event(Path::new("/proc/self/exe"), 64, 1 << 32, false).unwrap_err();
        assert!(error.to_string().contains("beyond 4 GiB"), "{error}");
    }
}
