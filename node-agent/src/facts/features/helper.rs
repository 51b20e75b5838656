//! Helpers that programs can call.

use bpfleet_fit::{feature::ProgramType, question::Answer};

use super::super::refusal;
use crate::kernel::probe::load::{Refused, Trial, call, load};

/// Types that have most helpers, to be tried first when any will do.
pub const MOST_FIRST: [ProgramType; 8] = [
    ProgramType::Kprobe,
    ProgramType::SchedCls,
    ProgramType::Xdp,
    ProgramType::CgroupSockAddr,
    ProgramType::SkSkb,
    ProgramType::SkMsg,
    ProgramType::Tracing,
    ProgramType::Lsm,
];

/// What the verifier says of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callable {
    /// The helper is there. That its arguments are wrong, it said as well.
    Yes,
    /// Programs of this type cannot call it.
    NotHere,
    /// The kernel has no helper of this number.
    NotInKernel,
    /// There are no programs of this type.
    NoSuchProgram(String),
    /// It did not get so far.
    Unknown(String),
}

/// Loads a program that does nothing but call it, with whatever is in the registers.
pub fn try_call(helper: u32, trial: &Trial<'_>) -> Result<(), Refused> {
    load(trial, &call(helper)).map(drop)
}

/// Reads the verifier's words: "invalid func" is a number beyond the kernel's last, "unknown func" (up to 6.9) and
/// "program of this type cannot use helper" one that others have (kernel/bpf/verifier.c, check_helper_call).
pub fn callable(outcome: &Result<(), Refused>) -> Callable {
    let refused = match outcome {
        Ok(()) => return Callable::Yes,
        Err(refused) => refused,
    };
    if refused.log.contains("invalid func ") {
        return Callable::NotInKernel;
    }
    if refused.log.contains("unknown func ")
        || refused.log.contains("program of this type cannot use helper ")
    {
        return Callable::NotHere;
    }
    if !refused.log.is_empty() {
        return Callable::Yes;
    }
    match refused.errno {
        libc::EINVAL | libc::E2BIG => Callable::NoSuchProgram(refusal::name(refused.errno)),
        errno => Callable::Unknown(refusal::why_unknown("loading a program that calls it", errno)),
    }
}

impl Callable {
    /// As an answer for programs of this type.
    pub fn answer(self, program: ProgramType) -> Answer {
        match self {
            Self::Yes => Answer::Yes,
            Self::NotHere => Answer::No(format!("{program} programs cannot call it in this kernel")),
            Self::NotInKernel => Answer::No("this kernel has no such helper".to_owned()),
            Self::NoSuchProgram(why) => Answer::No(format!("this kernel has no {program} programs ({why})")),
            Self::Unknown(why) => Answer::Unknown(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifiers_words_decide() {
        let refused = |errno, log: &str| {
            Err(Refused {
                errno,
                log: log.to_owned(),
            })
        };
        for (outcome, expected) in [
            (Ok(()), Callable::Yes),
            (
                refused(
                    libc::EINVAL,
                    "0: (85) call unknown#5000\ninvalid func unknown#5000\n",
                ),
                Callable::NotInKernel,
            ),
            (
                refused(libc::EINVAL, "unknown func bpf_sys_bpf#166\n"),
                Callable::NotHere,
            ),
            (
                refused(
                    libc::EINVAL,
                    "program of this type cannot use helper bpf_sys_bpf#166\n",
                ),
                Callable::NotHere,
            ),
            (
                refused(libc::EACCES, "R1 type=ctx expected=map_ptr\n"),
                Callable::Yes,
            ),
            (
                refused(libc::EINVAL, "helper call is not allowed in probe\n"),
                Callable::Yes,
            ),
            (
                refused(libc::EINVAL, ""),
                Callable::NoSuchProgram("EINVAL".to_owned()),
            ),
        ] {
            assert_eq!(callable(&outcome), expected, "{outcome:?}");
        }
        assert!(matches!(
            callable(&refused(libc::EPERM, "")),
            Callable::Unknown(_)
        ));
    }
}
