/* What every test program shares: the map `counts` and one way to count in it.
 *
 * The slot is the program's number in its file, from 0, so that a test can tell apart
 * the programs of one object. */
#ifndef COUNTS_H
#define COUNTS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#ifndef SLOTS
#define SLOTS 1
#endif

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

static __always_inline void count_by(__u32 slot, __u64 step)
{
	__u64 *value = bpf_map_lookup_elem(&counts, &slot);

	if (value)
		__sync_fetch_and_add(value, step);
}

static __always_inline void count(__u32 slot)
{
	count_by(slot, 1);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#endif
