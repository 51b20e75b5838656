// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Counts executed commands, by name. The tracepoint fires once the new program is in place, so
 * that the name is the new one. */
#include "execcount.h"

SEC("tracepoint/sched/sched_process_exec")
int count_exec(void *ctx)
{
	count(&counts);
	return 0;
}
