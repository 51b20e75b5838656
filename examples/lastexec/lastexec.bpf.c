// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* When each command was last executed.
 *
 * LINUX_KERNEL_VERSION is a value of the node's kernel, known before the program is loaded. The
 * verifier sees a constant and does not look at the path that is never taken: a helper that an old
 * kernel does not know does no harm there. */
#include <linux/bpf.h>
#include <linux/time.h>
#include <bpf/bpf_helpers.h>

extern int LINUX_KERNEL_VERSION __kconfig;

struct command {
	char comm[16];
};

struct moment {
	__u64 nanoseconds;
	/* CLOCK_TAI (11): since 1970, with leap seconds; CLOCK_BOOTTIME (7): since the node's start. */
	__u32 clock;
	__u32 unused;
};

/* The oldest commands make room when it is full. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct command);
	__type(value, struct moment);
} last SEC(".maps");

SEC("tracepoint/sched/sched_process_exec")
int on_exec(void *ctx)
{
	struct command command = {};
	struct moment now = {};

	bpf_get_current_comm(&command.comm, sizeof(command.comm));
	if (LINUX_KERNEL_VERSION >= KERNEL_VERSION(6, 1, 0)) {
		now.nanoseconds = bpf_ktime_get_tai_ns();
		now.clock = CLOCK_TAI;
	} else {
		now.nanoseconds = bpf_ktime_get_boot_ns();
		now.clock = CLOCK_BOOTTIME;
	}
	bpf_map_update_elem(&last, &command, &now, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
