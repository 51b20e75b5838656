//! Attaching to interfaces and sockmaps, where the kernel's way outlives its process without a pin.

use std::{
    fs, io, mem,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

use aya::programs::{
    SchedClassifier, TcAttachType,
    tc::{NlOptions, TcAttachOptions, TcHandle, qdisc_add_clsact},
};
use bpf_object::{
    AddrFamily, Direction as SecDirection, ProgramKind, SkSkbKind, SockAddrHook, SockHook, SockoptHook,
};
use bpfleet_crds::{
    NodeReason,
    hook::{Direction, XdpMode},
};

use super::{
    attach::Attaching,
    error::{HookError, attaching, from_io, os_error},
    interface::Interface,
};
use crate::{
    kernel::bpf::{self, LinkTarget},
    record::Instance,
};

/// Priority of our clsact filters: before the kernel's automatic ones (49152 downwards), so that programs see
/// packets first; handles tell filters of one priority apart.
const FILTER_PRIORITY: u16 = 50;
/// Handles to try before giving up: each is chosen anew, and others use few.
const HANDLE_ATTEMPTS: u32 = 16;

/// `enum bpf_attach_type` of include/uapi/linux/bpf.h.
const BPF_XDP: u32 = 37;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;

/// XDP_FLAGS_* of include/uapi/linux/if_link.h.
const XDP_FLAGS_SKB_MODE: u32 = 2;
const XDP_FLAGS_DRV_MODE: u32 = 4;

/// Puts an XDP program on an interface. An interface has one, so the link is kept apart from revisions, and
/// the next revision takes it over without a gap.
pub fn xdp(
    context: &mut Attaching<'_>,
    program: BorrowedFd<'_>,
    interface: &Interface,
    mode: XdpMode,
) -> Result<(), HookError> {
    let target = format!("XDP on interface {}", interface.name);
    let flags = match mode {
        XdpMode::Auto => 0,
        XdpMode::Driver => XDP_FLAGS_DRV_MODE,
        XdpMode::Generic => XDP_FLAGS_SKB_MODE,
    };
    let instance = Instance::Xdp {
        ifindex: interface.index,
        flags,
    };
    let held_dir = context.program_dir.held();
    let held = held_dir.join(instance.to_string());
    create_dir(&held_dir)?;
    context.record(&instance)?;
    match bpf::obj_get(&held) {
        Ok(link) => match context.timed(|| bpf::link_update(link.as_fd(), program)) {
            Ok(()) => return Ok(()),
            // The interface went and came back: the link holds nothing any more.
            Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => remove_pin(&held)?,
            Err(error) => return Err(from_io(&target, &error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(HookError::pin(&held, &error)),
    }
    // A link keeps its mode, so one of another mode must go first; if ours then fails, it comes back.
    let other = other_mode(&held_dir, interface.index, flags)?;
    let replaced = match &other {
        Some((path, _)) => {
            let id = crate::pins::link(path).map(|link| link.program_id).ok();
            crate::pins::detach_now(path).map_err(|error| HookError::pin(path, &error))?;
            id
        }
        None => None,
    };
    let created =
        context.timed(|| bpf::link_create(program, LinkTarget::Interface(interface.index), BPF_XDP, flags));
    match created {
        Ok(link) => bpf::obj_pin(link.as_fd(), &held).map_err(|error| HookError::pin(&held, &error)),
        Err(error) => {
            if let (Some((path, flags)), Some(id)) = (&other, replaced) {
                restore_xdp(context, path, interface.index, *flags, id);
            }
            Err(match error.raw_os_error() {
                Some(libc::EBUSY | libc::EEXIST) => HookError::new(
                    NodeReason::TargetBusy,
                    format!(
                        "interface {} already runs {}, and the kernel runs one XDP program on an interface; remove \
                         it, or choose another interface",
                        interface.name,
                        holder(context, interface.index)
                    ),
                ),
                Some(libc::EINVAL | libc::EOPNOTSUPP) => HookError::new(
                    NodeReason::UnsupportedByKernel,
                    format!(
                        "{target}: the kernel or the driver refuses ({error}); XDP links need Linux 5.9, mode Driver \
                         a driver with XDP; xdpMode: Generic works on every interface"
                    ),
                ),
                _ => from_io(&target, &error),
            })
        }
    }
}

/// Our own link on this interface in another mode.
fn other_mode(held: &Path, ifindex: u32, flags: u32) -> Result<Option<(PathBuf, u32)>, HookError> {
    let entries = fs::read_dir(held).map_err(|error| HookError::pin(held, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| HookError::pin(held, &error))?;
        if let Some(Instance::Xdp {
            ifindex: index,
            flags: other,
        }) = entry.file_name().to_str().and_then(Instance::parse)
            && index == ifindex
            && other != flags
        {
            return Ok(Some((entry.path(), other)));
        }
    }
    Ok(None)
}

/// Puts back what had to go for an attempt that failed. It is best effort: the failure itself is reported,
/// and the next reconciliation finds the earlier revision detached if this fails too.
fn restore_xdp(context: &Attaching<'_>, path: &Path, ifindex: u32, flags: u32, program_id: u32) {
    let program = crate::pins::find_program(context.program_dir, program_id);
    let restored = program.and_then(|program| {
        let link = bpf::link_create(program.as_fd(), LinkTarget::Interface(ifindex), BPF_XDP, flags).ok()?;
        bpf::obj_pin(link.as_fd(), path).ok()
    });
    if restored.is_none() {
        eprintln!("cannot put the earlier XDP program back on interface {ifindex}");
    }
}

/// Who holds an interface, as far as our own pins tell.
fn holder(context: &Attaching<'_>, ifindex: u32) -> String {
    crate::pins::xdp_holder(&context.node.pin_root, context.program_dir, ifindex).map_or_else(
        || "an XDP program that bpfleet did not attach".to_owned(),
        |name| format!("BpfProgram {name}"),
    )
}

/// Attaches by TCX (6.6), otherwise by a clsact filter.
pub fn tcx(
    context: &mut Attaching<'_>,
    program: &mut SchedClassifier,
    interface: &Interface,
    direction: Direction,
) -> Result<(), HookError> {
    let target = format!("{direction:?} of interface {}", interface.name);
    let attach_type = match direction {
        Direction::Ingress => BPF_TCX_INGRESS,
        Direction::Egress => BPF_TCX_EGRESS,
    };
    let fd = program.fd().map_err(|error| attaching(&target, &error))?.as_fd();
    let created =
        context.timed(|| bpf::link_create(fd, LinkTarget::Interface(interface.index), attach_type, 0));
    match created {
        Ok(link) => context.pin_fd(&link),
        // The kernel does not know the attach type.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            tc_filter(context, program, interface, direction)
        }
        Err(error) => Err(from_io(&target, &error)),
    }
}

/// Attaches a clsact filter by netlink. It outlives us, so what identifies it is written down first.
pub fn tc_filter(
    context: &mut Attaching<'_>,
    program: &mut SchedClassifier,
    interface: &Interface,
    direction: Direction,
) -> Result<(), HookError> {
    let target = format!("{direction:?} of interface {}", interface.name);
    match qdisc_add_clsact(&interface.name) {
        // It may be there already: others use it too, which is why it stays when we go.
        Err(error) if os_error(&error) != Some(libc::EEXIST) => {
            return Err(attaching(&target, &error.into()));
        }
        _ => {}
    }
    let seed = std::process::id().wrapping_mul(2_654_435_761);
    let mut last = None;
    for attempt in 0..HANDLE_ATTEMPTS {
        let handle = seed.wrapping_add(attempt.wrapping_mul(0x9E37_79B9)) | 1;
        let instance = Instance::TcFilter {
            ifindex: interface.index,
            direction: direction.into(),
            priority: FILTER_PRIORITY,
            handle,
        };
        context.record(&instance)?;
        let options = TcAttachOptions::Netlink(NlOptions {
            priority: FILTER_PRIORITY,
            handle: TcHandle::from(handle),
            classid: None,
        });
        let attached =
            context.timed(|| program.attach_with_options(&interface.name, attach_type(direction), options));
        match attached.and_then(|id| program.take_link(id)) {
            Ok(link) => {
                // Dropping it would detach the filter.
                mem::forget(link);
                return Ok(());
            }
            Err(error) => {
                let path = context.hook_dir.join(instance.to_string());
                fs::remove_dir(&path).map_err(|error| HookError::pin(&path, &error))?;
                let taken = os_error(&error) == Some(libc::EEXIST);
                last = Some(error);
                if !taken {
                    break;
                }
            }
        }
    }
    Err(match last {
        Some(error) => attaching(&target, &error),
        None => HookError::new(NodeReason::AttachFailed, format!("cannot attach to {target}")),
    })
}

fn attach_type(direction: Direction) -> TcAttachType {
    match direction {
        Direction::Ingress => TcAttachType::Ingress,
        Direction::Egress => TcAttachType::Egress,
    }
}

/// Puts a program into a sockmap. It stays there as long as the map lives, so it is written down first.
pub fn sock_map(
    context: &mut Attaching<'_>,
    program: BorrowedFd<'_>,
    kind: ProgramKind,
    map: &str,
) -> Result<(), HookError> {
    let target = format!("sockmap {map}");
    let attach_type = sock_map_attach_type(kind).ok_or_else(|| {
        HookError::new(
            NodeReason::UnsupportedProgram,
            format!("{kind} cannot go into a sockmap"),
        )
    })?;
    let path = context
        .revision_dir
        .map(map)
        .map_err(|error| HookError::new(NodeReason::InvalidHook, error.to_string()))?;
    let map_fd = bpf::obj_get(&path).map_err(|error| HookError::pin(&path, &error))?;
    context.record(&Instance::SockMap {
        map: map.to_owned(),
        attach_type,
    })?;
    context
        .timed(|| bpf::prog_attach(program, map_fd.as_fd(), attach_type, 0))
        .map_err(|error| from_io(&target, &error))
}

/// `enum bpf_attach_type` of include/uapi/linux/bpf.h for a program in a sockmap.
fn sock_map_attach_type(kind: ProgramKind) -> Option<u32> {
    match kind {
        ProgramKind::SkSkb(SkSkbKind::StreamParser) => Some(4),
        ProgramKind::SkSkb(SkSkbKind::StreamVerdict) => Some(5),
        ProgramKind::SkMsg => Some(7),
        ProgramKind::SkSkb(SkSkbKind::Verdict) => Some(38),
        _ => None,
    }
}

/// `enum bpf_attach_type` of include/uapi/linux/bpf.h for a program on a cgroup.
pub fn cgroup_attach_type(kind: ProgramKind) -> Option<u32> {
    use AddrFamily::{Unix, V4, V6};
    Some(match kind {
        ProgramKind::CgroupSkb {
            direction: Some(SecDirection::Ingress),
        } => 0,
        ProgramKind::CgroupSkb {
            direction: Some(SecDirection::Egress),
        } => 1,
        ProgramKind::CgroupSock(SockHook::Create) => 2,
        ProgramKind::SockOps => 3,
        ProgramKind::CgroupDevice => 6,
        ProgramKind::CgroupSockAddr {
            hook: SockAddrHook::Bind,
            family: V4,
        } => 8,
        ProgramKind::CgroupSockAddr {
            hook: SockAddrHook::Bind,
            family: V6,
        } => 9,
        ProgramKind::CgroupSockAddr {
            hook: SockAddrHook::Connect,
            family: V4,
        } => 10,
        ProgramKind::CgroupSockAddr {
            hook: SockAddrHook::Connect,
            family: V6,
        } => 11,
        ProgramKind::CgroupSock(SockHook::PostBind4) => 12,
        ProgramKind::CgroupSock(SockHook::PostBind6) => 13,
        ProgramKind::CgroupSockAddr {
            hook: SockAddrHook::Sendmsg,
            family: V4,
        } => 14,
        ProgramKind::CgroupSockAddr {
            hook: SockAddrHook::Sendmsg,
            family: V6,
        } => 15,
        ProgramKind::CgroupSysctl => 18,
        ProgramKind::CgroupSockAddr {
            hook: SockAddrHook::Recvmsg,
            family: V4,
        } => 19,
        ProgramKind::CgroupSockAddr {
            hook: SockAddrHook::Recvmsg,
            family: V6,
        } => 20,
        ProgramKind::CgroupSockopt(SockoptHook::Get) => 21,
        ProgramKind::CgroupSockopt(SockoptHook::Set) => 22,
        ProgramKind::CgroupSockAddr {
            hook: SockAddrHook::Getpeername,
            family: V4,
        } => 29,
        ProgramKind::CgroupSockAddr {
            hook: SockAddrHook::Getpeername,
            family: V6,
        } => 30,
        ProgramKind::CgroupSockAddr {
            hook: SockAddrHook::Getsockname,
            family: V4,
        } => 31,
        ProgramKind::CgroupSockAddr {
            hook: SockAddrHook::Getsockname,
            family: V6,
        } => 32,
        ProgramKind::CgroupSock(SockHook::Release) => 34,
        ProgramKind::CgroupSockAddr { hook, family: Unix } => match hook {
            SockAddrHook::Connect => 49,
            SockAddrHook::Sendmsg => 50,
            SockAddrHook::Recvmsg => 51,
            SockAddrHook::Getpeername => 52,
            SockAddrHook::Getsockname => 53,
            SockAddrHook::Bind => return None,
        },
        _ => return None,
    })
}

fn create_dir(path: &Path) -> Result<(), HookError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(HookError::pin(path, &error)),
        _ => Ok(()),
    }
}

fn remove_pin(path: &Path) -> Result<(), HookError> {
    fs::remove_file(path).map_err(|error| HookError::pin(path, &error))
}
