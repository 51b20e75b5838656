// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Requests to disks, counted in three ways. */
#include "by_command.h"

SEC("fentry")
int by_fentry(void *ctx)
{
	count(0);
	return 0;
}

SEC("kprobe")
int by_kprobe(void *ctx)
{
	count(1);
	return 0;
}

SEC("tracepoint")
int by_tracepoint(void *ctx)
{
	count(2);
	return 0;
}
