//! Whether the kernel has a type of program or map, a helper, a way of attaching: it is tried, with something as
//! small as can be, and nothing of it stays.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use aya_obj::generated::bpf_insn;

use super::{
    bpf::{self, LinkTarget},
    link::{self, Functions, NetfilterHook, UserPlaces, When},
    prog_load::{ProgLoad, Refused, instruction},
    program::kernel_version,
};

/// Bytes of log that tell why a probe is refused.
const LOG: usize = 16 << 10;
/// `ENOTSUPP` of include/linux/errno.h, which the kernel lets out where a table of operations is not known.
const ENOTSUPP: i32 = 524;
/// What the verifier says of a helper that is not there, or not for this type of program.
const NO_HELPER: [&str; 3] = [
    "invalid func ",
    "unknown func ",
    "program of this type cannot use helper ",
];

/// `enum bpf_prog_type` of include/uapi/linux/bpf.h, as far as something else is needed than a type.
mod program {
    pub const KPROBE: u32 = 2;
    pub const SCHED_CLS: u32 = 3;
    pub const TRACEPOINT: u32 = 5;
    pub const XDP: u32 = 6;
    pub const CGROUP_SKB: u32 = 8;
    pub const CGROUP_SOCK_ADDR: u32 = 18;
    pub const LIRC_MODE2: u32 = 20;
    pub const CGROUP_SOCKOPT: u32 = 25;
    pub const TRACING: u32 = 26;
    pub const STRUCT_OPS: u32 = 27;
    pub const EXT: u32 = 28;
    pub const LSM: u32 = 29;
    pub const SK_LOOKUP: u32 = 30;
    pub const SYSCALL: u32 = 31;
    pub const NETFILTER: u32 = 32;
}

/// `enum bpf_attach_type`.
mod attach {
    pub const CGROUP_INET_INGRESS: u32 = 0;
    pub const CGROUP_INET4_CONNECT: u32 = 10;
    pub const LIRC_MODE2: u32 = 16;
    pub const CGROUP_GETSOCKOPT: u32 = 21;
    pub const TRACE_FENTRY: u32 = 24;
    pub const LSM_MAC: u32 = 27;
    pub const SK_LOOKUP: u32 = 36;
    pub const XDP: u32 = 37;
    pub const PERF_EVENT: u32 = 41;
    pub const KPROBE_MULTI: u32 = 42;
    pub const NETFILTER: u32 = 45;
    pub const TCX_INGRESS: u32 = 46;
    pub const UPROBE_MULTI: u32 = 48;
    pub const NETKIT_PRIMARY: u32 = 54;
    pub const KPROBE_SESSION: u32 = 56;
    pub const UPROBE_SESSION: u32 = 57;
}

/// `BPF_F_SLEEPABLE`.
const SLEEPABLE: u32 = 1 << 4;

/// What a probe found.
#[derive(Debug)]
pub enum Answer {
    /// It is there.
    Yes,
    /// It is not, in the kernel's words.
    No(String),
    /// The kernel refused for another reason, or one that may be another.
    Unknown(io::Error),
}

/// A program to try something with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trial {
    /// `enum bpf_prog_type`.
    pub program_type: u32,
    /// `enum bpf_attach_type`; 0 takes one that the type allows.
    pub expected_attach_type: u32,
    /// `BPF_F_*`.
    pub flags: u32,
    /// A function, tracepoint or hook in the kernel's BTF, for TRACING and LSM; 0 for none.
    pub attach_btf_id: u32,
}

impl Trial {
    /// Of this type, with what the type cannot be without.
    pub fn new(program_type: u32) -> Self {
        let expected_attach_type = match program_type {
            program::CGROUP_SOCK_ADDR => attach::CGROUP_INET4_CONNECT,
            program::CGROUP_SOCKOPT => attach::CGROUP_GETSOCKOPT,
            program::SK_LOOKUP => attach::SK_LOOKUP,
            program::LIRC_MODE2 => attach::LIRC_MODE2,
            program::NETFILTER => attach::NETFILTER,
            program::TRACING => attach::TRACE_FENTRY,
            program::LSM => attach::LSM_MAC,
            _ => 0,
        };
        Self {
            program_type,
            expected_attach_type,
            flags: if program_type == program::SYSCALL {
                SLEEPABLE
            } else {
                0
            },
            attach_btf_id: 0,
        }
    }

