// SPDX-License-Identifier: MIT OR GPL-2.0-only
#define SLOTS 2
#include "counts.h"

SEC("cgroup_skb/ingress")
int skb_ingress(struct __sk_buff *skb)
{
	count(0);
	return 1;
}

SEC("cgroup_skb/egress")
int skb_egress(struct __sk_buff *skb)
{
	count(1);
	return 1;
}
