// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* CO-RE: a field that no kernel has, read on a path that is always taken. The loader poisons the
 * instruction and the verifier refuses it. */
#include "counts.h"
#include <bpf/bpf_core_read.h>

struct task_struct {
	int bpfleet_no_such_field;
} __attribute__((preserve_access_index));

SEC("tp/sched/sched_process_exec")
int read_missing(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	count_by(0, BPF_CORE_READ(task, bpfleet_no_such_field));
	return 0;
}
