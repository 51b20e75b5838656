// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Values of the kernel's configuration: one that every kernel has, in counts[0], and one that none has, which a
 * program that is not loaded does not hold up. */
#include "counts.h"

extern int CONFIG_HZ __kconfig;
extern int CONFIG_BPFLEET_NONE __kconfig;

SEC("tp/sched/sched_process_exec")
int with_kconfig(void *ctx)
{
	count_by(0, CONFIG_HZ);
	return 0;
}

SEC("?tp/sched/sched_process_exec")
int without(void *ctx)
{
	count_by(1, CONFIG_BPFLEET_NONE);
	return 0;
}
