// SPDX-License-Identifier: MIT OR GPL-2.0-only
#include "counts.h"

SEC("tracepoint/sched/sched_switch")
int on_switch(void *ctx)
{
	count(0);
	return 0;
}
