//! What the kernel's refusals mean.

use std::io;

use bpfleet_fit::question::Answer;
use nix::errno::Errno;

use crate::kernel::probe::{ENOTSUPP, errno};

/// Name of an error number.
pub fn name(errno: i32) -> String {
    match errno {
        ENOTSUPP => "ENOTSUPP".to_owned(),
        0 => "no error number".to_owned(),
        _ => match Errno::from_raw(errno) {
            Errno::UnknownErrno => format!("error {errno}"),
            known => format!("{known:?}"),
        },
    }
}

/// Whether it speaks of rights. That is never a No: another agent, or this one with other rights, could do it.
pub fn lacks_rights(errno: i32) -> bool {
    errno == libc::EPERM || errno == libc::EACCES
}

/// What was tried says nothing about the kernel.
pub fn unknown(what: &str, errno: i32) -> Answer {
    Answer::Unknown(why_unknown(what, errno))
}

/// The same in words.
pub fn why_unknown(what: &str, errno: i32) -> String {
    if lacks_rights(errno) {
        format!(
            "{what} is not permitted here ({}): the agent lacks a capability, or a security module, seccomp or \
             kernel lockdown is in the way",
            name(errno)
        )
    } else {
        format!("{what} failed with {}", name(errno))
    }
}

/// A file could not be read.
pub fn unreadable(path: &std::path::Path, error: &io::Error) -> String {
    let why = match errno(error) {
        0 => error.to_string(),
        number => name(number),
    };
    format!("cannot read {}: {why}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_rights_is_unknown_and_says_what_may_be_in_the_way() {
        let Answer::Unknown(why) = unknown("loading", libc::EPERM) else {
            panic!("it is not unknown")
        };
        assert!(why.contains("EPERM") && why.contains("capability"), "{why}");
        assert_eq!(
            unknown("loading", ENOTSUPP),
            Answer::Unknown("loading failed with ENOTSUPP".to_owned())
        );
        assert_eq!(name(5000), "error 5000");
    }
}
