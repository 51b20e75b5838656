//! Ways to attach.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use bpfleet_fit::{
    feature::{AttachKind, Feature, ProgramType},
    question::Answer,
};

use super::{
    Features,
    program::{self, attach_type},
    targets::tracing,
};
use crate::{
    facts::refusal,
    kernel::probe::{
        self, ENOTSUPP,
        link::{self, Impossible},
        load::Trial,
        map, perf,
    },
};

const EVENT_SOURCES: &str = "/sys/bus/event_source/devices";
/// Number of `bpf_get_attach_cookie`.
const GET_ATTACH_COOKIE: u32 = 174;
/// Functions of every kernel that kprobes can be put on.
const USUAL_FUNCTIONS: [&str; 3] = ["vfs_read", "do_sys_openat2", "do_exit"];

impl Features {
    pub(super) fn attach(&mut self, kind: AttachKind) -> Answer {
        self.try_attach(kind).unwrap_or_else(|answer| answer)
    }

    /// Errors are answers as well: why the way does not exist, or is not known to.
    fn try_attach(&mut self, kind: AttachKind) -> Result<Answer, Answer> {
        Ok(match kind {
            AttachKind::Tracepoint => {
                self.plain(ProgramType::Tracepoint)?;
                tracepoint(perf::no_tracepoint())
            }
            AttachKind::RawTracepoint => {
                let program = self.plain(ProgramType::RawTracepoint)?;
                let opened =
                    link::raw_tracepoint(program.as_fd(), Some(c"bpfleet-asks-for-what-is-not-there"));
                told_by("opening raw tracepoints", opened, &[libc::ENOENT])
            }
            AttachKind::BtfTracepoint => {
                let id = self.targets()?.tracepoint;
                self.typed(ProgramType::Tracing, attach_type::TRACE_RAW_TP, id, "tracepoints")?;
                Answer::Yes
            }
            AttachKind::Kprobe => {
                self.plain(ProgramType::Kprobe)?;
                kprobes(event_source("kprobe", "kprobes (CONFIG_KPROBE_EVENTS, 4.17)")?)
            }
            AttachKind::KprobeMulti => {
                self.multi(kind, attach_type::TRACE_KPROBE_MULTI, Impossible::Function)?
            }
            AttachKind::KprobeSession => {
                self.multi(kind, attach_type::TRACE_KPROBE_SESSION, Impossible::Function)?
            }
            AttachKind::UprobeMulti => {
                self.multi(kind, attach_type::TRACE_UPROBE_MULTI, Impossible::Binary)?
            }
            AttachKind::UprobeSession => {
                self.multi(kind, attach_type::TRACE_UPROBE_SESSION, Impossible::Binary)?
            }
            AttachKind::Fentry => self.trampoline(attach_type::TRACE_FENTRY)?,
            AttachKind::Fexit => self.trampoline(attach_type::TRACE_FEXIT)?,
            AttachKind::FmodRet => self.modify_return()?,
            AttachKind::Lsm => {
                let id = self.targets()?.lsm;
                self.lsm(attach_type::LSM_MAC, id)?
            }
            AttachKind::LsmCgroup => {
                let id = self.targets()?.lsm_cgroup;
                self.lsm(attach_type::LSM_CGROUP, id)?
            }
            AttachKind::Uprobe => {
                self.plain(ProgramType::Kprobe)?;
                let pmu = event_source("uprobe", "uprobes (CONFIG_UPROBE_EVENTS, 4.17)")?;
                told_by("opening uprobes", perf::no_uprobe(pmu), &[libc::ENOENT])
            }
            AttachKind::PerfEvent => {
                self.plain(ProgramType::PerfEvent)?;
                match perf::clock() {
                    Ok(()) => Answer::Yes,
                    Err(error) => match probe::errno(&error) {
                        libc::ENOSYS | libc::ENOENT => {
                            Answer::No("this kernel has no perf events".to_owned())
                        }
                        errno => refusal::unknown("opening perf events", errno),
                    },
                }
            }
            AttachKind::PerfLink => self.link(
                kind,
                ProgramType::Tracepoint,
                attach_type::PERF_EVENT,
                Impossible::Descriptor,
                &[libc::EBADF],
            )?,
            AttachKind::BpfCookie => self.answer(Feature::Helper {
                id: GET_ATTACH_COOKIE,
                program: Some(ProgramType::Tracepoint),
            }),
            AttachKind::Cgroup => {
                let program = self.plain(ProgramType::CgroupSkb)?;
                let attached = link::cgroup_attach(program.as_fd(), attach_type::CGROUP_INET_INGRESS);
                told_by("attaching to cgroups", attached, &[libc::EBADF])
            }
            AttachKind::CgroupLink => self.link(
                kind,
                ProgramType::CgroupSkb,
                attach_type::CGROUP_INET_INGRESS,
                Impossible::Descriptor,
                &[libc::EBADF],
            )?,
            // EBUSY and EEXIST: somebody's program is on the loopback interface, and the kernel got as far as that.
            AttachKind::XdpLink => self.link(
                kind,
                ProgramType::Xdp,
                attach_type::XDP,
                Impossible::NativeXdpOnLoopback,
                &[libc::EOPNOTSUPP, libc::EBUSY, libc::EEXIST],
            )?,
            AttachKind::Tcx => self.link(
                kind,
                ProgramType::SchedCls,
                attach_type::TCX_INGRESS,
                Impossible::Interface,
                &[libc::ENODEV],
            )?,
            AttachKind::Netkit => self.link(
                kind,
                ProgramType::SchedCls,
                attach_type::NETKIT_PRIMARY,
                Impossible::Interface,
                &[libc::ENODEV],
            )?,
            AttachKind::Netfilter => self.link(
                kind,
                ProgramType::Netfilter,
                attach_type::NETFILTER,
                Impossible::NetfilterFamily,
                &[libc::EAFNOSUPPORT],
            )?,
            AttachKind::Netns => self.link(
                kind,
                ProgramType::FlowDissector,
                attach_type::FLOW_DISSECTOR,
                Impossible::Descriptor,
                &[libc::EBADF],
            )?,
            AttachKind::Iter => {
                let id = self.targets()?.iterator;
                self.typed(ProgramType::Tracing, attach_type::TRACE_ITER, id, "iterators")?;
                Answer::Yes
            }
            AttachKind::StructOpsLink => told_by(
                "links of struct_ops tables",
                map::linked_struct_ops(),
                &[ENOTSUPP],
            ),
        })
    }

