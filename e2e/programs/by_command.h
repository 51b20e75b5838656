/* What test programs share that count by the command they run for: the map `counts`, whose key ends with the
 * program's number in its file, from 0. What a test does is told apart from everything else on its node. */
#ifndef BY_COMMAND_H
#define BY_COMMAND_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct who {
	char comm[16];
	__u32 slot;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct who);
	__type(value, __u64);
} counts SEC(".maps");

static __always_inline void count_by(__u32 slot, __u64 step)
{
	struct who who = {.slot = slot};
	__u64 zero = 0, *seen;

	bpf_get_current_comm(&who.comm, sizeof(who.comm));
	bpf_map_update_elem(&counts, &who, &zero, BPF_NOEXIST);
	seen = bpf_map_lookup_elem(&counts, &who);
	if (seen)
		__sync_fetch_and_add(seen, step);
}

static __always_inline void count(__u32 slot)
{
	count_by(slot, 1);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#endif
