// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Calls of a function that the hook names, in steps of STEP; with REJECT, one that the verifier refuses. */
#ifndef STEP
#define STEP 1
#endif
#include "counts.h"

SEC("uprobe")
int on_hit(void *ctx)
{
#ifdef REJECT
	__u32 slot = 0;
	__u64 *value = bpf_map_lookup_elem(&counts, &slot);

	if (value)
		value[bpf_get_prandom_u32()] = STEP;
#else
	count_by(0, STEP);
#endif
	return 0;
}
