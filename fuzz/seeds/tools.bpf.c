// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* An object with something of everything: maps of each source, globals, a subprogram, CO-RE, externs. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

struct signal_struct {
	int nr_threads;
} __attribute__((preserve_access_index));
struct flags {
	unsigned int on : 1, kind : 5;
	int level : 7;
};
struct task_struct {
	int tgid;
	const struct signal_struct *signal;
	char comm[16];
	struct flags flags[2];
	union {
		int first;
		struct {
			int inner;
		};
	};
} __attribute__((preserve_access_index));
struct task_struct___v46 {
	int old_name;
} __attribute__((preserve_access_index));
enum colour { RED, GREEN = 7 };
enum wide { HUGE = 0x7000000000 };

struct key {
	__u32 pid;
	__u64 cookie;
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct key);
	__type(value, __u64[3]);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} hists SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__array(values, int(void *));
} jumps SEC(".maps");

const volatile __u32 min_us = 5;
const volatile struct {
	char name[8];
	enum colour colour;
	_Bool on;
} settings = { "x", GREEN, 1 };
__u64 seen;
int started = 1;
extern int CONFIG_HZ __kconfig __weak;
extern _Bool CONFIG_SMP __kconfig __weak;
extern char CONFIG_CC_VERSION_TEXT[8] __kconfig __weak;
extern void bpf_rcu_read_lock(void) __ksym;
extern const void init_task __ksym __weak;
char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __attribute__((noinline)) int helper(struct task_struct *t)
{
	return BPF_CORE_READ(t, signal, nr_threads);
}

SEC("tp/sched/sched_switch")
int on_switch(void *ctx)
{
	struct task_struct *t = (void *)bpf_get_current_task();

	seen += min_us + started + CONFIG_HZ + CONFIG_SMP + CONFIG_CC_VERSION_TEXT[1] + settings.name[1];
	return helper(t) + BPF_CORE_READ(t, tgid);
}

SEC("?raw_tp/sys_enter")
int optional(void *ctx)
{
	struct task_struct *t = (void *)bpf_get_current_task();
	struct task_struct___v46 *old = (void *)t;
	struct flags *flags = (void *)t;
	int total = BPF_CORE_READ(t, inner);
	char c = 0;

	if (bpf_core_field_exists(old->old_name))
		total += BPF_CORE_READ(old, old_name);
	if (bpf_core_type_exists(struct signal_struct))
		total += bpf_core_type_size(struct signal_struct);
#if __clang_major__ >= 15
	total += bpf_core_type_matches(struct task_struct);
#endif
	total += bpf_core_type_id_kernel(struct key) + bpf_core_type_id_local(struct key);
	total += bpf_core_enum_value(enum colour, GREEN) + bpf_core_enum_value_exists(enum wide, HUGE);
	total += BPF_CORE_READ_BITFIELD_PROBED(flags, kind) + bpf_core_field_size(t->comm);
	bpf_core_read(&c, 1, &t->comm[3]);
	bpf_rcu_read_lock();
	return total + c + (int)(long)&init_task;
}
