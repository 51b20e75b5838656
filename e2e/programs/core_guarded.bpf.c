// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* CO-RE: the same field behind a question, so that the poisoned instruction is dead code. Slot 1
 * counts execs on a kernel that has the field: none. */
#define SLOTS 2
#include "counts.h"
#include <bpf/bpf_core_read.h>

struct task_struct {
	int tgid;
} __attribute__((preserve_access_index));
struct task_struct___other {
	int bpfleet_no_such_field;
} __attribute__((preserve_access_index));

SEC("tp/sched/sched_process_exec")
int read_guarded(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct task_struct___other *other = (void *)task;

	if (bpf_core_field_exists(other->bpfleet_no_such_field))
		count_by(1, BPF_CORE_READ(other, bpfleet_no_such_field));
	else
		count_by(0, BPF_CORE_READ(task, tgid) != 0);
	return 0;
}
