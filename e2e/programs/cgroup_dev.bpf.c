// SPDX-License-Identifier: MIT OR GPL-2.0-only
#include "counts.h"

SEC("cgroup/dev")
int on_device(struct bpf_cgroup_dev_ctx *ctx)
{
	count(0);
	return 1;
}
