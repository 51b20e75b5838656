// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* What examples/taskstates does, without the kernel's types: from a tracepoint's record. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct record {
	__u64 common;
	char prev_comm[16];
	int prev_pid;
	int prev_prio;
	long prev_state;
};

struct left {
	char comm[16];
	char state[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct left);
} states SEC(".maps");

SEC("tracepoint/sched/sched_switch")
int on_switch(struct record *record)
{
	__u32 tid = record->prev_pid;
	struct left left = {};
	long state = record->prev_state;

	left.state[0] = state & 0x04 ? 'T' : state & 0x02 ? 'D' : state & 0x01 ? 'S' : 'R';
	bpf_map_update_elem(&states, &tid, &left, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