    /// A program of a type that attaches to nothing when it is loaded.
    fn plain(&self, program: ProgramType) -> Result<OwnedFd, Answer> {
        self.load(&format!("loading {program} programs"), &program::trial(program))
    }

    /// A program that attaches to a type in the kernel's BTF.
    fn typed(
        &self,
        program: ProgramType,
        attach_type: u32,
        id: Option<u32>,
        what: &str,
    ) -> Result<OwnedFd, Answer> {
        let id = id.ok_or_else(|| Answer::No(format!("the kernel's BTF has no {what}")))?;
        self.load(
            &format!("loading programs for {what}"),
            &tracing(program, attach_type, id),
        )
    }

    fn link(
        &self,
        kind: AttachKind,
        program: ProgramType,
        attach_type: u32,
        target: Impossible,
        known: &[i32],
    ) -> Result<Answer, Answer> {
        let program = self.plain(program)?;
        let refused = link::refusal(program.as_fd(), attach_type, target);
        Ok(told_by(&format!("links of {kind}"), refused, known))
    }

    /// Kernels before these links take the program, since they do not look at its attach type.
    fn multi(&self, kind: AttachKind, attach_type: u32, target: Impossible) -> Result<Answer, Answer> {
        let trial = Trial {
            attach_type,
            ..program::trial(ProgramType::Kprobe)
        };
        let program = self.load(&format!("loading programs of {kind}"), &trial)?;
        // A name that is no function's is not found among them, whichever way it is looked for; a directory is no
        // binary.
        let known = match target {
            Impossible::Binary => &[libc::EBADF][..],
            _ => &[libc::ESRCH, libc::ENOENT],
        };
        let refused = link::refusal(program.as_fd(), attach_type, target);
        Ok(told_by(&format!("links of {kind}"), refused, known))
    }

    /// Loading alone does not tell: architectures get trampolines later (arm64: 6.0), and only attaching asks for
    /// one. So a function that only the kernel's own tests call is attached to, and let go.
    fn trampoline(&mut self, attach_type: u32) -> Result<Answer, Answer> {
        let targets = *self.targets()?;
        let function = targets.fentry_test.or(targets.function);
        let program = self.typed(ProgramType::Tracing, attach_type, function, "functions")?;
        if targets.fentry_test.is_none() {
            return Ok(Answer::Yes);
        }
        Ok(trampoline(link::raw_tracepoint(program.as_fd(), None).map(drop)))
    }

    /// A function of the kernel's tests can be modified only where errors can be injected
    /// (CONFIG_FUNCTION_ERROR_INJECTION), a security hook anywhere (kernel/bpf/verifier.c,
    /// check_attach_modify_return). Whether there are trampolines, fentry tells.
    fn modify_return(&mut self) -> Result<Answer, Answer> {
        let targets = *self.targets()?;
        let load = |id| {
            self.typed(
                ProgramType::Tracing,
                attach_type::MODIFY_RETURN,
                id,
                "such functions",
            )
        };
        if load(targets.modify_return_test).is_err() {
            load(targets.security_function)?;
        }
        Ok(self.answer(Feature::Attach(AttachKind::Fentry)))
    }

