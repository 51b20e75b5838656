// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Reads the record of a tracepoint, which every kernel has at the same places. */
#include "blocksizes.h"

/* As in /sys/kernel/tracing/events/block/block_rq_issue/format, up to the field that is wanted. */
struct record {
	__u64 common;
	__u32 device;
	__u64 sector;
	__u32 sectors;
	__u32 bytes;
};

SEC("tracepoint/block/block_rq_issue")
int on_request(struct record *record)
{
	count(record->bytes);
	return 0;
}
