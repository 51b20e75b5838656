// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* In which state each task last left a CPU, as the letter that ps shows.
 *
 * CO-RE with a struct flavor: the field was `long state` before 5.14 and is `unsigned int __state`
 * since. Each has a declaration here, and the running kernel's own types decide which one is read. */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* include/linux/sched.h: what is shown of a state, and the state of idle kernel threads. */
#define TASK_REPORT 0x7f
#define TASK_IDLE 0x402

struct task_struct {
	int pid;
	unsigned int __state;
	char comm[16];
} __attribute__((preserve_access_index));

/* What follows three underscores is no part of the name. */
struct task_struct___before_5_14 {
	long state;
} __attribute__((preserve_access_index));

struct left {
	char comm[16];
	/* One letter. */
	char state[2];
};

/* By thread id. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct left);
} states SEC(".maps");

static __always_inline __u64 state_of(struct task_struct *task)
{
	struct task_struct___before_5_14 *old = (void *)task;

	if (bpf_core_field_exists(task->__state))
		return BPF_CORE_READ(task, __state);
	return BPF_CORE_READ(old, state);
}

/* The highest bit counts, as in task_index_to_char. */
static __always_inline char letter_of(__u64 state)
{
	if ((state & TASK_IDLE) == TASK_IDLE)
		return 'I';
	state &= TASK_REPORT;
	return state & 0x40 ? 'P' :
	       state & 0x20 ? 'Z' :
	       state & 0x10 ? 'X' :
	       state & 0x08 ? 't' :
	       state & 0x04 ? 'T' :
	       state & 0x02 ? 'D' :
	       state & 0x01 ? 'S' :
			      'R';
}

SEC("raw_tp/sched_switch")
int on_switch(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *previous = (struct task_struct *)ctx->args[1];
	__u32 tid = BPF_CORE_READ(previous, pid);
	struct left left = {};

	/* Thread 0 is each CPU's idle task. */
	if (!tid)
		return 0;
	BPF_CORE_READ_STR_INTO(&left.comm, previous, comm);
	left.state[0] = letter_of(state_of(previous));
	bpf_map_update_elem(&states, &tid, &left, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
