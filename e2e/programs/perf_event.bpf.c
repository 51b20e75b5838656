// SPDX-License-Identifier: MIT OR GPL-2.0-only
#include "counts.h"

SEC("perf_event")
int on_sample(void *ctx)
{
	count(0);
	return 0;
}
