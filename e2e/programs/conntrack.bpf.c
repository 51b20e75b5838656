// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Packets of tracked connections, by address and protocol: at a module's function. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#define __TARGET_ARCH_x86
#include <bpf/bpf_tracing.h>

union nf_inet_addr {
	__u32 ip;
} __attribute__((preserve_access_index));

struct nf_conntrack_tuple {
	struct {
		union nf_inet_addr u3;
		__u8 protonum;
	} dst;
} __attribute__((preserve_access_index));

struct nf_conntrack_tuple_hash {
	struct nf_conntrack_tuple tuple;
} __attribute__((preserve_access_index));

struct nf_conn {
	struct nf_conntrack_tuple_hash tuplehash[2];
} __attribute__((preserve_access_index));

/* The address as it is in a packet; slot: the program's number in this file. */
struct connection {
	__u32 address;
	__u32 protocol;
	__u32 slot;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct connection);
	__type(value, __u64);
} packets SEC(".maps");

static __always_inline void count(struct connection *connection)
{
	__u64 zero = 0, *seen;

	bpf_map_update_elem(&packets, connection, &zero, BPF_NOEXIST);
	seen = bpf_map_lookup_elem(&packets, connection);
	if (seen)
		__sync_fetch_and_add(seen, 1);
}

static __always_inline void count_typed(struct nf_conn *ct, __u32 slot)
{
	struct connection connection = {.slot = slot};

	connection.address = BPF_CORE_READ(ct, tuplehash[0].tuple.dst.u3.ip);
	connection.protocol = BPF_CORE_READ(ct, tuplehash[0].tuple.dst.protonum);
	count(&connection);
}

SEC("fentry")
int BPF_PROG(typed_fentry, struct nf_conn *ct)
{
	count_typed(ct, 0);
	return 0;
}

SEC("kprobe")
int BPF_KPROBE(typed_kprobe, struct nf_conn *ct)
{
	count_typed(ct, 1);
	return 0;
}

/* For kernels that have no types. */
SEC("kprobe")
int untyped(void *ctx)
{
	struct connection connection = {.slot = 2};

	count(&connection);
	return 0;
}

SEC("kprobe")
int in_module(void *ctx)
{
	struct connection connection = {.slot = 3};

	count(&connection);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
