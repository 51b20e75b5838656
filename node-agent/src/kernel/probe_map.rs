//! Whether the kernel has a type of map: one is made, as small as can be.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use btf::{Builder, Definition, Endian};

use super::{btf as kernel_btf, map::MapCreate};

/// `ENOTSUPP` of include/linux/errno.h, which the kernel lets out where a table of operations is not known.
const ENOTSUPP: i32 = 524;
/// `BPF_F_NO_PREALLOC` and `BPF_F_MMAPABLE`.
const NO_PREALLOC: u32 = 1;
const MMAPABLE: u32 = 1 << 10;

/// Sizes that a type of map takes, and what else it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    needs: Needs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Nothing,
    Inner,
    Btf,
    /// Of a table of operations the kernel must know the type.
    KernelType,
}

/// Numbers are those of `enum bpf_map_type`, include/uapi/linux/bpf.h.
fn shape(map_type: u32, page: u32) -> Shape {
    let plain = Shape {
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        flags: 0,
        needs: Needs::Nothing,
    };
    match map_type {
        // STACK_TRACE: a value is a list of addresses.
        7 => Shape {
            value_size: 8,
            ..plain
        },
        // LPM_TRIE: a key is a length and at least a byte.
        11 => Shape {
            key_size: 8,
            value_size: 8,
            flags: NO_PREALLOC,
            ..plain
        },
        // ARRAY_OF_MAPS, HASH_OF_MAPS
        12 | 13 => Shape {
            needs: Needs::Inner,
            ..plain
        },
        // CGROUP_STORAGE, PERCPU_CGROUP_STORAGE: a key is struct bpf_cgroup_storage_key.
        19 | 21 => Shape {
            key_size: 16,
            value_size: 8,
            max_entries: 0,
            ..plain
        },
        // QUEUE, STACK, BLOOM_FILTER
        22 | 23 | 30 => Shape { key_size: 0, ..plain },
        // SK_STORAGE, INODE_STORAGE, TASK_STORAGE, CGRP_STORAGE
        24 | 28 | 29 | 32 => Shape {
            max_entries: 0,
            flags: NO_PREALLOC,
            needs: Needs::Btf,
            ..plain
        },
        // STRUCT_OPS
        26 => Shape {
            needs: Needs::KernelType,
            ..plain
        },
        // RINGBUF, USER_RINGBUF
        27 | 31 => Shape {
            key_size: 0,
            value_size: 0,
            max_entries: page,
            ..plain
        },
        // ARENA: one page.
        33 => Shape {
            key_size: 0,
            value_size: 0,
            flags: MMAPABLE,
            ..plain
        },
        // INSN_ARRAY: a value is struct bpf_insn_array_value.
        34 => Shape {
            value_size: 16,
            ..plain
        },
        _ => plain,
    }
}

/// Tries to make a map of a type.
pub fn map_type(map_type: u32) -> io::Result<()> {
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?.unwrap_or(4096);
    let shape = shape(map_type, u32::try_from(page).map_err(io::Error::other)?);
    let create = MapCreate {
        map_type,
        key_size: shape.key_size,
        value_size: shape.value_size,
        max_entries: shape.max_entries,
        flags: shape.flags,
        ..MapCreate::default()
    };
    match shape.needs {
        Needs::Nothing => create.create().map(drop),
        Needs::Inner => {
            const HASH: u32 = 1;
            let inner = MapCreate {
                map_type: HASH,
                key_size: 4,
                value_size: 4,
                max_entries: 1,
                ..MapCreate::default()
            };
            let inner = inner.create()?;
            let inner = Some(inner.as_fd());
            MapCreate { inner, ..create }.create().map(drop)
        }
        Needs::Btf => {
            let btf = an_integer()?;
            let create = MapCreate {
                btf: Some(btf.as_fd()),
                btf_key_type_id: 1,
                btf_value_type_id: 1,
                ..create
            };
            create.create().map(drop)
        }
        Needs::KernelType => {
            // Type 1 is no such table, which is noticed only where there are any.
            let create = MapCreate {
                btf_vmlinux_value_type_id: 1,
                ..create
            };
            match create.create() {
                Err(error) if error.raw_os_error() == Some(ENOTSUPP) => Ok(()),
                made => made.map(drop),
            }
        }
    }
}

/// BTF with one type, an integer of 4 bytes.
pub(super) fn an_integer() -> io::Result<OwnedFd> {
    let mut builder = Builder::new(Endian::HOST);
    builder.add(&Definition::Int {
        name: b"int".to_vec(),
        size: 4,
        raw: 1,
        offset: 0,
        bits: 32,
    });
    kernel_btf::load(&builder.finish()).map_err(|(error, _)| error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_map_up_to_the_arena_is_in_this_kernel() {
        for number in 1..=33 {
            map_type(number).unwrap_or_else(|error| panic!("{number}: {error}"));
        }
        assert_eq!(map_type(200).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
