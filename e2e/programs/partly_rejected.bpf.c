// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Two programs of which the verifier refuses one. */
#include "counts.h"

SEC("tp/sched/sched_process_exec")
int good(void *ctx)
{
	count(0);
	return 0;
}

SEC("tp/sched/sched_process_fork")
int bad(void *ctx)
{
	__u32 slot = 0;
	__u64 *value = bpf_map_lookup_elem(&counts, &slot);

	/* Nothing bounds the index. */
	if (value)
		value[bpf_get_prandom_u32()] = 1;
	return 0;
}
