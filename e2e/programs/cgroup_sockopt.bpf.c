// SPDX-License-Identifier: MIT OR GPL-2.0-only
#define SLOTS 2
#include "counts.h"

/* The kernel refuses options longer than a page unless the program waives them. */
static __always_inline int pass(struct bpf_sockopt *ctx)
{
	if (ctx->optlen > 4096)
		ctx->optlen = 0;
	return 1;
}

SEC("cgroup/getsockopt")
int on_getsockopt(struct bpf_sockopt *ctx)
{
	count(0);
	return pass(ctx);
}

SEC("cgroup/setsockopt")
int on_setsockopt(struct bpf_sockopt *ctx)
{
	count(1);
	return pass(ctx);
}
