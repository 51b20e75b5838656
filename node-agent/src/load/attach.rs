//! Attaching one hook, and pinning what comes of it.

use std::{
    collections::BTreeSet,
    fs,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    time::{Duration, Instant},
};

use aya::programs::{
    Link, Program,
    links::FdLink,
    perf_event::{HardwareEvent, PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent},
};
use bpf_object::ProgramKind;
use bpfleet_crds::{
    NodeReason,
    hook::{PerfEvent, PerfEventTarget},
};
use bpfleet_fit::{Attach, InterfaceSelector, PlannedHook, function::KernelFunction};

use super::{
    attach_kernel,
    attach_network::{self, cgroup_attach_type},
    attach_user,
    error::{HookError, attaching, from_io},
    interface,
    programs::Attachable,
    request::NodePaths,
};
use crate::{
    facts::below,
    kernel::{
        bpf::{self, LinkTarget},
        link, perf,
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
    /// Modules that have functions which it was attached to by a pattern.
    pub modules: BTreeSet<String>,
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
            modules: BTreeSet::new(),
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
    pub fn hold(&mut self, event: OwnedFd) -> Result<(), HookError> {
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
        Attach::Kprobe { function } | Attach::Trampoline { function } => format!("function {function}"),
        Attach::Functions { functions } => format!("functions {}", functions.join(", ")),
        Attach::Syscall { name } => format!("system call {name}"),
        Attach::Lsm { hook } => format!("security hook {hook}"),
        Attach::LsmCgroup { hook, path } => format!("security hook {hook} of cgroup {path}"),
        Attach::Usdt { path, provider, name } => format!("probe {provider}:{name} of {path}"),
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
pub fn attach(
    context: &mut Attaching<'_>,
    programs: &mut dyn Attachable,
    hook: &PlannedHook,
) -> Result<(), HookError> {
    let target = describe(&hook.attach, hook.program.kind);
    let (name, kind) = (hook.program.name.as_str(), hook.program.kind);
    let interface = |selector| {
        interface::resolve(selector)
            .map_err(|error| HookError::new(NodeReason::TargetNotFound, error.to_string()))
    };
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
    match &hook.attach {
        Attach::Kprobe { function } => {
            attach_kernel::kprobe(context, programs.fd(name)?, function, kind, &target)
        }
        Attach::Syscall { .. } => {
            let function = programs.syscall_function(name);
            let function = KernelFunction {
                module: None,
                name: function.ok_or_else(|| {
                    HookError::new(
                        NodeReason::TargetNotFound,
                        format!("{target}: what this kernel calls its function is not known"),
                    )
                })?,
                offset: 0,
            };
            attach_kernel::kprobe(context, programs.fd(name)?, &function, kind, &target)
        }
        Attach::Functions { functions } => {
            attach_kernel::functions(context, programs.fd(name)?, functions, kind, &target)
        }
        Attach::Trampoline { .. } | Attach::Lsm { .. } | Attach::BtfTracepoint { .. } => {
            attach_kernel::tracing(context, programs.fd(name)?, kind, &target)
        }
        Attach::LsmCgroup { path, .. } => {
            let (cgroup, _) = open_cgroup(context, path)?;
            attach_kernel::lsm_cgroup(context, programs.fd(name)?, &cgroup, &target)
        }
        Attach::Iter { .. } => attach_kernel::iter(context, programs.fd(name)?, &target),
        Attach::Uprobe { path, symbol, offset } => {
            let place = (path.as_str(), symbol.as_deref(), *offset);
            attach_user::function(context, programs.fd(name)?, kind, place, &target)
        }
        Attach::Usdt {
            path,
            provider,
            name: probe,
        } => {
            let place = (path.as_str(), provider.as_str(), probe.as_str());
            attach_user::probe(context, programs, name, place, &target)
        }
        Attach::SockMap { map } => attach_network::sock_map(context, programs.fd(name)?, kind, map),
        Attach::Cgroup { path } => cgroup(context, programs.fd(name)?, kind, path, &target),
        Attach::Xdp {
            interface: selector,
            mode,
        } => attach_network::xdp(context, programs.fd(name)?, &interface(selector)?, *mode),
        Attach::RawTracepoint { name: tracepoint } => {
            let program = programs.fd(name)?;
            let link = context
                .timed(|| link::raw_tracepoint(program, tracepoint))
                .map_err(|error| from_io(&target, &error))?;
            context.pin_fd(&link)
        }
        Attach::Tracepoint {
            category,
            name: tracepoint,
        } => {
            if !context.node.perf_links {
                let program = programs.fd(name)?;
                let event = context
                    .timed(|| perf::tracepoint(program, category, tracepoint))
                    .map_err(|e| from_io(&target, &e))?;
                return context.hold(event);
            }
            match programs.by_aya(name)? {
                Program::TracePoint(program) => pinned!(program.attach(category, tracepoint)),
                other => Err(mismatch(hook, other, &target)),
            }
        }
        Attach::PerfEvent(event) => match programs.by_aya(name)? {
            Program::PerfEvent(program) => perf_event(context, program, event, &target),
            other => Err(mismatch(hook, other, &target)),
        },
        Attach::Tcx {
            interface: selector,
            direction,
        } => match programs.by_aya(name)? {
            Program::SchedClassifier(program) => {
                attach_network::tcx(context, program, &interface(selector)?, *direction)
            }
            other => Err(mismatch(hook, other, &target)),
        },
        Attach::TcFilter {
            interface: selector,
            direction,
        } => match programs.by_aya(name)? {
            Program::SchedClassifier(program) => {
                attach_network::tc_filter(context, program, &interface(selector)?, *direction)
            }
            other => Err(mismatch(hook, other, &target)),
        },
        Attach::NetworkNamespace => match programs.by_aya(name)? {
            Program::SkLookup(program) => {
                let netns = fs::File::open("/proc/self/ns/net").map_err(|error| from_io(&target, &error))?;
                pinned!(program.attach(netns))
            }
            other => Err(mismatch(hook, other, &target)),
        },
    }
}

fn mismatch(hook: &PlannedHook, opened: &Program, target: &str) -> HookError {
    HookError::new(
        NodeReason::InvalidObject,
        format!(
            "program {} was loaded as {:?}, which cannot go to {target}",
            hook.program.name,
            opened.prog_type()
        ),
    )
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

/// Opens a cgroup, and tells where it is.
fn open_cgroup(context: &Attaching<'_>, path: &str) -> Result<(fs::File, PathBuf), HookError> {
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
    Ok((cgroup, directory))
}

/// Attaches to a cgroup: by link from 5.7 on, otherwise by BPF_PROG_ATTACH, which outlives us and is
/// therefore written down first.
fn cgroup(
    context: &mut Attaching<'_>,
    program: BorrowedFd<'_>,
    kind: ProgramKind,
    path: &str,
    target: &str,
) -> Result<(), HookError> {
    let (cgroup, directory) = open_cgroup(context, path)?;
    let attach_type = cgroup_attach_type(kind).ok_or_else(|| {
        HookError::new(
            NodeReason::UnsupportedProgram,
            format!("{kind} cannot go to a cgroup"),
        )
    })?;
    match context.timed(|| bpf::link_create(program, LinkTarget::Fd(cgroup.as_fd()), attach_type, 0)) {
        Ok(link) => context.pin_fd(&link),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            let path = directory.display().to_string();
            context.record(&Instance::Cgroup { path, attach_type })?;
            context
                .timed(|| bpf::prog_attach(program, cgroup.as_fd(), attach_type, BPF_F_ALLOW_MULTI))
                .map_err(|error| from_io(target, &error))
        }
        Err(error) => Err(from_io(target, &error)),
    }
}
