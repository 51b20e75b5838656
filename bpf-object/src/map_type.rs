//! Names of map types, as bpftool prints them.

/// `BPF_MAP_TYPE_ARRAY`.
pub(crate) const ARRAY: u32 = 2;

/// Name of a map type (`enum bpf_map_type`), or `None` for a number that came after this was written.
pub fn map_type_name(map_type: u32) -> Option<&'static str> {
    const NAMES: [&str; 35] = [
        "unspec",
        "hash",
        "array",
        "prog_array",
        "perf_event_array",
        "percpu_hash",
        "percpu_array",
        "stack_trace",
        "cgroup_array",
        "lru_hash",
        "lru_percpu_hash",
        "lpm_trie",
        "array_of_maps",
        "hash_of_maps",
        "devmap",
        "sockmap",
        "cpumap",
        "xskmap",
        "sockhash",
        "cgroup_storage",
        "reuseport_sockarray",
        "percpu_cgroup_storage",
        "queue",
        "stack",
        "sk_storage",
        "devmap_hash",
        "struct_ops",
        "ringbuf",
        "inode_storage",
        "task_storage",
        "bloom_filter",
        "user_ringbuf",
        "cgrp_storage",
        "arena",
        "insn_array",
    ];
    NAMES.get(usize::try_from(map_type).ok()?).copied()
}
