/* The map of both objects: how large requests to disks are.
 *
 * Slot i: requests of 2^i to 2^(i+1)-1 bytes; the first also those without data. */
#ifndef BLOCKSIZES_H
#define BLOCKSIZES_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define SLOTS 32

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} sizes SEC(".maps");

static __always_inline void count(__u32 bytes)
{
	__u32 slot = 0;
	__u64 *seen;

	/* Kernels before 5.3 refuse loops. */
#pragma unroll
	for (int i = 1; i < SLOTS; i++)
		if (bytes >> i)
			slot = i;
	seen = bpf_map_lookup_elem(&sizes, &slot);
	if (seen)
		*seen += 1;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#endif
