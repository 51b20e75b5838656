//! The process that loads one revision: it reads a request from its standard input, a socket, loads, attaches
//! and pins, answers on the same socket, and ends.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    process::ExitCode,
    time::Instant,
};

use aya::{Btf, Ebpf, programs::Program};
use bpf_object::ObjectInfo;
use bpfleet_crds::{Digest, NodeReason, node::FailedHook, object::MAX_OBJECT_BYTES};
use bpfleet_fit::{Attach, PlannedHook, ProblemKind, plan_hooks};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        prctl::set_pdeathsig,
        resource::{Resource, setrlimit},
        signal::Signal,
    },
    unistd::getppid,
};

use super::{
    attach::{Attaching, attach, describe},
    error::{self, HookError},
    open,
    request::{Failure, Loaded, LoadedHook, Report, Request},
};
use crate::{
    kernel::fds,
    layout::{ProgramDir, RevisionDir},
    pins,
    record::PROGRAM,
};

/// Most of a request in bytes.
const MAX_REQUEST_BYTES: u64 = 4 << 20;
/// Most address space of the process: a bad object must not take the node's memory.
const MAX_ADDRESS_SPACE: u64 = 1 << 30;
const TRACEFS: &str = "/sys/kernel/tracing";

/// Runs as the worker. The socket is standard input.
pub fn main() -> ExitCode {
    let start = Instant::now();
    let _ = setrlimit(Resource::RLIMIT_AS, MAX_ADDRESS_SPACE, MAX_ADDRESS_SPACE);
    // Before 5.11 maps are charged to it; where it may not be raised, the kernel says so when it matters.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, u64::MAX, u64::MAX);
    if let Err(error) = end_with_agent() {
        return complain("cannot tie the loading process to the agent", &error);
    }
    let socket = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(fd) => UnixStream::from(fd),
        Err(error) => return complain("cannot use standard input as a socket", &error),
    };
    let mut text = Vec::new();
    if let Err(error) = (&socket).take(MAX_REQUEST_BYTES).read_to_end(&mut text) {
        return complain("cannot read the request", &error);
    }
    let request: Request = match serde_json::from_slice(&text) {
        Ok(request) => request,
        Err(error) => return complain("the request is malformed", &error),
    };
    #[cfg(debug_assertions)]
    fault::inject(&request.program);
    let (report, held) = match load(&request, start) {
        Ok((loaded, held)) => (Report::Loaded(loaded), held),
        Err(failure) => (Report::Failed(failure), Vec::new()),
    };
    let held_fds: Vec<_> = held.iter().map(AsFd::as_fd).collect();
    let sent = serde_json::to_vec(&report)
        .map_err(io::Error::other)
        .and_then(|text| fds::send(&socket, &text, &held_fds));
    match sent {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain("cannot send the report", &error),
    }
}

/// Ends this process when the agent's does: the next agent would otherwise meet a loader that it knows nothing
/// of, at work on the same pins.
fn end_with_agent() -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    let agent = std::env::args().nth(2).and_then(|pid| pid.parse::<i32>().ok());
    // It may have ended before the line above; then no signal comes.
    if agent.is_some_and(|agent| agent != getppid().as_raw()) {
        return Err(io::Error::other("the agent has ended"));
    }
    Ok(())
}

fn complain(what: &str, error: &dyn std::error::Error) -> ExitCode {
    eprintln!("load-worker: {what}: {error}");
    ExitCode::FAILURE
}

