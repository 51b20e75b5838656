// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Compiles and is refused by the verifier: an index that nothing bounds. */
#include "counts.h"

SEC("tp/sched/sched_process_exec")
int out_of_bounds(void *ctx)
{
	__u32 slot = 0;
	__u64 *value = bpf_map_lookup_elem(&counts, &slot);

	if (value)
		value[bpf_get_prandom_u32()] = 1;
	return 0;
}
