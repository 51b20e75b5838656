//! Trial loads of tiny programs.

use std::os::fd::{BorrowedFd, OwnedFd};

use aya_obj::generated::{BPF_F_SLEEPABLE, bpf_insn};

use super::super::{
    prog_load::{ProgLoad, instruction},
    program::kernel_version,
};

/// Room for the log of a program of two instructions.
const LOG_BYTES: usize = 4096;

/// An instruction as bpf(2) takes it.
pub type Instruction = bpf_insn;

/// `r0 = 0; exit`.
pub fn return_zero() -> [Instruction; 2] {
    [instruction(0xb7, 0, 0), instruction(0x95, 0, 0)]
}

/// A call of a helper, and `exit`.
pub fn call(helper: u32) -> [Instruction; 2] {
    [
        instruction(0x85, 0, helper.cast_signed()),
        instruction(0x95, 0, 0),
    ]
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
    let program = ProgLoad {
        program_type: trial.program_type,
        expected_attach_type: trial.attach_type,
        flags: if trial.sleepable { BPF_F_SLEEPABLE } else { 0 },
        license: c"GPL",
        kernel_version: kernel_version(),
        instructions,
        attach_btf_id: trial.attach_btf_id,
        attach_btf: trial.attach_btf,
        ..ProgLoad::default()
    };
    program.load_logged(LOG_BYTES).map_err(|refused| Refused {
        errno: super::errno(&refused.error),
        log: refused.log,
    })
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
        load(&filter, &return_zero()).unwrap();
        let refused = load(&filter, &call(1 << 20)).unwrap_err();
        assert_eq!(refused.errno, libc::EINVAL);
        assert!(refused.log.contains("func"), "{}", refused.log);
        let type_of_the_future = Trial {
            program_type: 5000,
            ..Trial::default()
        };
        assert_eq!(load(&type_of_the_future, &return_zero()).unwrap_err().log, "");
    }
}