    /// The same for another attach type.
    #[must_use]
    pub fn attached_as(self, expected_attach_type: u32) -> Self {
        Self {
            expected_attach_type,
            ..self
        }
    }

    /// The same at a function, tracepoint or hook of the kernel.
    #[must_use]
    pub fn at(self, attach_btf_id: u32) -> Self {
        Self {
            attach_btf_id,
            ..self
        }
    }

    fn program<'a>(&self, instructions: &'a [bpf_insn]) -> ProgLoad<'a> {
        ProgLoad {
            program_type: self.program_type,
            expected_attach_type: self.expected_attach_type,
            flags: self.flags,
            license: c"GPL",
            kernel_version: kernel_version(),
            instructions,
            attach_btf_id: self.attach_btf_id,
            ..ProgLoad::default()
        }
    }
}

/// Tries to load a program that returns 0. Without `attach_btf_id` TRACING, LSM, EXT and STRUCT_OPS cannot be
/// loaded: for these it is `Ok` if the kernel gets as far as to miss it.
pub fn program_type(trial: Trial) -> io::Result<()> {
    // What the verifier says of type id 1, which is no function, once it knows the type of program.
    let expected = match trial.program_type {
        _ if trial.attach_btf_id != 0 => None,
        program::TRACING | program::LSM => Some("attach_btf_id 1 is not a function"),
        program::EXT => Some("Cannot replace kernel functions"),
        program::STRUCT_OPS => {
            return match load(trial, LOG) {
                Err(refused) if refused.error.raw_os_error() == Some(ENOTSUPP) => Ok(()),
                Err(refused) => Err(refused.error),
                Ok(_) => Ok(()),
            };
        }
        _ => None,
    };
    let Some(expected) = expected else {
        return load(trial, 0).map(drop).map_err(|refused| refused.error);
    };
    match load(trial.at(1), LOG) {
        Err(refused) if refused.log.contains(expected) => Ok(()),
        Err(refused) => Err(refused.error),
        Ok(_) => Ok(()),
    }
}

/// Whether programs of a type may call a helper. TRACING and LSM need a place in the kernel to be tried at.
pub fn helper(trial: Trial, helper: u32) -> Answer {
    let Ok(number) = i32::try_from(helper) else {
        return Answer::No(format!("{helper} is no number of a helper"));
    };
    // BPF_CALL, BPF_EXIT
    let instructions = [instruction(0x85, 0, number), instruction(0x95, 0, 0)];
    match trial.program(&instructions).load_logged(LOG) {
        Ok(_) => Answer::Yes,
        Err(refused) => said(refused),
    }
}

/// What is said of a helper, by the verifier or before it came to that.
fn said(Refused { error, log }: Refused) -> Answer {
    let line = log
        .lines()
        .find(|line| NO_HELPER.iter().any(|words| line.contains(words)));
    if let Some(line) = line {
        return Answer::No(line.to_owned());
    }
    // The verifier got to the call: it has objections to what is passed.
    if log.lines().any(|line| line.contains("call ")) {
        return Answer::Yes;
    }
    Answer::Unknown(error)
}

fn load(trial: Trial, log: usize) -> Result<OwnedFd, Refused> {
    // r0 = 0; exit
    let instructions = [instruction(0xb7, 0, 0), instruction(0x95, 0, 0)];
    trial.program(&instructions).load_logged(log)
}

/// A way of attaching.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attaching {
    /// Links of perf events: kprobes, uprobes, tracepoints (5.15).
    PerfLink,
    /// Links of cgroups (5.7).
    CgroupLink,
    /// Links of XDP (5.9).
    XdpLink,
    /// Many kernel functions in one link (5.18, CONFIG_FPROBE).
    KprobeMulti,
    /// Entries and returns of many kernel functions in one link (6.10).
    KprobeSession,
    /// Many places of a binary in one link (6.6).
    UprobeMulti,
    /// Entries and returns of functions of a binary in one link (6.13).
    UprobeSession,
    /// Traffic control without qdiscs (6.6, CONFIG_NET_XGRESS).
    Tcx,
    /// netkit devices (6.7, CONFIG_NETKIT).
    Netkit,
    /// Netfilter (6.4, CONFIG_NETFILTER_BPF_LINK).
    Netfilter,
}

