// SPDX-License-Identifier: MIT OR GPL-2.0-only
#include "counts.h"

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	count(0);
	return XDP_PASS;
}