/// Loads a revision: read → inspect → plan → open → load → pin → attach → commit.
fn load(request: &Request, start: Instant) -> Result<(Loaded, Vec<OwnedFd>), Failure> {
    let bytes = read_object(&request.object, &request.digest)?;
    let object =
        bpf_object::inspect(&bytes).map_err(|e| Failure::new(NodeReason::InvalidObject, e.to_string()))?;
    let hooks = plan(&object, request)?;
    let btf = needed_btf(&object, &hooks, &request.node.kernel_btf)?;
    if hooks
        .iter()
        .any(|hook| matches!(hook.attach, Attach::Tracepoint { .. }))
    {
        private_tracefs()?;
    }
    let mut ebpf = open_object(&bytes, &object, btf.as_ref())?;
    drop(bytes);
    load_programs(&mut ebpf, &object, &hooks, btf.as_ref())?;

    let pinning = |error: &dyn std::error::Error| {
        Failure::new(
            NodeReason::PinFailed,
            format!(
                "cannot pin below {}: {}",
                request.node.pin_root.display(),
                error::chain(error)
            ),
        )
    };
    let program_dir = ProgramDir::new(&request.node.pin_root, &request.program).map_err(|e| pinning(&e))?;
    let making = program_dir
        .loading_revision(&request.revision)
        .map_err(|e| pinning(&e))?;
    let made = make(request, &program_dir, &making, &mut ebpf, &hooks).and_then(|made| {
        commit(request, &program_dir, &making)
            .map(|()| made)
            .map_err(|e| pinning(&e))
    });
    match made {
        Ok((mut loaded, held)) => {
            loaded.total_micros = micros(start.elapsed());
            Ok((loaded, held))
        }
        Err(failure) => {
            // What was attached must not stay half attached.
            if let Err(error) = pins::remove_revision(&program_dir, &making) {
                eprintln!("load-worker: {error}");
            }
            Err(failure)
        }
    }
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Reads the object, and checks that it is what was asked for: nothing else reaches the kernel.
fn read_object(path: &Path, digest: &Digest) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: io::Error| {
        Failure::new(
            NodeReason::CacheFailed,
            format!("cannot read the object from {}: {error}", path.display()),
        )
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_OBJECT_BYTES + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    let found = Digest::of(&bytes);
    if found == *digest {
        Ok(bytes)
    } else {
        let message = format!(
            "{} has the digest {found}, and the revision names {digest}",
            path.display()
        );
        Err(Failure::new(NodeReason::DigestMismatch, message))
    }
}

fn plan(object: &ObjectInfo, request: &Request) -> Result<Vec<PlannedHook>, Failure> {
    plan_hooks(object, request.hooks.as_deref()).map_err(|problems| {
        let unsupported = problems
            .iter()
            .any(|problem| problem.kind == ProblemKind::Unsupported);
        let reason = if unsupported {
            NodeReason::UnsupportedProgram
        } else {
            NodeReason::InvalidHook
        };
        let message = problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ");
        Failure::new(reason, message)
    })
}

/// The kernel's BTF if something needs it. An object with CO-RE relocations is never loaded without: aya would
/// skip them in silence, and the program would read wrong offsets.
fn needed_btf(object: &ObjectInfo, hooks: &[PlannedHook], path: &Path) -> Result<Option<Btf>, Failure> {
    let typed = hooks.iter().find(|hook| hook.program.kind.needs_kernel_btf());
    if !object.needs_target_btf() && typed.is_none() {
        return Ok(None);
    }
    let what = match typed {
        Some(hook) => format!("program {} (SEC \"{}\")", hook.program.name, hook.program.section),
        None => "the object's CO-RE relocations".to_owned(),
    };
    if !path.exists() {
        let message = format!(
            "{what} need the kernel's BTF, and this kernel carries none ({} does not exist); run a kernel built with \
             CONFIG_DEBUG_INFO_BTF, or an object without CO-RE",
            path.display()
        );
        return Err(Failure::new(NodeReason::BtfMissing, message));
    }
    open::kernel_btf(path).map(Some).map_err(|error| {
        let message = format!(
            "{what} need the kernel's BTF, and {} cannot be read: {error}",
            path.display()
        );
        Failure::new(NodeReason::BtfMissing, message)
    })
}

/// Mounts tracefs for this process alone where the node has none mounted: attaching to a tracepoint reads its
/// number there.
fn private_tracefs() -> Result<(), Failure> {
    let events = Path::new(TRACEFS).join("events");
    if events.exists() || Path::new("/sys/kernel/debug/tracing/events").exists() {
        return Ok(());
    }
    let none = None::<&str>;
    let mounted = unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none))
        .and_then(|()| mount(Some("tracefs"), TRACEFS, Some("tracefs"), MsFlags::empty(), none));
    mounted.map_err(|error| {
        let message = format!(
            "attaching to a tracepoint needs tracefs, which is not mounted at {TRACEFS}, and the agent cannot mount it \
             ({error}): mount it on the node (`mount -t tracefs tracefs {TRACEFS}`), or let agents do that \
             (agent.privileges=SysAdmin in the chart)"
        );
        Failure::new(NodeReason::TracefsMissing, message)
    })
}

