// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Requests to null_blk's disk, by the size of its blocks: of types that only the module has. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#define __TARGET_ARCH_x86
#include <bpf/bpf_tracing.h>

struct blk_mq_hw_ctx {
	void *driver_data;
} __attribute__((preserve_access_index));

struct nullb_device {
	unsigned int blocksize;
} __attribute__((preserve_access_index));

struct nullb_queue {
	struct nullb_device *dev;
} __attribute__((preserve_access_index));

/* By size in bytes; 0 where it is not read. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} requests SEC(".maps");

static __always_inline void count(__u32 size)
{
	__u64 zero = 0, *seen;

	bpf_map_update_elem(&requests, &size, &zero, BPF_NOEXIST);
	seen = bpf_map_lookup_elem(&requests, &size);
	if (seen)
		__sync_fetch_and_add(seen, 1);
}

SEC("kprobe")
int BPF_KPROBE(typed, struct blk_mq_hw_ctx *hctx)
{
	struct nullb_queue *queue = BPF_CORE_READ(hctx, driver_data);

	count(BPF_CORE_READ(queue, dev, blocksize));
	return 0;
}

SEC("kprobe")
int untyped(void *ctx)
{
	count(0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
