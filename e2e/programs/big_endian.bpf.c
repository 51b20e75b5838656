// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Compiled for the other byte order: see build.sh. */
#include "counts.h"

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	count(0);
	return XDP_PASS;
}
