// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* What a kernel might have for the types of tools.bpf.c: moved, resized, renamed, with others between. */
typedef int pid_t;
struct signal_struct {
	long sigcnt;
	long nr_threads;
};
enum colour { BLACK, GREEN = 70, RED = -1 };
enum wide { HUGE = 0x70000000000, SMALL = 1 };
struct flags {
	unsigned long before : 33, kind : 6, on : 1;
	int level : 3;
};
struct key {
	unsigned long long cookie;
	unsigned int pid;
};
struct task_struct {
	void *stack;
	struct task_struct *parent;
	pid_t tgid;
	struct flags flags[4];
	struct {
		union {
			struct {
				short gone;
				long inner;
			};
			long first;
		};
	};
	struct signal_struct *volatile signal;
	int (*run)(struct task_struct *task, enum colour colour);
	char comm[];
};
struct task_struct task;
struct key key;
enum wide wide;
