// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Files that are opened: a security hook, or the function that calls all of them. */
#include "by_command.h"

SEC("lsm/file_open")
int by_lsm(void *ctx)
{
	count(0);
	return 0;
}

SEC("kprobe/security_file_open")
int by_kprobe(void *ctx)
{
	count(1);
	return 0;
}
