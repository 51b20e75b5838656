// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Slot 0 counts, slot 1 has the number of arguments, slot 2 the cookie, the rest the arguments. */
#define SLOTS 15
#include "counts.h"

/* bpf/usdt.bpf.h wants a processor and the kernel's registers. */
#define __TARGET_ARCH_x86
#define __VMLINUX_H__
typedef _Bool bool;
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip;
};
#include <bpf/usdt.bpf.h>

static void put(__u32 slot, __u64 value)
{
	bpf_map_update_elem(&counts, &slot, &value, BPF_ANY);
}

#define ARGUMENT(n) \
	if (bpf_usdt_arg(ctx, n, &value) == 0) \
		put(3 + n, value)

SEC("usdt")
int on_probe(struct pt_regs *ctx)
{
	long value;

	count(0);
	put(1, bpf_usdt_arg_cnt(ctx));
	put(2, bpf_usdt_cookie(ctx));
	ARGUMENT(0);
	ARGUMENT(1);
	ARGUMENT(2);
	ARGUMENT(3);
	ARGUMENT(4);
	ARGUMENT(5);
	ARGUMENT(6);
	ARGUMENT(7);
	ARGUMENT(8);
	ARGUMENT(9);
	ARGUMENT(10);
	ARGUMENT(11);
	return 0;
}
