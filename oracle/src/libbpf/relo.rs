//! A CO-RE relocation, and what it comes to.

use std::ffi::c_int;

use libbpf_sys::bpf_core_relo;

use super::btf::text;
use super::ffi::{self, CoreReloRes, CoreSpec};

/// One CO-RE relocation as `.BTF.ext` has it (`struct bpf_core_relo`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relo {
    /// Where the instruction is in its section, in bytes.
    pub insn_off: u32,
    /// The local type that the access starts from.
    pub type_id: u32,
    /// Where the access string is among the local BTF's strings.
    pub access_str_off: u32,
    /// `BPF_CORE_*`.
    pub kind: u32,
}

/// What to do to an instruction (`struct bpf_core_relo_res`), and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "libbpf's names for libbpf's values")]
pub struct Outcome {
    pub orig_val: u64,
    pub new_val: u64,
    pub poison: bool,
    pub validate: bool,
    pub fail_memsz_adjust: bool,
    pub orig_sz: u32,
    pub orig_type_id: u32,
    pub new_sz: u32,
    pub new_type_id: u32,
    /// The access as the program was compiled with.
    pub local: Spec,
    /// The first candidate that matched; `None` if none did, and for a local type's ID.
    pub target: Option<Target>,
}

/// Where an access was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The candidate's [`origin`](super::Candidate::origin).
    pub origin: usize,
    /// The access there.
    pub spec: Spec,
}

/// An access (`struct bpf_core_spec`). Empty but for the root type if the relocation is about a type. A
/// local one for an enum's value has an accessor and a raw index, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The type that it starts from.
    pub root_type_id: u32,
    /// One per named field and array index.
    pub accessors: Vec<Accessor>,
    /// One per level, as in access strings; for an enum, the value's index.
    pub raw: Vec<i32>,
    /// What it adds up to.
    pub bit_offset: u32,
}

/// One step of an access (`struct bpf_core_accessor`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accessor {
    /// The struct, the union, the enum or the array's element.
    pub type_id: u32,
    /// The field, the value or the element.
    pub idx: u32,
    /// The field's or value's name; `None` for an array.
    pub name: Option<String>,
}

/// # Safety
/// libbpf must have filled it, and its BTF must still be there.
pub(super) unsafe fn spec(raw: &CoreSpec) -> Spec {
    let len = |len: c_int| usize::try_from(len).unwrap_or(0).min(ffi::SPEC_MAX);
    let accessors = raw.spec[..len(raw.len)].iter().map(|accessor| Accessor {
        type_id: accessor.type_id,
        idx: accessor.idx,
        // SAFETY: null, or a string of the BTF.
        name: unsafe { text(accessor.name) },
    });
    Spec {
        root_type_id: raw.root_type_id,
        accessors: accessors.collect(),
        raw: raw.raw_spec[..len(raw.raw_len)].to_vec(),
        bit_offset: raw.bit_offset,
    }
}

impl Relo {
    pub(super) fn raw(&self) -> bpf_core_relo {
        bpf_core_relo {
            insn_off: self.insn_off,
            type_id: self.type_id,
            access_str_off: self.access_str_off,
            kind: self.kind,
        }
    }
}

impl Outcome {
    pub(super) fn new(res: &CoreReloRes, local: Spec, target: Option<Target>) -> Self {
        Self {
            orig_val: res.orig_val,
            new_val: res.new_val,
            poison: res.poison,
            validate: res.validate,
            fail_memsz_adjust: res.fail_memsz_adjust,
            orig_sz: res.orig_sz,
            orig_type_id: res.orig_type_id,
            new_sz: res.new_sz,
            new_type_id: res.new_type_id,
            local,
            target,
        }
    }

    pub(super) fn raw(&self) -> CoreReloRes {
        CoreReloRes {
            orig_val: self.orig_val,
            new_val: self.new_val,
            poison: self.poison,
            validate: self.validate,
            fail_memsz_adjust: self.fail_memsz_adjust,
            orig_sz: self.orig_sz,
            orig_type_id: self.orig_type_id,
            new_sz: self.new_sz,
            new_type_id: self.new_type_id,
        }
    }
}
