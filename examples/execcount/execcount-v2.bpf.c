// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The second version also counts exits, of processes and not of their threads, in a map of their
 * own. */
#include "execcount.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct command);
	__type(value, __u64);
} exits SEC(".maps");

SEC("tracepoint/sched/sched_process_exec")
int count_exec(void *ctx)
{
	count(&counts);
	return 0;
}

SEC("tracepoint/sched/sched_process_exit")
int count_exit(void *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();

	if (id >> 32 == (__u32)id)
		count(&exits);
	return 0;
}
