/* The map of both versions: how often each command was executed on this node. */
#ifndef EXECCOUNT_H
#define EXECCOUNT_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct command {
	char comm[16];
};

/* The oldest commands make room when it is full. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct command);
	__type(value, __u64);
} counts SEC(".maps");

static __always_inline void count(void *map)
{
	struct command command = {};
	__u64 one = 1, *seen;

	bpf_get_current_comm(&command.comm, sizeof(command.comm));
	seen = bpf_map_lookup_elem(map, &command);
	if (seen) {
		__sync_fetch_and_add(seen, 1);
		return;
	}
	/* Another CPU may have been first: then its entry is there now. */
	if (bpf_map_update_elem(map, &command, &one, BPF_NOEXIST)) {
		seen = bpf_map_lookup_elem(map, &command);
		if (seen)
			__sync_fetch_and_add(seen, 1);
	}
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#endif