/// Interfaces have positive numbers of 31 bits.
const NO_INTERFACE: LinkTarget<'static> = LinkTarget::Interface(i32::MAX as u32);
/// The loopback interface has this number in every network namespace (LOOPBACK_IFINDEX), and no driver that takes
/// XDP programs.
const LOOPBACK: LinkTarget<'static> = LinkTarget::Interface(1);
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
/// Neither IPv4 nor IPv6.
const NO_FAMILY: NetfilterHook = NetfilterHook {
    family: 255,
    hook: 0,
    priority: 0,
    defragment: false,
};
/// Longer than any name of a function (KSYM_NAME_LEN of include/linux/kallsyms.h, 512 at most).
const LONG_NAME: usize = 2048;

/// Whether the kernel has a way of attaching: it is asked to attach to what cannot be, and only if it has says so.
/// One that does not know the way says EINVAL, or does not load such a program.
pub fn attaching(way: Attaching) -> Answer {
    let kprobe = |attach: u32| Trial::new(program::KPROBE).attached_as(attach);
    let (trial, noticed) = match way {
        Attaching::PerfLink => (Trial::new(program::TRACEPOINT), libc::EBADF),
        Attaching::CgroupLink => (Trial::new(program::CGROUP_SKB), libc::EBADF),
        Attaching::XdpLink => (
            Trial::new(program::XDP).attached_as(attach::XDP),
            libc::EOPNOTSUPP,
        ),
        Attaching::KprobeMulti => (kprobe(attach::KPROBE_MULTI), libc::E2BIG),
        Attaching::KprobeSession => (kprobe(attach::KPROBE_SESSION), libc::E2BIG),
        Attaching::UprobeMulti => (kprobe(attach::UPROBE_MULTI), libc::EBADF),
        Attaching::UprobeSession => (kprobe(attach::UPROBE_SESSION), libc::EBADF),
        Attaching::Tcx | Attaching::Netkit => (Trial::new(program::SCHED_CLS), libc::ENODEV),
        Attaching::Netfilter => (Trial::new(program::NETFILTER), libc::EAFNOSUPPORT),
    };
    let loaded = match load(trial, 0) {
        Ok(loaded) => loaded,
        Err(refused) => return judge(refused.error, None),
    };
    let program = loaded.as_fd();
    // A program is neither an event nor a cgroup.
    let itself = LinkTarget::Fd(program);
    let no_binary = UserPlaces {
        path: Path::new("/"),
        offsets: &[0],
        counters: &[],
        cookies: &[],
        process: 0,
    };
    let long = "x".repeat(LONG_NAME);
    let functions = |when| link::kprobe_multi(program, Functions::Names(&[&long]), &[], when);
    let made = match way {
        Attaching::PerfLink => bpf::link_create(program, itself, attach::PERF_EVENT, 0),
        Attaching::CgroupLink => bpf::link_create(program, itself, attach::CGROUP_INET_INGRESS, 0),
        Attaching::XdpLink => bpf::link_create(program, LOOPBACK, attach::XDP, XDP_FLAGS_DRV_MODE),
        Attaching::KprobeMulti => functions(When::Entry),
        Attaching::KprobeSession => functions(When::Session),
        Attaching::UprobeMulti => link::uprobe_multi(program, &no_binary, When::Entry),
        Attaching::UprobeSession => link::uprobe_multi(program, &no_binary, When::Session),
        Attaching::Tcx => bpf::link_create(program, NO_INTERFACE, attach::TCX_INGRESS, 0),
        Attaching::Netkit => bpf::link_create(program, NO_INTERFACE, attach::NETKIT_PRIMARY, 0),
        Attaching::Netfilter => link::netfilter(program, NO_FAMILY),
    };
    match made {
        Ok(_) => Answer::Yes,
        Err(error) => judge(error, Some(noticed)),
    }
}

