//! What one CO-RE relocation comes to.

use std::ffi::{CString, c_int};

use super::btf::Btf;
use super::candidates::Candidate;
use super::error::EINVAL;
use super::ffi::{self, CoreCand, CoreCandList, CoreReloRes, CoreSpec};
use super::log;
use super::relo::{Outcome, Relo, Target, spec};

/// Calculates a relocation (`bpf_core_calc_relo_insn`, relo_core.c). Of the candidates, those that do not
/// match are removed, unless none does: libbpf keeps what is left for later relocations of the same type.
///
/// # Errors
/// libbpf's, such as -EINVAL if candidates disagree; also -EINVAL for IDs that do not exist and access
/// strings with negative numbers, where libbpf would read what it should not.
pub fn calc(
    prog_name: &str,
    local: &Btf,
    relo: &Relo,
    relo_idx: usize,
    candidates: &mut Vec<Candidate<'_>>,
) -> Result<Outcome, i32> {
    log::hook();
    let (prog_name, relo_idx) = numbered(prog_name, relo_idx)?;
    let exist = candidates.iter().all(|c| c.id < c.btf.type_count());
    if !exist || relo.type_id >= local.type_count() || !sane_access(local, relo) {
        return Err(EINVAL);
    }
    let mut raw: Vec<CoreCand> = candidates.iter().map(Candidate::raw).collect();
    let mut list = CoreCandList {
        cands: raw.as_mut_ptr(),
        len: c_int::try_from(raw.len()).map_err(|_| EINVAL)?,
    };
    let mut specs = Box::new([CoreSpec::EMPTY; 3]);
    let mut res = CoreReloRes::default();
    // SAFETY: all pointers are valid for the call, the BTFs outlive it, all IDs exist, the list has as many
    // candidates as it says, and there are three specs, as libbpf wants.
    let status = unsafe {
        ffi::bpf_core_calc_relo_insn(
            prog_name.as_ptr(),
            &relo.raw(),
            relo_idx,
            local.as_ptr(),
            &mut list,
            specs.as_mut_ptr(),
            &mut res,
        )
    };
    if status < 0 {
        return Err(status);
    }
    let target = candidates
        .iter()
        .find(|c| c.btf.as_ptr().cast_const() == specs[2].btf && c.id == specs[2].root_type_id)
        .map(|candidate| Target {
            origin: candidate.origin,
            // SAFETY: libbpf filled it, from a BTF that is still there.
            spec: unsafe { spec(&specs[2]) },
        });
    // libbpf moved those that match to the front, in their order.
    let left = &raw[..usize::try_from(list.len).unwrap_or(raw.len())];
    let mut left = left.iter().peekable();
    candidates.retain(|c| {
        let raw = c.raw();
        left.next_if(|kept| kept.id == raw.id && kept.btf == raw.btf)
            .is_some()
    });
    // SAFETY: libbpf filled it, from a BTF that is still there.
    let local = unsafe { spec(&specs[0]) };
    Ok(Outcome::new(&res, local, target))
}

/// What names a relocation in libbpf's messages.
pub(super) fn numbered(prog_name: &str, index: usize) -> Result<(CString, c_int), i32> {
    let name = CString::new(prog_name).map_err(|_| EINVAL)?;
    Ok((name, c_int::try_from(index).map_err(|_| EINVAL)?))
}

/// Whether libbpf can be trusted with the access string: `%d` takes a negative number or one that overflows
/// to such, which pass as indices. Strings that libbpf refuses by itself are left to it.
fn sane_access(local: &Btf, relo: &Relo) -> bool {
    let access = local.string(relo.access_str_off).unwrap_or_default();
    let mut numbers = access
        .split(|c: char| !c.is_ascii_digit())
        .filter(|n| !n.is_empty());
    !access.contains('-') && numbers.all(|number| number.parse::<i32>().is_ok())
}
