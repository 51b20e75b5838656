// SPDX-License-Identifier: MIT OR GPL-2.0-only
#include "counts.h"
#include "sockmap.h"

SEC("sk_msg")
int on_message(struct sk_msg_md *ctx)
{
	count(0);
	return SK_PASS;
}
