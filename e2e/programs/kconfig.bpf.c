// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Wants a value of the kernel's configuration, which aya cannot supply: refused with that reason. */
#include "counts.h"

extern int CONFIG_HZ __kconfig;

SEC("tp/sched/sched_process_exec")
int with_kconfig(void *ctx)
{
	count_by(0, CONFIG_HZ);
	return 0;
}
