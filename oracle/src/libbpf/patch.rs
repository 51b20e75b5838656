//! What a relocation does to its instruction.

use libbpf_sys::bpf_insn;

use super::calc::numbered;
use super::error::EINVAL;
use super::ffi;
use super::log;
use super::relo::{Outcome, Relo};

/// One slot of eBPF code, in this machine's byte order.
pub type Insn = [u8; 8];

/// `BPF_LD | BPF_IMM | BPF_DW`, which takes two slots.
const LD_IMM64: u8 = 0x18;

/// Patches an instruction of one or two slots as the outcome says (`bpf_core_patch_insn`, relo_core.c), and
/// returns what it then is. `insn_idx` and `relo_idx` only name it in messages.
///
/// # Errors
/// libbpf's, such as -EINVAL if the instruction does not have the value that it should; also -EINVAL if a
/// slot is missing.
pub fn patch(
    insns: &[Insn],
    insn_idx: usize,
    relo: &Relo,
    relo_idx: usize,
    outcome: &Outcome,
) -> Result<Vec<Insn>, i32> {
    log::hook();
    let (name, relo_idx) = numbered("program", relo_idx)?;
    let (_, insn_idx) = numbered("", insn_idx)?;
    let slots = match insns.first() {
        Some([LD_IMM64, ..]) => 2,
        _ => 1,
    };
    if insns.len() < slots {
        return Err(EINVAL);
    }
    let mut insns: Vec<bpf_insn> = insns.iter().copied().map(raw).collect();
    let res = outcome.raw();
    // SAFETY: all pointers are valid for the call, and there are two slots where libbpf goes for a second.
    let status = unsafe {
        ffi::bpf_core_patch_insn(
            name.as_ptr(),
            insns.as_mut_ptr(),
            insn_idx,
            &relo.raw(),
            relo_idx,
            &res,
        )
    };
    if status < 0 {
        return Err(status);
    }
    Ok(insns.into_iter().map(slot).collect())
}

/// For libbpf.
fn raw(insn: Insn) -> bpf_insn {
    // SAFETY: a struct of eight bytes without padding, for which any bits will do.
    unsafe { std::mem::transmute(insn) }
}

/// From libbpf.
pub(super) fn slot(insn: bpf_insn) -> Insn {
    // SAFETY: as in raw().
    unsafe { std::mem::transmute(insn) }
}
