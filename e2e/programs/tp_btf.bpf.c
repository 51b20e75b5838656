// SPDX-License-Identifier: MIT OR GPL-2.0-only
#include "counts.h"
#include <bpf/bpf_tracing.h>

struct task_struct;

SEC("tp_btf/sched_switch")
int BPF_PROG(on_switch_btf, _Bool preempt, struct task_struct *prev, struct task_struct *next)
{
	count(0);
	return 0;
}
