// SPDX-License-Identifier: MIT OR GPL-2.0-only
#define SLOTS 4
#include "counts.h"

SEC("cgroup/sock_create")
int on_sock_create(struct bpf_sock *ctx)
{
	count(0);
	return 1;
}

SEC("cgroup/sock_release")
int on_sock_release(struct bpf_sock *ctx)
{
	count(1);
	return 1;
}

SEC("cgroup/post_bind4")
int on_post_bind4(struct bpf_sock *ctx)
{
	count(2);
	return 1;
}

SEC("cgroup/post_bind6")
int on_post_bind6(struct bpf_sock *ctx)
{
	count(3);
	return 1;
}
