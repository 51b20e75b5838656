// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Counts removed files, by the command that removes them. Which function of the kernel that is, says
 * bpfprogram.yaml: it has had more than one name. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct command {
	char comm[16];
};

/* The oldest commands make room when it is full. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct command);
	__type(value, __u64);
} counts SEC(".maps");

SEC("kprobe")
int count_unlink(void *ctx)
{
	struct command command = {};
	__u64 zero = 0, *seen;

	bpf_get_current_comm(&command.comm, sizeof(command.comm));
	bpf_map_update_elem(&counts, &command, &zero, BPF_NOEXIST);
	seen = bpf_map_lookup_elem(&counts, &command);
	if (seen)
		__sync_fetch_and_add(seen, 1);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
