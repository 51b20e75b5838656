//! Trial maps that aya does not make, or not cheaply.
#![allow(unsafe_code, reason = "attributes of bpf(2) are a union")]

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use aya_obj::generated::{BPF_F_LINK, BPF_F_NO_PREALLOC, bpf_cmd, bpf_map_type};
use btf::{Builder, Definition, Endian};

use super::super::bpf::{bpf, owned, zeroed};

/// `BTF_INT_SIGNED` of include/uapi/linux/btf.h.
const SIGNED: u8 = 1;
const ENDIAN: Endian = if cfg!(target_endian = "little") {
    Endian::Little
} else {
    Endian::Big
};

/// A map of one entry.
pub fn create(map_type: u32, key_size: u32, value_size: u32) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    // SAFETY: writing fields of a zeroed union of plain data.
    let fields = unsafe { &mut attr.__bindgen_anon_1 };
    fields.map_type = map_type;
    fields.key_size = key_size;
    fields.value_size = value_size;
    fields.max_entries = 1;
    owned(bpf(bpf_cmd::BPF_MAP_CREATE, &mut attr)?)
}

/// A map that keeps an `int` for each socket, inode, task or cgroup. It is made in earnest, since a kernel that
/// refuses it for its BTF waits for all CPUs before it says so: 20 to 200 ms.
pub fn create_local_storage(map_type: u32) -> io::Result<OwnedFd> {
    let mut types = Builder::new(ENDIAN);
    let int = types.add(&Definition::Int {
        name: b"int".to_vec(),
        size: 4,
        raw: SIGNED,
        offset: 0,
        bits: 32,
    });
    let btf = load_btf(&types.finish())?;
    let mut attr = zeroed();
    // SAFETY: writing fields of a zeroed union of plain data.
    let fields = unsafe { &mut attr.__bindgen_anon_1 };
    fields.map_type = map_type;
    fields.key_size = 4;
    fields.value_size = 4;
    fields.map_flags = BPF_F_NO_PREALLOC;
    fields.btf_fd = btf.as_raw_fd() as u32;
    fields.btf_key_type_id = int;
    fields.btf_value_type_id = int;
    owned(bpf(bpf_cmd::BPF_MAP_CREATE, &mut attr)?)
}

fn load_btf(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    // SAFETY: writing fields of a zeroed union of plain data. `bytes` outlives the call.
    let fields = unsafe { &mut attr.__bindgen_anon_7 };
    fields.btf = bytes.as_ptr() as u64;
    fields.btf_size = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    owned(bpf(bpf_cmd::BPF_BTF_LOAD, &mut attr)?)
}

/// A struct_ops map that is to be linked, of a type that is no struct_ops table: ENOTSUPP where the kernel knows
/// such links, since it looks at the flags before the type (kernel/bpf/bpf_struct_ops.c, 6.4).
pub fn linked_struct_ops() -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    // SAFETY: writing fields of a zeroed union of plain data.
    let fields = unsafe { &mut attr.__bindgen_anon_1 };
    fields.map_type = bpf_map_type::BPF_MAP_TYPE_STRUCT_OPS as u32;
    fields.key_size = 4;
    fields.max_entries = 1;
    fields.map_flags = BPF_F_LINK;
    fields.btf_vmlinux_value_type_id = 1;
    owned(bpf(bpf_cmd::BPF_MAP_CREATE, &mut attr)?)
}