/// What an error means, where one says that the kernel has looked at what it was given.
fn judge(error: io::Error, noticed: Option<i32>) -> Answer {
    match error.raw_os_error() {
        number if number.is_some() && number == noticed => Answer::Yes,
        Some(libc::EINVAL | libc::EOPNOTSUPP | libc::E2BIG) => Answer::No(error.to_string()),
        _ => Answer::Unknown(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(number: i32, log: &str) -> Refused {
        Refused {
            error: io::Error::from_raw_os_error(number),
            log: log.to_owned(),
        }
    }

    /// Lines as kernels from 4.18 to 6.18 write them.
    #[test]
    fn the_verifiers_words_tell_a_missing_helper_from_a_wrong_argument() {
        let no = [
            "0: (85) call unknown#9999\ninvalid func unknown#9999\n",
            "0: R1=ctx() R10=fp0\n0: (85) call bpf_redirect#23\nunknown func bpf_redirect#23\n",
            "0: (85) call bpf_redirect#23\nprogram of this type cannot use helper bpf_redirect#23\n",
        ];
        for log in no {
            assert!(matches!(said(refused(libc::EINVAL, log)), Answer::No(_)), "{log}");
        }
        let yes = "0: (85) call bpf_map_lookup_elem#1\nR1 type=ctx expected=map_ptr\n";
        assert!(matches!(said(refused(libc::EACCES, yes)), Answer::Yes));
        assert!(matches!(said(refused(libc::EPERM, "")), Answer::Unknown(_)));
        assert!(matches!(said(refused(libc::EINVAL, "")), Answer::Unknown(_)));
    }

    #[test]
    fn helpers_of_this_kernel_are_told_by_type_of_program() {
        const MAP_LOOKUP_ELEM: u32 = 1;
        const REDIRECT: u32 = 23;
        const GET_ATTACH_COOKIE: u32 = 174;
        let answer = |program_type, number| helper(Trial::new(program_type), number);
        assert!(matches!(answer(program::KPROBE, MAP_LOOKUP_ELEM), Answer::Yes));
        assert!(matches!(answer(program::SCHED_CLS, REDIRECT), Answer::Yes));
        assert!(matches!(answer(program::KPROBE, REDIRECT), Answer::No(_)));
        assert!(matches!(answer(program::KPROBE, GET_ATTACH_COOKIE), Answer::Yes));
        assert!(matches!(answer(program::XDP, 9999), Answer::No(_)));
        assert!(matches!(answer(program::XDP, u32::MAX), Answer::No(_)));
    }

    #[test]
    fn every_type_of_program_up_to_netfilter_is_in_this_kernel() {
        for number in 1..=program::NETFILTER {
            match program_type(Trial::new(number)) {
                Ok(()) => {}
                // For infrared receivers, which few kernels are built for.
                Err(_) if number == program::LIRC_MODE2 => {}
                // A kernel may not let us.
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => println!("{number}: {error}"),
                Err(error) => panic!("{number}: {error}"),
            }
        }
        let error = program_type(Trial::new(200)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn ways_of_attaching_that_this_kernel_has_are_found() {
        for way in [
            Attaching::PerfLink,
            Attaching::CgroupLink,
            Attaching::XdpLink,
            Attaching::UprobeMulti,
            Attaching::UprobeSession,
            Attaching::Tcx,
            Attaching::Netfilter,
        ] {
            let answer = attaching(way);
            assert!(matches!(answer, Answer::Yes), "{way:?}: {answer:?}");
        }
    }

    #[test]
    fn ways_that_depend_on_what_a_kernel_was_built_with_are_answered() {
        for way in [
            Attaching::KprobeMulti,
            Attaching::KprobeSession,
            Attaching::Netkit,
        ] {
            let answer = attaching(way);
            println!("{way:?}: {answer:?}");
            assert!(!matches!(answer, Answer::Unknown(_)), "{way:?}: {answer:?}");
        }
    }
}
