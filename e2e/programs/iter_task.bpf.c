// SPDX-License-Identifier: MIT OR GPL-2.0-only
#include "counts.h"

struct seq_file;
struct bpf_iter_meta {
	struct seq_file *seq;
} __attribute__((preserve_access_index));
struct task_struct {
	int tgid;
} __attribute__((preserve_access_index));
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} __attribute__((preserve_access_index));

/* One line a task; the last call comes without one. */
SEC("iter/task")
int list_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	static const char line[] = "%d\n";
	__u64 tgid;

	if (!task)
		return 0;
	count(0);
	tgid = task->tgid;
	bpf_seq_printf(ctx->meta->seq, line, sizeof(line), &tgid, sizeof(tgid));
	return 0;
}
