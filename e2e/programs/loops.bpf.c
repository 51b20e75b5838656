// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Adds up 1 to 4: with a helper that Linux has since 5.17, and without. No question that is asked beforehand tells
 * which helpers a program calls: the verifier does. */
#include "by_command.h"

static long add(__u32 index, void *sum)
{
	*(__u64 *)sum += index + 1;
	return 0;
}

SEC("tracepoint/sched/sched_process_exec")
int with_helper(void *ctx)
{
	__u64 sum = 0;

	bpf_loop(4, add, &sum, 0);
	count_by(0, sum);
	return 0;
}

SEC("tracepoint/sched/sched_process_exec")
int without_helper(void *ctx)
{
	count_by(1, 1 + 2 + 3 + 4);
	return 0;
}
