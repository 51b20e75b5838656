// SPDX-License-Identifier: MIT OR GPL-2.0-only
#define SLOTS 12
#include "counts.h"

SEC("cgroup/bind4")
int on_bind4(struct bpf_sock_addr *ctx)
{
	count(0);
	return 1;
}

SEC("cgroup/bind6")
int on_bind6(struct bpf_sock_addr *ctx)
{
	count(1);
	return 1;
}

SEC("cgroup/connect4")
int on_connect4(struct bpf_sock_addr *ctx)
{
	count(2);
	return 1;
}

SEC("cgroup/connect6")
int on_connect6(struct bpf_sock_addr *ctx)
{
	count(3);
	return 1;
}

SEC("cgroup/sendmsg4")
int on_sendmsg4(struct bpf_sock_addr *ctx)
{
	count(4);
	return 1;
}

SEC("cgroup/sendmsg6")
int on_sendmsg6(struct bpf_sock_addr *ctx)
{
	count(5);
	return 1;
}

SEC("cgroup/recvmsg4")
int on_recvmsg4(struct bpf_sock_addr *ctx)
{
	count(6);
	return 1;
}

SEC("cgroup/recvmsg6")
int on_recvmsg6(struct bpf_sock_addr *ctx)
{
	count(7);
	return 1;
}

SEC("cgroup/getpeername4")
int on_getpeername4(struct bpf_sock_addr *ctx)
{
	count(8);
	return 1;
}

SEC("cgroup/getpeername6")
int on_getpeername6(struct bpf_sock_addr *ctx)
{
	count(9);
	return 1;
}

SEC("cgroup/getsockname4")
int on_getsockname4(struct bpf_sock_addr *ctx)
{
	count(10);
	return 1;
}

SEC("cgroup/getsockname6")
int on_getsockname6(struct bpf_sock_addr *ctx)
{
	count(11);
	return 1;
}
