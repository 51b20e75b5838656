//! Trial loads of tiny programs.
#![allow(
    unsafe_code,
    reason = "BPF_PROG_LOAD has no safe wrapper that takes a program of our own and shows the log"
)]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use aya::util::KernelVersion;
use aya_obj::generated::bpf_cmd;

use super::super::bpf::{bpf, owned, zeroed};

/// Room for the log of a program of two instructions.
const LOG_BYTES: usize = 4096;
/// The verifier gives up with EAGAIN when a signal comes; so often it is asked again.
const ATTEMPTS: usize = 5;

/// An instruction as bpf(2) takes it.
pub type Instruction = [u8; 8];

/// `r0 = 0`.
pub const RETURN_ZERO: Instruction = [0xb7, 0, 0, 0, 0, 0, 0, 0];
/// `exit`.
pub const EXIT: Instruction = [0x95, 0, 0, 0, 0, 0, 0, 0];

/// A call of a helper.
pub fn call(helper: u32) -> Instruction {
    let [a, b, c, d] = helper.to_ne_bytes();
    [0x85, 0, 0, 0, a, b, c, d]
}

/// What is loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trial<'a> {
    /// `enum bpf_prog_type`.
    pub program_type: u32,
    /// `enum bpf_attach_type`; 0 where the type of the program has none.
    pub attach_type: u32,
    /// Type in BTF that the program attaches to.
    pub attach_btf_id: u32,
    /// The BTF object of the module that has it; none: the kernel.
    pub attach_btf: Option<BorrowedFd<'a>>,
    /// Whether it may sleep.
    pub sleepable: bool,
}

/// A load that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub errno: i32,
    /// What the verifier said; empty if the program did not get so far.
    pub log: String,
}

/// BPF_PROG_LOAD; the program is gone when the descriptor is dropped.
pub fn load(trial: &Trial<'_>, instructions: &[Instruction]) -> Result<OwnedFd, Refused> {
    let mut log = vec![0u8; LOG_BYTES];
    let mut result = Err(io::Error::from_raw_os_error(libc::EAGAIN));
    for _ in 0..ATTEMPTS {
        result = attempt(trial, instructions, &mut log);
        if !matches!(&result, Err(error) if error.raw_os_error() == Some(libc::EAGAIN)) {
            break;
        }
    }
    result.map_err(|error| {
        let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
        Refused {
            errno: super::errno(&error),
            log: String::from_utf8_lossy(log.get(..end).unwrap_or_default()).into_owned(),
        }
    })
}

fn attempt(trial: &Trial<'_>, instructions: &[Instruction], log: &mut [u8]) -> io::Result<OwnedFd> {
    // Before 5.0 kprobe programs are refused without it (kernel/bpf/syscall.c, bpf_prog_load).
    let version = KernelVersion::current().map_or(0, KernelVersion::code);
    let mut attr = zeroed();
    // SAFETY: writing fields of a zeroed union of plain data. What is pointed to outlives the call.
    let fields = unsafe { &mut attr.__bindgen_anon_3 };
    fields.prog_type = trial.program_type;
    fields.expected_attach_type = trial.attach_type;
    fields.attach_btf_id = trial.attach_btf_id;
    if let Some(fd) = trial.attach_btf {
        fields.__bindgen_anon_1.attach_btf_obj_fd = fd.as_raw_fd() as u32;
    }
    if trial.sleepable {
        fields.prog_flags = aya_obj::generated::BPF_F_SLEEPABLE;
    }
    fields.kern_version = version;
    fields.insns = instructions.as_ptr() as u64;
    fields.insn_cnt = u32::try_from(instructions.len()).map_err(io::Error::other)?;
    fields.license = c"GPL".as_ptr() as u64;
    fields.log_buf = log.as_mut_ptr() as u64;
    fields.log_size = u32::try_from(log.len()).map_err(io::Error::other)?;
    fields.log_level = 1;
    owned(bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_returns_zero_loads_and_a_call_of_no_helper_is_refused_with_a_log() {
        let filter = Trial {
            program_type: 1,
            ..Trial::default()
        };
        load(&filter, &[RETURN_ZERO, EXIT]).unwrap();
        let refused = load(&filter, &[call(1 << 20), EXIT]).unwrap_err();
        assert_eq!(refused.errno, libc::EINVAL);
        assert!(refused.log.contains("func"), "{}", refused.log);
        let type_of_the_future = Trial {
            program_type: 5000,
            ..Trial::default()
        };
        assert_eq!(
            load(&type_of_the_future, &[RETURN_ZERO, EXIT]).unwrap_err().log,
            ""
        );
    }
}
