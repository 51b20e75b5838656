// SPDX-License-Identifier: MIT OR GPL-2.0-only
#include "counts.h"

SEC("cgroup/sysctl")
int on_sysctl(struct bpf_sysctl *ctx)
{
	count(0);
	return 1;
}
