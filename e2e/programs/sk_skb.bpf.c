// SPDX-License-Identifier: MIT OR GPL-2.0-only
#define SLOTS 2
#include "counts.h"
#include "sockmap.h"

/* The whole buffer is one message. */
SEC("sk_skb/stream_parser")
int parse(struct __sk_buff *skb)
{
	count(0);
	return skb->len;
}

SEC("sk_skb/stream_verdict")
int verdict(struct __sk_buff *skb)
{
	count(1);
	return SK_PASS;
}
