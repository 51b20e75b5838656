// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* getppid: few programs call it, so that a test sees its own calls. */
#define SLOTS 2
#include "counts.h"

SEC("uprobe/libc.so.6:getppid")
int on_enter(void *ctx)
{
	count(0);
	return 0;
}

SEC("uretprobe/libc.so.6:getppid")
int on_return(void *ctx)
{
	count(1);
	return 0;
}
