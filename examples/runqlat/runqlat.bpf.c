// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* How long runnable tasks wait for a CPU, as a histogram of powers of two in microseconds.
 *
 * CO-RE: fields are found by name in the running kernel's BTF, so that one object serves every
 * kernel. A task's state was called `state` before 5.14 and is `__state` since: both declarations
 * are here, and the kernel's own decides. */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define TASK_RUNNING 0
#define SLOTS 27

struct task_struct {
	int pid;
	unsigned int __state;
} __attribute__((preserve_access_index));

/* What follows three underscores is no part of the name. */
struct task_struct___before_5_14 {
	long state;
} __attribute__((preserve_access_index));

/* When a task became runnable, in nanoseconds, by its thread id. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, __u64);
} waiting SEC(".maps");

/* Slot i: waits of 2^i to 2^(i+1)-1 microseconds; the first also those below one. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} histogram SEC(".maps");

static __always_inline long state_of(struct task_struct *task)
{
	struct task_struct___before_5_14 *old = (void *)task;

	if (bpf_core_field_exists(task->__state))
		return BPF_CORE_READ(task, __state);
	return BPF_CORE_READ(old, state);
}

/* Without a loop, which kernels before 5.3 refuse. */
static __always_inline __u32 log2_of(__u64 value)
{
	__u32 slot, shift;

	if (value >= 1ull << (SLOTS - 1))
		return SLOTS - 1;
	slot = (value > 0xffff) << 4;
	value >>= slot;
	shift = (value > 0xff) << 3;
	value >>= shift;
	slot |= shift;
	shift = (value > 0xf) << 2;
	value >>= shift;
	slot |= shift;
	shift = (value > 0x3) << 1;
	value >>= shift;
	slot |= shift;
	return slot | (value >> 1);
}

static __always_inline void runnable(struct task_struct *task)
{
	__u32 tid = BPF_CORE_READ(task, pid);
	__u64 now = bpf_ktime_get_ns();

	/* Thread 0 is each CPU's idle task. */
	if (tid)
		bpf_map_update_elem(&waiting, &tid, &now, BPF_ANY);
}

SEC("raw_tp/sched_wakeup")
int on_wakeup(struct bpf_raw_tracepoint_args *ctx)
{
	runnable((struct task_struct *)ctx->args[0]);
	return 0;
}

SEC("raw_tp/sched_wakeup_new")
int on_wakeup_new(struct bpf_raw_tracepoint_args *ctx)
{
	runnable((struct task_struct *)ctx->args[0]);
	return 0;
}

SEC("raw_tp/sched_switch")
int on_switch(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *previous = (struct task_struct *)ctx->args[1];
	struct task_struct *next = (struct task_struct *)ctx->args[2];
	__u32 tid = BPF_CORE_READ(next, pid);
	__u32 slot;
	__u64 *since, *count, wait;

	/* Preempted: it wants to go on, and waits from now. */
	if (state_of(previous) == TASK_RUNNING)
		runnable(previous);

	since = bpf_map_lookup_elem(&waiting, &tid);
	if (!since)
		return 0;
	wait = (bpf_ktime_get_ns() - *since) / 1000;
	bpf_map_delete_elem(&waiting, &tid);

	slot = log2_of(wait);
	count = bpf_map_lookup_elem(&histogram, &slot);
	if (count)
		*count += 1;
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
