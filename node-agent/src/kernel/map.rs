//! Maps by descriptor, where the sizes of keys and values are known only when it runs.
#![allow(unsafe_code, reason = "bpf(2) takes addresses of what it reads")]

use std::{
    ffi::c_char,
    io, mem,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use aya_obj::generated::{bpf_cmd, bpf_map_info};

use super::bpf::{bpf, owned, zeroed};

/// Types with a value for each CPU: PERCPU_HASH, PERCPU_ARRAY, LRU_PERCPU_HASH, PERCPU_CGROUP_STORAGE.
const PER_CPU: [u32; 4] = [5, 6, 10, 21];

/// A map as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapState {
    /// `enum bpf_map_type`.
    pub map_type: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Most entries.
    pub max_entries: u32,
}

/// BPF_OBJ_GET_INFO_BY_FD of a map.
pub fn info(map: BorrowedFd<'_>) -> io::Result<MapState> {
    // SAFETY: bpf_map_info is a struct of plain integers; all zero bits are a valid value.
    let mut info: bpf_map_info = unsafe { mem::zeroed() };
    let mut attr = zeroed();
    attr.info.bpf_fd = map.as_raw_fd() as u32;
    attr.info.info_len = mem::size_of::<bpf_map_info>() as u32;
    attr.info.info = &raw mut info as u64;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(MapState {
        map_type: info.type_,
        key_size: info.key_size,
        value_size: info.value_size,
        max_entries: info.max_entries,
    })
}

/// BPF_MAP_CREATE, as typed arguments.
#[derive(Clone, Copy, Debug, Default)]
pub struct MapCreate<'a> {
    /// `enum bpf_map_type`.
    pub map_type: u32,
    /// Its name, of which the kernel keeps 15 bytes; empty for none.
    pub name: &'a str,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Most entries.
    pub max_entries: u32,
    /// `BPF_F_*`.
    pub flags: u32,
    /// A map like those that it holds.
    pub inner: Option<BorrowedFd<'a>>,
    /// BTF of its key and value.
    pub btf: Option<BorrowedFd<'a>>,
    /// Type of its key in there, or 0.
    pub btf_key_type_id: u32,
    /// Type of its value in there, or 0.
    pub btf_value_type_id: u32,
    /// Type of its value in the kernel, for tables of operations, or 0.
    pub btf_vmlinux_value_type_id: u32,
}

impl MapCreate<'_> {
    /// Makes the map.
    pub fn create(&self) -> io::Result<OwnedFd> {
        let raw = |fd: Option<BorrowedFd<'_>>| fd.map_or(0, |fd| fd.as_raw_fd());
        let mut attr = zeroed();
        // SAFETY: writing fields of a zeroed union of plain data.
        let fields = unsafe { &mut attr.__bindgen_anon_1 };
        fields.map_type = self.map_type;
        fields.key_size = self.key_size;
        fields.value_size = self.value_size;
        fields.max_entries = self.max_entries;
        fields.map_flags = self.flags;
        fields.inner_map_fd = raw(self.inner) as u32;
        // The last byte stays zero.
        for (place, byte) in fields.map_name.iter_mut().take(15).zip(self.name.bytes()) {
            *place = byte as c_char;
        }
        fields.btf_fd = raw(self.btf) as u32;
        fields.btf_key_type_id = self.btf_key_type_id;
        fields.btf_value_type_id = self.btf_value_type_id;
        fields.btf_vmlinux_value_type_id = self.btf_vmlinux_value_type_id;
        owned(bpf(bpf_cmd::BPF_MAP_CREATE, &mut attr)?)
    }
}

/// Writes an entry, whether it is there or not (BPF_MAP_UPDATE_ELEM with BPF_ANY).
pub fn update(map: BorrowedFd<'_>, key: &[u8], value: &[u8]) -> io::Result<()> {
    let state = info(map)?;
    check(state, key.len(), value.len())
        .map_err(|message| io::Error::new(io::ErrorKind::InvalidInput, message))?;
    let mut attr = zeroed();
    // SAFETY: writing fields of a zeroed union of plain data. Key and value outlive the call, and are as long as
    // the kernel reads: `check` saw to that.
    let fields = unsafe { &mut attr.__bindgen_anon_2 };
    fields.map_fd = map.as_raw_fd() as u32;
    fields.key = key.as_ptr() as u64;
    fields.__bindgen_anon_1.value = value.as_ptr() as u64;
    bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr).map(drop)
}

fn check(map: MapState, key: usize, value: usize) -> Result<(), String> {
    if PER_CPU.contains(&map.map_type) {
        return Err(format!("a map of type {} has a value for each CPU", map.map_type));
    }
    let fits = |size: u32, given: usize| usize::try_from(size).is_ok_and(|size| size == given);
    if fits(map.key_size, key) && fits(map.value_size, value) {
        return Ok(());
    }
    Err(format!(
        "{key} bytes of key and {value} of value for a map that takes {} and {}",
        map.key_size, map.value_size
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_never_reaches_the_kernel() {
        let map = |map_type| MapState {
            map_type,
            key_size: 4,
            value_size: 8,
            max_entries: 1,
        };
        assert_eq!(check(map(2), 4, 8), Ok(()));
        assert!(check(map(2), 4, 7).unwrap_err().contains("takes 4 and 8"));
        assert!(check(map(2), 3, 8).is_err());
        assert!(check(map(6), 4, 8).unwrap_err().contains("each CPU"));
    }
}
