// SPDX-License-Identifier: MIT OR GPL-2.0-only
#include "counts.h"

SEC("tp/sched/sched_process_exec")
int on_exec(void *ctx)
{
	count(0);
	return 0;
}
