//! Attaching one hook, and pinning what comes of it.

use std::{
    fs,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    programs::{
        Link, Program,
        links::FdLink,
        perf_event::{HardwareEvent, PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent},
        uprobe::{UProbeAttachLocation, UProbeScope},
    },
};
use bpf_object::ProgramKind;
use bpfleet_crds::{
    NodeReason,
    hook::{PerfEvent, PerfEventTarget},
};
use bpfleet_fit::{Attach, InterfaceSelector, PlannedHook};

use super::{
    attach_network::{self, cgroup_attach_type},
    error::{HookError, attaching, from_io, uprobe},
    interface,
    request::NodePaths,
    symbol,
};
use crate::{
    kernel::{
        bpf::{self, LinkTarget},
        perf,
    },
    layout::{ProgramDir, RevisionDir},
    record::Instance,
};

/// The cgroup's other programs run as well (include/uapi/linux/bpf.h).
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The hook being attached: where its pins go, and what came of it.
pub struct Attaching<'a> {
    /// The node.
    pub node: &'a NodePaths,
    /// The program's directory.
    pub program_dir: &'a ProgramDir,
    /// The revision being made.
    pub revision_dir: &'a RevisionDir,
    /// The hook's directory.
    pub hook_dir: PathBuf,
    /// Time spent in the calls that attach.
    pub attach_time: Duration,
    /// Descriptors that keep the hook attached and cannot be pinned.
    pub held: Vec<OwnedFd>,
    links: u32,
}

impl<'a> Attaching<'a> {
    /// Nothing attached yet.
    pub fn new(
        node: &'a NodePaths,
        program_dir: &'a ProgramDir,
        revision_dir: &'a RevisionDir,
        hook_dir: PathBuf,
    ) -> Self {
        Self {
            node,
            program_dir,
            revision_dir,
            hook_dir,
            attach_time: Duration::ZERO,
            held: Vec::new(),
            links: 0,
        }
    }

    /// Runs a call that attaches, and counts its time.
    pub fn timed<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = call();
        self.attach_time += start.elapsed();
        result
    }

    /// Pins a link, so that it outlives this process.
    pub fn pin(&mut self, link: FdLink) -> Result<(), HookError> {
        let path = self.hook_dir.join(Instance::Link(self.links).to_string());
        self.links += 1;
        link.pin(&path)
            .map(drop)
            .map_err(|error| HookError::pin(&path, &error))
    }

    /// Pins a link that aya does not know.
    pub fn pin_fd(&mut self, link: &OwnedFd) -> Result<(), HookError> {
        let path = self.hook_dir.join(Instance::Link(self.links).to_string());
        self.links += 1;
        bpf::obj_pin(link.as_fd(), &path).map_err(|error| HookError::pin(&path, &error))
    }

    /// Writes down what is about to be attached without a link.
    pub fn record(&self, instance: &Instance) -> Result<(), HookError> {
        let path = self.hook_dir.join(instance.to_string());
        fs::create_dir(&path).map_err(|error| HookError::pin(&path, &error))
    }

    /// Keeps a perf event that only lives as long as its descriptor.
    fn hold(&mut self, event: OwnedFd) -> Result<(), HookError> {
        self.record(&Instance::Process(
            u32::try_from(self.held.len()).unwrap_or(u32::MAX),
        ))?;
        self.held.push(event);
        Ok(())
    }
}

/// Where a hook goes, for people.
pub fn describe(attach: &Attach, kind: ProgramKind) -> String {
    let interface = |selector: &InterfaceSelector| match selector {
        InterfaceSelector::Name(name) => format!("interface {name}"),
        InterfaceSelector::DefaultRoute => "the interface of the default route".to_owned(),
    };
    match attach {
        Attach::Tracepoint { category, name } => format!("tracepoint {category}/{name}"),
        Attach::RawTracepoint { name } | Attach::BtfTracepoint { name } => format!("raw tracepoint {name}"),
        Attach::Uprobe { path, symbol, offset } => match symbol {
            Some(symbol) if *offset > 0 => format!("{path}:{symbol}+{offset:#x}"),
            Some(symbol) => format!("{path}:{symbol}"),
            None => format!("{path}:{offset:#x}"),
        },
        Attach::PerfEvent(event) => format!("perf event {:?}", event.event),
        Attach::Xdp {
            interface: selector, ..
        } => format!("XDP on {}", interface(selector)),
        Attach::Tcx {
            interface: selector,
            direction,
        }
        | Attach::TcFilter {
            interface: selector,
            direction,
        } => {
            format!("{direction:?} of {}", interface(selector))
        }
        Attach::Cgroup { path } => format!("cgroup {path} ({kind})"),
        Attach::SockMap { map } => format!("sockmap {map}"),
        Attach::NetworkNamespace => "the network namespace".to_owned(),
        Attach::Iter { kind } => format!("iterator over {kind}"),
    }
}

