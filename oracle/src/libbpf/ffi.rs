//! What libbpf's archive has but its bindings do not: structs and functions of `relo_core.h`,
//! `libbpf_internal.h` and `libbpf.c`, in the version that Cargo.toml pins.

use std::ffi::{c_char, c_int, c_void};

use libbpf_sys::{__va_list_tag, bpf_core_relo, bpf_insn, bpf_object, btf};

/// `BPF_CORE_SPEC_MAX_LEN`.
pub const SPEC_MAX: usize = 64;

/// `struct bpf_core_cand`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CoreCand {
    pub btf: *const btf,
    pub id: u32,
}

/// `struct bpf_core_cand_list`.
#[repr(C)]
pub struct CoreCandList {
    pub cands: *mut CoreCand,
    pub len: c_int,
}

/// `struct bpf_core_accessor`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CoreAccessor {
    pub type_id: u32,
    pub idx: u32,
    pub name: *const c_char,
}

/// `struct bpf_core_spec`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CoreSpec {
    pub btf: *const btf,
    pub spec: [CoreAccessor; SPEC_MAX],
    pub root_type_id: u32,
    pub relo_kind: u32,
    pub len: c_int,
    pub raw_spec: [c_int; SPEC_MAX],
    pub raw_len: c_int,
    pub bit_offset: u32,
}

impl CoreSpec {
    /// All zero, which is how libbpf starts one.
    pub const EMPTY: Self = Self {
        btf: std::ptr::null(),
        spec: [CoreAccessor {
            type_id: 0,
            idx: 0,
            name: std::ptr::null(),
        }; SPEC_MAX],
        root_type_id: 0,
        relo_kind: 0,
        len: 0,
        raw_spec: [0; SPEC_MAX],
        raw_len: 0,
        bit_offset: 0,
    };
}

/// `struct bpf_core_relo_res`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct CoreReloRes {
    pub orig_val: u64,
    pub new_val: u64,
    pub poison: bool,
    pub validate: bool,
    pub fail_memsz_adjust: bool,
    pub orig_sz: u32,
    pub orig_type_id: u32,
    pub new_sz: u32,
    pub new_type_id: u32,
}

/// `struct bpf_program`, for where a prepared program's instructions come from. Never made here, only read
/// behind libbpf's pointers.
#[repr(C)]
pub struct Program {
    pub name: *mut c_char,
    pub sec_name: *mut c_char,
    sec_idx: usize,
    sec_def: *const c_void,
    pub sec_insn_off: usize,
    pub sec_insn_cnt: usize,
    sub_insn_off: usize,
    pub insns: *mut bpf_insn,
    pub insns_cnt: usize,
    reloc_desc: *mut c_void,
    nr_reloc: c_int,
    log_buf: *mut c_char,
    log_size: usize,
    log_level: u32,
    pub obj: *mut bpf_object,
    fd: c_int,
    pub autoload: bool,
    autoattach: bool,
    sym_global: bool,
    mark_btf_static: bool,
    pub kind: u32,
    pub expected_attach_type: u32,
    exception_cb_idx: c_int,
    prog_ifindex: c_int,
    attach_btf_obj_fd: u32,
    attach_btf_id: u32,
    attach_prog_fd: u32,
    func_info: *mut c_void,
    func_info_rec_size: u32,
    func_info_cnt: u32,
    line_info: *mut c_void,
    line_info_rec_size: u32,
    line_info_cnt: u32,
    prog_flags: u32,
    hash: [u8; 32],
    pub subprogs: *const LightSubprog,
    pub subprog_cnt: u32,
}

/// `struct bpf_light_subprog`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LightSubprog {
    pub sec_insn_off: u32,
    pub sub_insn_off: u32,
}

unsafe extern "C" {
    pub fn bpf_core_add_cands(
        local_cand: *mut CoreCand,
        local_essent_len: usize,
        targ_btf: *const btf,
        targ_btf_name: *const c_char,
        targ_start_id: c_int,
        cands: *mut CoreCandList,
    ) -> c_int;
    pub fn bpf_core_essential_name_len(name: *const c_char) -> usize;
    pub fn bpf_core_calc_relo_insn(
        prog_name: *const c_char,
        relo: *const bpf_core_relo,
        relo_idx: c_int,
        local_btf: *const btf,
        cands: *mut CoreCandList,
        specs_scratch: *mut CoreSpec,
        targ_res: *mut CoreReloRes,
    ) -> c_int;
    pub fn bpf_core_patch_insn(
        prog_name: *const c_char,
        insn: *mut bpf_insn,
        insn_idx: c_int,
        relo: *const bpf_core_relo,
        relo_idx: c_int,
        res: *const CoreReloRes,
    ) -> c_int;

    // Of the C library, which libbpf allocates with.
    pub fn vasprintf(out: *mut *mut c_char, format: *const c_char, args: *mut __va_list_tag) -> c_int;
    pub fn free(memory: *mut c_void);
}
