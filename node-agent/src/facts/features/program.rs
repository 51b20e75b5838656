//! Types of programs.

use bpfleet_fit::{feature::ProgramType, question::Answer};

use super::super::refusal;
use crate::kernel::probe::{
    ENOTSUPP,
    load::{Refused, Trial, load, return_zero},
};

/// `enum bpf_attach_type` of include/uapi/linux/bpf.h.
pub mod attach_type {
    pub const CGROUP_INET_INGRESS: u32 = 0;
    pub const CGROUP_INET4_CONNECT: u32 = 10;
    pub const LIRC_MODE2: u32 = 16;
    pub const FLOW_DISSECTOR: u32 = 17;
    pub const CGROUP_GETSOCKOPT: u32 = 21;
    pub const TRACE_RAW_TP: u32 = 23;
    pub const TRACE_FENTRY: u32 = 24;
    pub const TRACE_FEXIT: u32 = 25;
    pub const MODIFY_RETURN: u32 = 26;
    pub const LSM_MAC: u32 = 27;
    pub const TRACE_ITER: u32 = 28;
    pub const SK_LOOKUP: u32 = 36;
    pub const XDP: u32 = 37;
    pub const PERF_EVENT: u32 = 41;
    pub const TRACE_KPROBE_MULTI: u32 = 42;
    pub const LSM_CGROUP: u32 = 43;
    pub const NETFILTER: u32 = 45;
    pub const TCX_INGRESS: u32 = 46;
    pub const TRACE_UPROBE_MULTI: u32 = 48;
    pub const NETKIT_PRIMARY: u32 = 54;
    pub const TRACE_KPROBE_SESSION: u32 = 56;
    pub const TRACE_UPROBE_SESSION: u32 = 57;
}

/// The simplest program of a type that the kernel takes. Those that attach to a type in BTF name one that is no
/// function, and are refused with words that only a kernel that knows them has.
pub fn trial(program: ProgramType) -> Trial<'static> {
    let (attach_type, attach_btf_id) = match program {
        ProgramType::CgroupSockAddr => (attach_type::CGROUP_INET4_CONNECT, 0),
        ProgramType::CgroupSockopt => (attach_type::CGROUP_GETSOCKOPT, 0),
        ProgramType::LircMode2 => (attach_type::LIRC_MODE2, 0),
        ProgramType::SkLookup => (attach_type::SK_LOOKUP, 0),
        ProgramType::Netfilter => (attach_type::NETFILTER, 0),
        ProgramType::Tracing => (attach_type::TRACE_FENTRY, 1),
        ProgramType::Lsm => (attach_type::LSM_MAC, 1),
        ProgramType::Ext => (0, 1),
        _ => (0, 0),
    };
    Trial {
        program_type: program.number(),
        attach_type,
        attach_btf_id,
        attach_btf: None,
        // They have to be able to sleep (kernel/bpf/verifier.c, check_attach_btf_id; 5.14).
        sleepable: program == ProgramType::Syscall,
    }
}

/// Whether programs of this type can be loaded.
pub fn answer(program: ProgramType) -> Answer {
    decide(program, load(&trial(program), &return_zero()).map(drop))
}

fn decide(program: ProgramType, outcome: Result<(), Refused>) -> Answer {
    let refused = match (outcome, program) {
        (Ok(()), _) => return Answer::Yes,
        (Err(refused), _) => refused,
    };
    let known = match program {
        ProgramType::Tracing | ProgramType::Lsm => refused.log.contains("attach_btf_id 1 is not a function"),
        ProgramType::Ext => refused.log.contains("Cannot replace kernel functions"),
        ProgramType::StructOps => refused.errno == ENOTSUPP,
        _ => false,
    };
    if known {
        return Answer::Yes;
    }
    refusal(&format!("loading {program} programs"), &refused)
}

/// What a refused load says of the kernel. EINVAL is how it refuses types that it does not know or was built
/// without, E2BIG fields that it does not know; the program itself is beyond reproach.
pub fn refusal(what: &str, refused: &Refused) -> Answer {
    match refused.errno {
        libc::EINVAL | libc::E2BIG | libc::EOPNOTSUPP | ENOTSUPP => {
            let words = super::last_words(refused);
            Answer::No(format!("this kernel refuses {what} ({words})"))
        }
        errno => refusal::unknown(what, errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_told_apart() {
        let refused = |errno, log: &str| {
            Err(Refused {
                errno,
                log: log.to_owned(),
            })
        };
        let no_function = "attach_btf_id 1 is not a function\nprocessed 0 insns\n";
        for (program, outcome, expected) in [
            (ProgramType::Xdp, Ok(()), "yes"),
            (ProgramType::Xdp, refused(libc::EINVAL, ""), "no"),
            (ProgramType::SkLookup, refused(libc::E2BIG, ""), "no"),
            (ProgramType::Xdp, refused(libc::EPERM, ""), "unknown"),
            (ProgramType::Xdp, refused(libc::ENOMEM, ""), "unknown"),
            (ProgramType::Tracing, refused(libc::EINVAL, no_function), "yes"),
            (ProgramType::Lsm, refused(libc::EINVAL, no_function), "yes"),
            (ProgramType::Tracing, refused(libc::EINVAL, ""), "no"),
            (ProgramType::Tracing, refused(libc::EPERM, ""), "unknown"),
            (
                ProgramType::Ext,
                refused(libc::EINVAL, "Cannot replace kernel functions\n"),
                "yes",
            ),
            (ProgramType::Ext, refused(libc::EINVAL, ""), "no"),
            (ProgramType::StructOps, refused(ENOTSUPP, ""), "yes"),
            (ProgramType::StructOps, refused(libc::EINVAL, ""), "no"),
        ] {
            let answer = decide(program, outcome.clone());
            let got = match &answer {
                Answer::Yes => "yes",
                Answer::No(_) => "no",
                Answer::Unknown(_) => "unknown",
            };
            assert_eq!(got, expected, "{program} {outcome:?}: {answer:?}");
        }
    }
}
