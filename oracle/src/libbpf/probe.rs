//! What the running kernel has, as libbpf probes it (`libbpf_probes.c`). Needs root.

use std::ptr::null;

use libbpf_sys::{libbpf_probe_bpf_helper, libbpf_probe_bpf_map_type, libbpf_probe_bpf_prog_type};

/// Whether programs of this type (`enum bpf_prog_type`) can be loaded.
///
/// # Errors
/// The error number, if libbpf does not know how to find out.
pub fn probe_program_type(program: u32) -> Result<bool, i32> {
    super::log::hook();
    // SAFETY: it takes any number, and no options.
    told(unsafe { libbpf_probe_bpf_prog_type(program, null()) })
}

/// Whether maps of this type (`enum bpf_map_type`) can be made.
///
/// # Errors
/// The error number, if libbpf does not know how to find out.
pub fn probe_map_type(map: u32) -> Result<bool, i32> {
    super::log::hook();
    // SAFETY: it takes any number, and no options.
    told(unsafe { libbpf_probe_bpf_map_type(map, null()) })
}

/// Whether programs of this type can call this helper (`enum bpf_func_id`).
///
/// # Errors
/// The error number, if libbpf does not know how to find out.
pub fn probe_helper(program: u32, helper: u32) -> Result<bool, i32> {
    super::log::hook();
    // SAFETY: it takes any numbers, and no options.
    told(unsafe { libbpf_probe_bpf_helper(program, helper, null()) })
}

fn told(result: i32) -> Result<bool, i32> {
    match result {
        0 => Ok(false),
        1 => Ok(true),
        error => Err(error),
    }
}
