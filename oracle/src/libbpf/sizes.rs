//! Sizes of maps that objects leave to user space.

use std::ptr::NonNull;

use libbpf_sys as sys;

use super::error::Error;
use super::object::Object;

/// Entries of a map that says nothing of them.
const ENTRIES: u32 = 1024;
/// Most frames of a stack that the kernel keeps unless told otherwise (kernel.perf_event_max_stack).
const STACK_DEPTH: u32 = 127;
/// Whose entries the kernel or libbpf chooses.
const SIZED: [u32; 2] = [sys::BPF_MAP_TYPE_RINGBUF, sys::BPF_MAP_TYPE_PERF_EVENT_ARRAY];

/// What a map is to be, other than the object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapSize {
    /// Name of the map.
    pub map: String,
    /// How many entries it shall have.
    pub max_entries: Option<u32>,
    /// How many bytes a value shall have.
    pub value_size: Option<u32>,
}

impl Object {
    /// Sizes without which it cannot be loaded, as user space might set them.
    pub fn missing_sizes(&self) -> Vec<MapSize> {
        self.map_ptrs()
            .iter()
            .filter_map(|(name, map)| missing(name, *map))
            .collect()
    }

    /// Sets sizes of maps.
    ///
    /// # Errors
    /// If there is no such map, or libbpf refuses.
    pub fn set_sizes(&mut self, sizes: &[MapSize]) -> Result<(), Error> {
        for size in sizes {
            if let Some(entries) = size.max_entries {
                self.set_max_entries(&size.map, entries)?;
            }
            if let Some(bytes) = size.value_size {
                self.set_value_size(&size.map, bytes)?;
            }
        }
        Ok(())
    }
}

fn missing(name: &str, map: NonNull<sys::bpf_map>) -> Option<MapSize> {
    // SAFETY: a map of an object that is there.
    let (kind, entries, value) = unsafe {
        let map = map.as_ptr();
        (
            sys::bpf_map__type(map),
            sys::bpf_map__max_entries(map),
            sys::bpf_map__value_size(map),
        )
    };
    let unsized_map = entries == 0 && !SIZED.contains(&kind);
    let stacks = value == 0 && kind == sys::BPF_MAP_TYPE_STACK_TRACE;
    (unsized_map || stacks).then(|| MapSize {
        map: name.to_owned(),
        max_entries: unsized_map.then_some(ENTRIES),
        value_size: stacks.then_some(8 * STACK_DEPTH),
    })
}
