// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Reads the request itself where the kernel starts it: without a copy, and without a tracepoint's record. */
#include "blocksizes.h"
#include <bpf/bpf_tracing.h>

struct request {
	unsigned int __data_len;
} __attribute__((preserve_access_index));

SEC("fentry/blk_mq_start_request")
int BPF_PROG(on_request, struct request *request)
{
	count(request->__data_len);
	return 0;
}
