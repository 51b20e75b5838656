// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* For functions of a module, in each way that the kernel has, and something else that goes on without it. */
#define SLOTS 4
#include "counts.h"

SEC("kprobe")
int on_call(void *ctx)
{
	count(0);
	return 0;
}

SEC("tp/sched/sched_process_exec")
int on_exec(void *ctx)
{
	count(1);
	return 0;
}

SEC("kprobe.multi")
int on_calls(void *ctx)
{
	count(2);
	return 0;
}

SEC("fentry")
int on_entry(void *ctx)
{
	count(3);
	return 0;
}
