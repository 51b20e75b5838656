//! Active security modules, by system call.
#![allow(unsafe_code, reason = "lsm_list_modules(2) has no wrapper")]

use std::{io, mem};

/// Number of lsm_list_modules(2), the same on every architecture (6.8).
const LSM_LIST_MODULES: libc::c_long = 461;
/// More than the kernel has.
const MAX_MODULES: usize = 64;

/// Numbers of the active security modules, in order (include/uapi/linux/lsm.h).
pub fn active_modules() -> io::Result<Vec<u64>> {
    let mut ids = [0u64; MAX_MODULES];
    let mut size = u32::try_from(mem::size_of_val(&ids)).map_err(io::Error::other)?;
    // SAFETY: the kernel writes at most `size` bytes to `ids`; both outlive the call.
    let count = unsafe { libc::syscall(LSM_LIST_MODULES, ids.as_mut_ptr(), &raw mut size, 0u32) };
    if count < 0 {
        return Err(io::Error::last_os_error());
    }
    let count = usize::try_from(count).map_err(io::Error::other)?;
    Ok(ids.iter().copied().take(count).collect())
}
