// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* CO-RE: reads a field whose offset in this declaration is wrong for every kernel. Slot 0 counts
 * execs where it has the value that the helper gives, slot 1 those where it has not. */
#define SLOTS 2
#include "counts.h"
#include <bpf/bpf_core_read.h>

struct task_struct {
	int tgid;
} __attribute__((preserve_access_index));

SEC("tp/sched/sched_process_exec")
int read_tgid(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u32 tgid = BPF_CORE_READ(task, tgid);

	count(tgid != bpf_get_current_pid_tgid() >> 32);
	return 0;
}
