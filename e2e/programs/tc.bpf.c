// SPDX-License-Identifier: MIT OR GPL-2.0-only
#include <linux/pkt_cls.h>
#include "counts.h"

/* The section does not say which way: a hook has to. */
SEC("tc")
int classify(struct __sk_buff *skb)
{
	count(0);
	return TC_ACT_OK;
}
