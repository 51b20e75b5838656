// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Counts packets and bytes of an interface, each direction in a slot of its own. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

enum direction {
	INGRESS = 0,
	EGRESS = 1,
	DIRECTIONS,
};

struct traffic {
	__u64 packets;
	__u64 bytes;
};

/* Per CPU, so that no packet waits for another. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DIRECTIONS);
	__type(key, __u32);
	__type(value, struct traffic);
} traffic SEC(".maps");

/* TC_ACT_UNSPEC: this program only looks; the next one of the chain decides. */
static __always_inline int count(struct __sk_buff *skb, __u32 direction)
{
	struct traffic *t = bpf_map_lookup_elem(&traffic, &direction);

	if (t) {
		t->packets++;
		t->bytes += skb->len;
	}
	return TC_ACT_UNSPEC;
}

SEC("tcx/ingress")
int count_ingress(struct __sk_buff *skb)
{
	return count(skb, INGRESS);
}

SEC("tcx/egress")
int count_egress(struct __sk_buff *skb)
{
	return count(skb, EGRESS);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
