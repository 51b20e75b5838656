// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Many programs in one object, each with a slot of its own. */
#define SLOTS 20
#include "counts.h"

#define COUNT_AT(slot, category, event)                                                            \
	SEC("tp/" #category "/" #event)                                                            \
	int on_##event(void *ctx)                                                                  \
	{                                                                                          \
		count(slot);                                                                       \
		return 0;                                                                          \
	}

COUNT_AT(0, sched, sched_switch)
COUNT_AT(1, sched, sched_waking)
COUNT_AT(2, sched, sched_wakeup)
COUNT_AT(3, sched, sched_wakeup_new)
COUNT_AT(4, sched, sched_process_exec)
COUNT_AT(5, sched, sched_process_exit)
COUNT_AT(6, sched, sched_process_fork)
COUNT_AT(7, sched, sched_process_free)
COUNT_AT(8, sched, sched_process_wait)
COUNT_AT(9, sched, sched_migrate_task)
COUNT_AT(10, sched, sched_stat_runtime)
COUNT_AT(11, signal, signal_generate)
COUNT_AT(12, signal, signal_deliver)
COUNT_AT(13, task, task_newtask)
COUNT_AT(14, task, task_rename)
COUNT_AT(15, raw_syscalls, sys_enter)
COUNT_AT(16, raw_syscalls, sys_exit)
COUNT_AT(17, net, net_dev_queue)
COUNT_AT(18, net, netif_receive_skb)
COUNT_AT(19, sock, inet_sock_set_state)
