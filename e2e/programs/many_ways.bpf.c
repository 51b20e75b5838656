// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* One program at many places, with one for a single place where the kernel cannot do that. */
#include "by_command.h"

SEC("kprobe.multi")
int functions(void *ctx)
{
	count(0);
	return 0;
}

SEC("kprobe")
int function(void *ctx)
{
	count(1);
	return 0;
}

SEC("ksyscall")
int system_call(void *ctx)
{
	count(2);
	return 0;
}

SEC("uprobe.multi")
int symbols(void *ctx)
{
	count(3);
	return 0;
}

SEC("uprobe")
int symbol(void *ctx)
{
	count(4);
	return 0;
}

/* Where nothing serves the hook, it is left out. */
SEC("kprobe.multi")
int if_it_can_be(void *ctx)
{
	count(5);
	return 0;
}