fn open_object(bytes: &[u8], object: &ObjectInfo, btf: Option<&Btf>) -> Result<Ebpf, Failure> {
    let renamed = bpf_object::for_aya(bytes, object)
        .map_err(|error| Failure::new(NodeReason::InvalidObject, error.to_string()))?;
    let mut loader = open::loader_without_btf()
        .map_err(|error| Failure::new(NodeReason::LoadFailed, format!("cannot prepare loading: {error}")))?;
    loader.btf(btf).allow_unsupported_maps();
    loader
        .load(renamed.as_deref().unwrap_or(bytes))
        .map_err(|error| error::opening(&error))
}

/// Loads the programs that hooks choose, each once; the others are left out.
fn load_programs(
    ebpf: &mut Ebpf,
    object: &ObjectInfo,
    hooks: &[PlannedHook],
    btf: Option<&Btf>,
) -> Result<(), Failure> {
    let mut loaded: Vec<&str> = Vec::new();
    for hook in hooks {
        let name = hook.program.name.as_str();
        if loaded.contains(&name) {
            continue;
        }
        loaded.push(name);
        let program = ebpf.program_mut(name).ok_or_else(|| {
            Failure::new(
                NodeReason::InvalidObject,
                format!("aya finds no program {name} in the object"),
            )
        })?;
        let no_btf = || {
            Failure::new(
                NodeReason::BtfMissing,
                format!("program {name} needs the kernel's BTF"),
            )
        };
        let result = match (program, &hook.attach) {
            (Program::TracePoint(p), _) => p.load(),
            (Program::RawTracePoint(p), _) => p.load(),
            (Program::BtfTracePoint(p), Attach::BtfTracepoint { name }) => {
                p.load(name, btf.ok_or_else(no_btf)?)
            }
            (Program::UProbe(p), _) => p.load(),
            (Program::PerfEvent(p), _) => p.load(),
            (Program::Xdp(p), _) => p.load(),
            (Program::SchedClassifier(p), _) => p.load(),
            (Program::CgroupSkb(p), _) => p.load(),
            (Program::CgroupSock(p), _) => p.load(),
            (Program::CgroupSockAddr(p), _) => p.load(),
            (Program::CgroupSockopt(p), _) => p.load(),
            (Program::CgroupSysctl(p), _) => p.load(),
            (Program::CgroupDevice(p), _) => p.load(),
            (Program::SockOps(p), _) => p.load(),
            (Program::SkLookup(p), _) => p.load(),
            (Program::SkMsg(p), _) => p.load(),
            (Program::SkSkb(p), _) => p.load(),
            (Program::Iter(p), Attach::Iter { kind }) => p.load(kind, btf.ok_or_else(no_btf)?),
            (other, _) => {
                let message = format!(
                    "program {name} was opened as {:?}, which bpfleet cannot load",
                    other.prog_type()
                );
                return Err(Failure::new(NodeReason::UnsupportedProgram, message));
            }
        };
        result.map_err(|error| error::loading(object, &hook.program, &error))?;
    }
    Ok(())
}

