//! Objects as libbpf relocates them before it loads them.

use std::path::Path;
use std::ptr::NonNull;

use libbpf_sys as sys;

use super::error::{EINVAL, Error};
use super::ffi;
use super::log;
use super::object::{Object, Program, check};
use super::patch::{Insn, slot};

/// A program with all relocations done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Its function's name.
    pub name: String,
    /// Its section, without the `?` that may stand first.
    pub section: String,
    /// Where it starts in its section, in bytes.
    pub section_offset: u64,
    /// Its own instructions, and then those of the functions that it calls.
    pub insns: Vec<Insn>,
    /// How many are its own.
    pub own: usize,
    /// The functions, in the order in which they follow.
    pub subprograms: Vec<Subprogram>,
}

/// A function that libbpf appended to a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subprogram {
    /// Where it starts in its section, in bytes; the section is always `.text`.
    pub section_offset: u64,
    /// Where it starts among the program's instructions; it ends where the next one starts.
    pub start: usize,
}

/// Relocates all programs of an object, those that are not loaded by default too, against the BTF at that
/// path or else the running kernel's (`bpf_object__prepare`). Needs root. No map is created: libbpf makes
/// what uses one invalid. Nothing is looked up to attach programs to, but what the object wants of the
/// running kernel (symbols, functions, its configuration) is.
///
/// # Errors
/// If libbpf refuses the object, one of its relocations, or something that it wants is not there.
pub fn prepare(object: &[u8], btf_path: Option<&Path>) -> Result<Vec<Prepared>, Error> {
    let mut object = Object::open(object, btf_path)?;
    for map in object.maps() {
        object.set_autocreate(&map, false)?;
    }
    for at in 0..object.programs().len() {
        // Without its map, libbpf would leave out an operation of a struct; it is relocated like all else.
        // SAFETY: a program of this object.
        if unsafe { sys::bpf_program__type(object.program_ptrs()[at].as_ptr()) }
            == sys::BPF_PROG_TYPE_STRUCT_OPS
        {
            object.set_type(at, sys::BPF_PROG_TYPE_SOCKET_FILTER)?;
        }
        object.set_autoload(at, true)?;
    }
    // SAFETY: the object is valid.
    let (status, log) = log::quietly(|| unsafe { sys::bpf_object__prepare(object.as_ptr()) });
    check("bpf_object__prepare", status).map_err(|e| e.with_log(log))?;
    let programs = object.programs();
    let prepared = object.program_ptrs().iter().zip(programs);
    // SAFETY: these are programs of the object, which is prepared and still there.
    prepared
        .map(|(raw, program)| unsafe { read(*raw, program) })
        .collect()
}

/// # Safety
/// The program must be one of an object that has been prepared and is still there.
unsafe fn read(raw: NonNull<sys::bpf_program>, program: Program) -> Result<Prepared, Error> {
    let changed = |what| {
        Error::new("bpf_object__prepare", EINVAL)
            .with_log(format!("struct bpf_program is not as expected: {what}"))
    };
    // The version says whether ffi::Program is right; what libbpf's functions tell is compared all the same.
    // SAFETY: the program is valid, as the caller says, so that its instructions are; the struct is read only
    // in the version that it was copied from.
    unsafe {
        if sys::libbpf_major_version() != 1 || sys::libbpf_minor_version() != 7 {
            return Err(changed("another version"));
        }
        let (insns, count) = (
            sys::bpf_program__insns(raw.as_ptr()),
            sys::bpf_program__insn_cnt(raw.as_ptr()) as usize,
        );
        let inner = raw.cast::<ffi::Program>().as_ref();
        if inner.insns.cast_const() != insns || inner.insns_cnt != count {
            return Err(changed("instructions"));
        }
        if inner.kind != sys::bpf_program__type(raw.as_ptr())
            || inner.expected_attach_type != sys::bpf_program__expected_attach_type(raw.as_ptr())
            || inner.sec_insn_cnt > count
        {
            return Err(changed("type"));
        }
        let insns = std::slice::from_raw_parts(insns, count);
        let subprograms: &[ffi::LightSubprog] = match inner.subprog_cnt {
            0 => &[],
            n => std::slice::from_raw_parts(inner.subprogs, n as usize),
        };
        Ok(Prepared {
            name: program.name,
            section: program.section,
            section_offset: bytes(inner.sec_insn_off),
            insns: insns.iter().copied().map(slot).collect(),
            own: inner.sec_insn_cnt,
            subprograms: subprograms
                .iter()
                .map(|subprogram| Subprogram {
                    section_offset: bytes(subprogram.sec_insn_off as usize),
                    start: subprogram.sub_insn_off as usize,
                })
                .collect(),
        })
    }
}

fn bytes(insns: usize) -> u64 {
    insns as u64 * size_of::<Insn>() as u64
}
