// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Kinds of programs that aya has no name for. */
#define SLOTS 9
#include "counts.h"

const volatile int step = 1;

static __attribute__((noinline)) void note(__u32 slot)
{
	count_by(slot, step);
}

SEC("uprobe.multi")
int many(void *ctx)
{
	note(bpf_get_attach_cookie(ctx) & 3);
	return 0;
}

SEC("uretprobe.multi")
int many_returns(void *ctx)
{
	note(4);
	return 0;
}

SEC("uprobe.session")
int both_ends(void *ctx)
{
	note(5);
	return 0;
}

SEC("syscall")
int on_demand(void *ctx)
{
	note(6);
	return 42;
}

SEC("cgroup/connect_unix")
int connect_unix(void *ctx)
{
	note(7);
	return 1;
}

SEC("sk_skb/verdict")
int verdict(void *ctx)
{
	return 1;
}

SEC("action")
int on_action(void *ctx)
{
	return 0;
}

SEC("lwt_in")
int on_lwt_in(void *ctx)
{
	return 0;
}

SEC("lwt_xmit")
int on_lwt_xmit(void *ctx)
{
	return 0;
}

SEC("sk_reuseport/migrate")
int migrate(void *ctx)
{
	return 1;
}

SEC("netfilter")
int accept(void *ctx)
{
	note(8);
	return 1;
}

SEC("raw_tp.w/sched_switch")
int writable(void *ctx)
{
	return 0;
}

SEC("kprobe.multi/vfs_*")
int many_functions(void *ctx)
{
	return 0;
}

/* Reads a register that was never set. */
SEC("syscall")
int refused(void *ctx)
{
	asm volatile("r0 = r7");
	return 0;
}
