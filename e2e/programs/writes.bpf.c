// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Calls of write(2) by processes named NAME, in steps of STEP: what a test's target makes exactly as often as the test
 * says. It needs neither the rights of a uprobe nor tracefs. */
#ifndef STEP
#define STEP 1
#endif
#ifndef NAME
#define NAME "bpfleet-target"
#endif
#ifndef NR_WRITE
#define NR_WRITE 1
#endif
#include "counts.h"

static const char name[16] = NAME;

SEC("raw_tp/sys_enter")
int on_write(struct bpf_raw_tracepoint_args *ctx)
{
	char comm[16];

	if (ctx->args[1] != NR_WRITE || bpf_get_current_comm(comm, sizeof(comm)))
		return 0;
	for (int i = 0; i < 16; i++) {
		if (comm[i] != name[i])
			return 0;
		if (!name[i])
			break;
	}
	count_by(0, STEP);
	return 0;
}