/// Attaches one hook whose program is loaded.
pub fn attach(context: &mut Attaching<'_>, ebpf: &mut Ebpf, hook: &PlannedHook) -> Result<(), HookError> {
    let target = describe(&hook.attach, hook.program.kind);
    let resolve = |selector| {
        interface::resolve(selector)
            .map_err(|error| HookError::new(NodeReason::TargetNotFound, error.to_string()))
    };
    match &hook.attach {
        Attach::SockMap { map } => return attach_network::sock_map(context, ebpf, hook, map),
        Attach::Cgroup { path } => return cgroup(context, program(ebpf, hook)?, hook, path),
        _ => {}
    }
    // aya's link types have no trait in common that gives them out.
    macro_rules! pinned {
        ($program:ident.attach($($argument:expr),*)) => {{
            let id = context
                .timed(|| $program.attach($($argument),*))
                .map_err(|error| attaching(&target, &error))?;
            let link = $program
                .take_link(id)
                .map_err(|error| attaching(&target, &error))?;
            context.pin(link_fd(link, &target)?)
        }};
    }
    let program = program(ebpf, hook)?;
    match (&hook.attach, program) {
        (Attach::Tracepoint { category, name }, Program::TracePoint(program)) => {
            if !context.node.perf_links {
                let fd = program.fd().map_err(|error| attaching(&target, &error))?.as_fd();
                let event = context
                    .timed(|| perf::tracepoint(fd, category, name))
                    .map_err(|e| from_io(&target, &e))?;
                return context.hold(event);
            }
            pinned!(program.attach(category, name))
        }
        (Attach::RawTracepoint { name }, Program::RawTracePoint(program)) => {
            pinned!(program.attach(name))
        }
        (Attach::BtfTracepoint { .. }, Program::BtfTracePoint(program)) => {
            pinned!(program.attach())
        }
        (Attach::Uprobe { path, symbol, offset }, Program::UProbe(program)) => {
            let file = below(&context.node.host_root, path);
            if let Err(error) = fs::metadata(&file) {
                return Err(HookError::new(
                    NodeReason::TargetNotFound,
                    format!("this node has no binary {path}: {error}"),
                ));
            }
            let location = match symbol {
                Some(symbol) => UProbeAttachLocation::SymbolOffset(symbol, *offset),
                None => UProbeAttachLocation::AbsoluteOffset(*offset),
            };
            if !context.node.perf_links {
                let on_return = hook.program.kind == ProgramKind::Uretprobe;
                let start = match symbol {
                    Some(symbol) => symbol_offset(&file, symbol, &target)?,
                    None => 0,
                };
                let place = start.saturating_add(*offset);
                let fd = program.fd().map_err(|error| attaching(&target, &error))?.as_fd();
                let event = context.timed(|| perf::uprobe(fd, &file, place, on_return));
                return context.hold(event.map_err(|error| uprobe(&target, &error))?);
            }
            pinned!(program.attach(location, &file, UProbeScope::AllProcesses))
        }
        (Attach::PerfEvent(event), Program::PerfEvent(program)) => {
            perf_event(context, program, event, &target)
        }
        (Attach::Xdp { interface, mode }, Program::Xdp(program)) => {
            let fd = program.fd().map_err(|error| attaching(&target, &error))?.as_fd();
            attach_network::xdp(context, fd, &resolve(interface)?, *mode)
        }
        (Attach::Tcx { interface, direction }, Program::SchedClassifier(program)) => {
            attach_network::tcx(context, program, &resolve(interface)?, *direction)
        }
        (Attach::TcFilter { interface, direction }, Program::SchedClassifier(program)) => {
            attach_network::tc_filter(context, program, &resolve(interface)?, *direction)
        }
        (Attach::NetworkNamespace, Program::SkLookup(program)) => {
            let netns = fs::File::open("/proc/self/ns/net").map_err(|error| from_io(&target, &error))?;
            pinned!(program.attach(netns))
        }
        (Attach::Iter { .. }, Program::Iter(program)) => {
            pinned!(program.attach())
        }
        (_, other) => Err(HookError::new(
            NodeReason::InvalidObject,
            format!(
                "program {} was loaded as {:?}, which cannot go to {target}",
                hook.program.name,
                other.prog_type()
            ),
        )),
    }
}

fn program<'e>(ebpf: &'e mut Ebpf, hook: &PlannedHook) -> Result<&'e mut Program, HookError> {
    ebpf.program_mut(&hook.program.name).ok_or_else(|| {
        HookError::new(
            NodeReason::InvalidObject,
            format!("aya finds no program {} in the object", hook.program.name),
        )
    })
}

/// A link's descriptor; without one the kernel has no such link, and dropping it detached it.
fn link_fd<L: Link>(link: L, target: &str) -> Result<FdLink, HookError>
where
    FdLink: TryFrom<L>,
{
    FdLink::try_from(link).map_err(|_| {
        HookError::new(
            NodeReason::UnsupportedByKernel,
            format!("this kernel gives no link for {target}, so that it could not be kept attached"),
        )
    })
}

