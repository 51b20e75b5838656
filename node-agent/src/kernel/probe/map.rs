//! Trial maps that aya does not make, or not cheaply.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use aya_obj::generated::{BPF_F_LINK, BPF_F_NO_PREALLOC, bpf_map_type};
use btf::{Builder, Definition, Endian};

use super::super::{btf as kernel_btf, map::MapCreate};

/// `BTF_INT_SIGNED` of include/uapi/linux/btf.h.
const SIGNED: u8 = 1;
const ENDIAN: Endian = if cfg!(target_endian = "little") {
    Endian::Little
} else {
    Endian::Big
};

/// A map of one entry.
pub fn create(map_type: u32, key_size: u32, value_size: u32) -> io::Result<OwnedFd> {
    MapCreate {
        map_type,
        key_size,
        value_size,
        max_entries: 1,
        ..MapCreate::default()
    }
    .create()
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
    let btf = kernel_btf::load(&types.finish()).map_err(|(error, _)| error)?;
    MapCreate {
        map_type,
        key_size: 4,
        value_size: 4,
        flags: BPF_F_NO_PREALLOC,
        btf: Some(btf.as_fd()),
        btf_key_type_id: int,
        btf_value_type_id: int,
        ..MapCreate::default()
    }
    .create()
}

/// A struct_ops map that is to be linked, of a type that is no struct_ops table: ENOTSUPP where the kernel knows
/// such links, since it looks at the flags before the type (kernel/bpf/bpf_struct_ops.c, 6.4).
pub fn linked_struct_ops() -> io::Result<OwnedFd> {
    MapCreate {
        map_type: bpf_map_type::BPF_MAP_TYPE_STRUCT_OPS as u32,
        key_size: 4,
        max_entries: 1,
        flags: BPF_F_LINK,
        btf_vmlinux_value_type_id: 1,
        ..MapCreate::default()
    }
    .create()
}
