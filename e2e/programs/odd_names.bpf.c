// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Maps whose names are no file names in bpffs: data sections have dots. */
#include "counts.h"

__u64 execs SEC(".data.per_exec");
const volatile __u64 step SEC(".rodata.config") = 1;
__u64 total;

SEC("tp/sched/sched_process_exec")
int odd_names(void *ctx)
{
	__sync_fetch_and_add(&execs, step);
	__sync_fetch_and_add(&total, step);
	count(0);
	return 0;
}
