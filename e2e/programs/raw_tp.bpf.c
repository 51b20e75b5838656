// SPDX-License-Identifier: MIT OR GPL-2.0-only
#include "counts.h"

SEC("raw_tp/sys_enter")
int on_sys_enter(struct bpf_raw_tracepoint_args *ctx)
{
	count(0);
	return 0;
}