    fn lsm(&mut self, attach_type: u32, id: Option<u32>) -> Result<Answer, Answer> {
        // A hook without `bpf` among the active modules loads, attaches, and is never called.
        if let Answer::No(why) = &self.bpf_lsm {
            return Ok(Answer::No(why.clone()));
        }
        self.typed(
            ProgramType::Lsm,
            attach_type,
            id,
            "security hooks (CONFIG_BPF_LSM)",
        )?;
        if let Answer::No(why) = self.answer(Feature::Attach(AttachKind::Fentry)) {
            return Ok(Answer::No(why));
        }
        Ok(self.bpf_lsm.clone())
    }
}

/// What an errno of an impossible attachment says: one of these, and the kernel knows the way.
fn told_by<T>(what: &str, outcome: io::Result<T>, known: &[i32]) -> Answer {
    let errno = match outcome {
        Ok(_) => return Answer::Yes,
        Err(error) => probe::errno(&error),
    };
    match errno {
        errno if known.contains(&errno) => Answer::Yes,
        // The kernel does not know it, or was built without it.
        libc::EINVAL | libc::E2BIG | libc::EOPNOTSUPP | ENOTSUPP => {
            Answer::No(format!("this kernel refuses {what} ({})", refusal::name(errno)))
        }
        errno => refusal::unknown(what, errno),
    }
}

fn trampoline(attached: io::Result<()>) -> Answer {
    let errno = match attached {
        Ok(()) => return Answer::Yes,
        Err(error) => probe::errno(&error),
    };
    match errno {
        ENOTSUPP => Answer::No("this kernel has no trampolines on this architecture (ENOTSUPP)".to_owned()),
        // Another attached a program to the same test function that cannot share it.
        libc::EBUSY => Answer::Yes,
        errno => refusal::unknown("attaching to functions by trampoline", errno),
    }
}

/// EINVAL says that there is no tracepoint of this number; a kernel without tracepoints has no such events (ENOENT).
fn tracepoint(outcome: io::Result<()>) -> Answer {
    match outcome.map_err(|error| probe::errno(&error)) {
        Ok(()) | Err(libc::EINVAL) => Answer::Yes,
        Err(errno @ (libc::ENOENT | libc::ENOSYS)) => Answer::No(format!(
            "this kernel has no events of tracepoints ({})",
            refusal::name(errno)
        )),
        Err(errno) => refusal::unknown("opening tracepoints", errno),
    }
}

/// Number of a dynamic event source; an error says that there is none.
pub fn event_source(name: &str, what: &str) -> Result<u32, Answer> {
    let path = Path::new(EVENT_SOURCES).join(name).join("type");
    let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if Path::new(EVENT_SOURCES).exists() => {
            Answer::No(format!("this kernel has no {what}"))
        }
        _ => Answer::Unknown(refusal::unreadable(&path, &error)),
    })?;
    text.trim()
        .parse()
        .map_err(|_| Answer::Unknown(format!("{} says {:?}", path.display(), text.trim())))
}

/// Functions that are not there tell as well: they were looked for.
fn kprobes(pmu: u32) -> Answer {
    let mut answer = Answer::Yes;
    for function in USUAL_FUNCTIONS {
        match perf::kprobe(pmu, function).map_err(|error| probe::errno(&error)) {
            Ok(()) => return Answer::Yes,
            Err(errno) if refusal::lacks_rights(errno) => answer = refusal::unknown("opening kprobes", errno),
            Err(_) => {}
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(errno: i32) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(errno))
    }

    fn word(answer: &Answer) -> &'static str {
        match answer {
            Answer::Yes => "yes",
            Answer::No(_) => "no",
            Answer::Unknown(_) => "unknown",
        }
    }

    #[test]
    fn an_impossible_attachment_tells_by_its_errno() {
        for (errno, known, expected) in [
            (libc::EBADF, &[libc::EBADF][..], "yes"),
            (libc::EINVAL, &[libc::EBADF], "no"),
            (libc::E2BIG, &[libc::EBADF], "no"),
            (libc::EOPNOTSUPP, &[libc::EBADF], "no"),
            (libc::EOPNOTSUPP, &[libc::EOPNOTSUPP], "yes"),
            (libc::EPERM, &[libc::EBADF], "unknown"),
            (libc::ENOMEM, &[libc::EBADF], "unknown"),
            (ENOTSUPP, &[ENOTSUPP], "yes"),
        ] {
            assert_eq!(
                word(&told_by("x", failed(errno), known)),
                expected,
                "{errno} {known:?}"
            );
        }
    }

    #[test]
    fn trampolines_and_tracepoints_have_errnos_of_their_own() {
        for (errno, expected) in [(ENOTSUPP, "no"), (libc::EPERM, "unknown"), (libc::EBUSY, "yes")] {
            assert_eq!(word(&trampoline(failed(errno))), expected, "{errno}");
        }
        for (errno, expected) in [
            (libc::EINVAL, "yes"),
            (libc::ENOENT, "no"),
            (libc::EACCES, "unknown"),
        ] {
            assert_eq!(word(&tracepoint(failed(errno))), expected, "{errno}");
        }
        assert_eq!(word(&trampoline(Ok(()))), "yes");
    }
}
