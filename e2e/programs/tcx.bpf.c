// SPDX-License-Identifier: MIT OR GPL-2.0-only
#include <linux/pkt_cls.h>
#define SLOTS 2
#include "counts.h"

/* TC_ACT_UNSPEC: the next program of the chain decides. */
SEC("tcx/ingress")
int count_ingress(struct __sk_buff *skb)
{
	count(0);
	return TC_ACT_UNSPEC;
}

SEC("tcx/egress")
int count_egress(struct __sk_buff *skb)
{
	count(1);
	return TC_ACT_UNSPEC;
}