fn symbol_offset(file: &Path, symbol: &str, target: &str) -> Result<u64, HookError> {
    let missing = |why: String| HookError::new(NodeReason::TargetNotFound, format!("{target}: {why}"));
    symbol::file_offset(file, symbol)
        .map_err(|error| missing(format!("the binary cannot be read: {error}")))?
        .ok_or_else(|| {
            missing(format!(
                "the binary has no symbol {symbol}; is it stripped, or is the name another?"
            ))
        })
}

/// `path` of the host, where the host's root is mounted.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn perf_event(
    context: &mut Attaching<'_>,
    program: &mut aya::programs::PerfEvent,
    event: &PerfEventTarget,
    target: &str,
) -> Result<(), HookError> {
    let config = || match event.event {
        PerfEvent::CpuClock => PerfEventConfig::Software(SoftwareEvent::CpuClock),
        PerfEvent::TaskClock => PerfEventConfig::Software(SoftwareEvent::TaskClock),
        PerfEvent::PageFaults => PerfEventConfig::Software(SoftwareEvent::PageFaults),
        PerfEvent::ContextSwitches => PerfEventConfig::Software(SoftwareEvent::ContextSwitches),
        PerfEvent::CpuMigrations => PerfEventConfig::Software(SoftwareEvent::CpuMigrations),
        PerfEvent::CpuCycles => PerfEventConfig::Hardware(HardwareEvent::CpuCycles),
        PerfEvent::Instructions => PerfEventConfig::Hardware(HardwareEvent::Instructions),
        PerfEvent::CacheReferences => PerfEventConfig::Hardware(HardwareEvent::CacheReferences),
        PerfEvent::CacheMisses => PerfEventConfig::Hardware(HardwareEvent::CacheMisses),
        PerfEvent::BranchInstructions => PerfEventConfig::Hardware(HardwareEvent::BranchInstructions),
        PerfEvent::BranchMisses => PerfEventConfig::Hardware(HardwareEvent::BranchMisses),
    };
    let positive = |number: i64| {
        u64::try_from(number).ok().filter(|n| *n > 0).ok_or_else(|| {
            HookError::new(
                NodeReason::InvalidHook,
                format!("{target}: {number} is no sample frequency or period"),
            )
        })
    };
    let sample = match (event.sample_frequency, event.sample_period) {
        (Some(frequency), None) => SamplePolicy::Frequency(positive(frequency)?),
        (None, Some(period)) => SamplePolicy::Period(positive(period)?),
        _ => {
            return Err(HookError::new(
                NodeReason::InvalidHook,
                "set exactly one of perfEvent.sampleFrequency and perfEvent.samplePeriod",
            ));
        }
    };
    let cpus = aya::util::online_cpus().map_err(|(path, error)| {
        HookError::new(
            NodeReason::AttachFailed,
            format!("cannot read this node's CPUs from {path}: {error}"),
        )
    })?;
    for cpu in cpus {
        let scope = PerfEventScope::AllProcessesOneCpu { cpu };
        if !context.node.perf_links {
            let fd = program.fd().map_err(|error| attaching(target, &error))?.as_fd();
            let opened = context.timed(|| perf::event(fd, event.event, sample, cpu));
            context.hold(opened.map_err(|error| from_io(target, &error))?)?;
            continue;
        }
        let id = context
            .timed(|| program.attach(config(), scope, sample, false))
            .map_err(|error| attaching(target, &error))?;
        let link = program.take_link(id).map_err(|error| attaching(target, &error))?;
        context.pin(link_fd(link, target)?)?;
    }
    Ok(())
}

/// Attaches to a cgroup: by link from 5.7 on, otherwise by BPF_PROG_ATTACH, which outlives us and is
/// therefore written down first.
fn cgroup(
    context: &mut Attaching<'_>,
    program: &Program,
    hook: &PlannedHook,
    path: &str,
) -> Result<(), HookError> {
    let target = describe(&hook.attach, hook.program.kind);
    let Some(root) = &context.node.cgroup_root else {
        return Err(HookError::new(
            NodeReason::UnsupportedByKernel,
            "this node has no cgroup version 2 hierarchy mounted; cgroup programs need one",
        ));
    };
    let directory = below(root, path);
    let cgroup = fs::File::open(&directory).map_err(|error| {
        HookError::new(
            NodeReason::TargetNotFound,
            format!("cannot open cgroup {}: {error}", directory.display()),
        )
    })?;
    let attach_type = cgroup_attach_type(hook.program.kind).ok_or_else(|| {
        HookError::new(
            NodeReason::UnsupportedProgram,
            format!("{} cannot go to a cgroup", hook.program.kind),
        )
    })?;
    let program = program.fd().map_err(|error| attaching(&target, &error))?.as_fd();
    match context.timed(|| bpf::link_create(program, LinkTarget::Fd(cgroup.as_fd()), attach_type, 0)) {
        Ok(link) => context.pin_fd(&link),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            let path = directory.display().to_string();
            context.record(&Instance::Cgroup { path, attach_type })?;
            context
                .timed(|| bpf::prog_attach(program, cgroup.as_fd(), attach_type, BPF_F_ALLOW_MULTI))
                .map_err(|error| from_io(&target, &error))
        }
        Err(error) => Err(from_io(&target, &error)),
    }
}
