// SPDX-License-Identifier: MIT OR GPL-2.0-only
#include "counts.h"

SEC("sockops")
int on_sockops(struct bpf_sock_ops *ctx)
{
	count(0);
	return 1;
}
