// SPDX-License-Identifier: MIT OR GPL-2.0-only
#include "counts.h"

SEC("sk_lookup")
int on_lookup(struct bpf_sk_lookup *ctx)
{
	count(0);
	return SK_PASS;
}