/// Pins maps and programs, then attaches and pins hook by hook. Hooks that displace something (XDP) come last,
/// when everything else has succeeded.
fn make(
    request: &Request,
    program_dir: &ProgramDir,
    making: &RevisionDir,
    ebpf: &mut Ebpf,
    hooks: &[PlannedHook],
) -> Result<(Loaded, Vec<OwnedFd>), Failure> {
    let failed = |error: HookError| Failure::new(error.reason, error.message);
    let create = |path: &Path| fs::create_dir_all(path).map_err(|error| failed(HookError::pin(path, &error)));
    let named = |error: crate::escape::NameTooLong| Failure::new(NodeReason::PinFailed, error.to_string());
    // What a crash left here is not ours to build on.
    pins::remove_revision(program_dir, making)
        .map_err(|error| Failure::new(NodeReason::PinFailed, error.to_string()))?;
    for directory in [
        making.programs(),
        making.maps(),
        making.hooks(),
        making.variant(&request.variant).map_err(named)?,
    ] {
        create(&directory)?;
    }
    for (name, map) in ebpf.maps() {
        let path = making.map(name).map_err(named)?;
        map.pin(&path)
            .map_err(|error| failed(HookError::pin(&path, &error)))?;
    }
    let perf_links = request.node.perf_links && aya::features().bpf_perf_link();
    let node = super::request::NodePaths {
        perf_links,
        ..request.node.clone()
    };
    let (mut loaded, mut held) = (Loaded::default(), Vec::new());
    let mut failed_hooks = Vec::new();
    let mut order: Vec<usize> = (0..hooks.len()).collect();
    order.sort_by_key(|index| {
        hooks
            .get(*index)
            .is_some_and(|hook| matches!(hook.attach, Attach::Xdp { .. }))
    });
    let mut outcomes: Vec<Option<LoadedHook>> = vec![None; hooks.len()];
    for index in order {
        let Some(hook) = hooks.get(index) else { continue };
        let displaces = matches!(hook.attach, Attach::Xdp { .. });
        if displaces && !failed_hooks.is_empty() {
            continue;
        }
        let hook_dir = making.hook(&hook.name).map_err(named)?;
        create(&hook_dir)?;
        pin_program(making, &hook_dir, ebpf, &hook.program.name).map_err(failed)?;
        let mut context = Attaching::new(&node, program_dir, making, hook_dir);
        match attach(&mut context, ebpf, hook) {
            Ok(()) => {
                loaded
                    .held_fds
                    .extend(context.held.iter().map(|_| hook.name.clone()));
                if let Some(outcome) = outcomes.get_mut(index) {
                    *outcome = Some(LoadedHook {
                        name: hook.name.clone(),
                        program: hook.program.name.clone(),
                        kind: hook.program.kind.to_string(),
                        target: describe(&hook.attach, hook.program.kind),
                        attach_micros: micros(context.attach_time),
                    });
                }
                held.append(&mut context.held);
            }
            Err(error) => failed_hooks.push(FailedHook {
                name: hook.name.clone(),
                reason: error.reason.into(),
                message: error.message,
            }),
        }
    }
    match failed_hooks.first() {
        None => {
            loaded.hooks = outcomes.into_iter().flatten().collect();
            Ok((loaded, held))
        }
        Some(first) => {
            let reason = NodeReason::parse(&first.reason).unwrap_or(NodeReason::AttachFailed);
            let message = match failed_hooks.len() {
                1 => format!("hook {}: {}", first.name, first.message),
                n => format!(
                    "{n} of {} hooks cannot be attached; first, {}: {}",
                    hooks.len(),
                    first.name,
                    first.message
                ),
            };
            Err(Failure {
                reason,
                message,
                log: None,
                failed_hooks,
            })
        }
    }
}

/// Pins a program once, and gives the hook a further name of it.
fn pin_program(making: &RevisionDir, hook_dir: &Path, ebpf: &mut Ebpf, name: &str) -> Result<(), HookError> {
    let path = making
        .program(name)
        .map_err(|error| HookError::new(NodeReason::PinFailed, error.to_string()))?;
    if !path.exists() {
        let program = ebpf.program(name).ok_or_else(|| {
            HookError::new(NodeReason::InvalidObject, format!("aya finds no program {name}"))
        })?;
        let fd = program.fd().map_err(|error| HookError::pin(&path, &error))?;
        crate::kernel::bpf::obj_pin(fd.as_fd(), &path).map_err(|error| HookError::pin(&path, &error))?;
    }
    let link = hook_dir.join(PROGRAM);
    fs::hard_link(&path, &link).map_err(|error| HookError::pin(&link, &error))
}

/// Makes the revision complete, in one rename. An earlier attempt at the same revision that has lost a hook
/// steps aside; the agent removes it.
fn commit(request: &Request, program: &ProgramDir, making: &RevisionDir) -> io::Result<()> {
    let complete = program.revision(&request.revision).map_err(io::Error::other)?;
    fs::create_dir_all(program.revisions())?;
    if complete.path().exists() {
        let retired = program
            .retired_revision(&request.revision)
            .map_err(io::Error::other)?;
        pins::remove_revision(program, &retired).map_err(io::Error::other)?;
        fs::rename(complete.path(), retired.path())?;
    }
    fs::rename(making.path(), complete.path())
}

/// Faults that tests ask for, in builds for development only.
#[cfg(debug_assertions)]
mod fault {
    /// `PROGRAM=panic|abort|hang|oom` in the environment makes loading that program end so.
    #[allow(clippy::panic, reason = "the fault that the test asked for")]
    pub fn inject(program: &str) {
        let Ok(fault) = std::env::var("BPFLEET_LOADER_FAULT") else {
            return;
        };
        match fault
            .strip_prefix(program)
            .and_then(|rest| rest.strip_prefix('='))
        {
            Some("panic") => panic!("asked to panic"),
            Some("abort") => std::process::abort(),
            Some("hang") => loop {
                std::thread::park();
            },
            Some("oom") => {
                let mut hoard: Vec<Vec<u8>> = Vec::new();
                loop {
                    hoard.push(vec![1; 16 << 20]);
                }
            }
            _ => {}
        }
    }
}
