// What is refused on all kernels or on some: what is ambiguous, too far or too wide, or has no size.
#include "common.h"

// Kernels have several of the name.
struct console { char name[16]; };
struct getdents_callback { int result; };
struct irq_info { int x; };
struct remap_data { unsigned long pfn; } CORE;
// Too far from the start of its struct for a load.
struct bpf_verifier_env { unsigned int subprog_cnt, total_states; } CORE;
struct pglist_data { int nr_zones; int node_id; unsigned long node_start_pfn; } CORE;
struct srcu_struct { unsigned int srcu_idx; } CORE;
struct rcu_state { unsigned long gp_seq; const char *name; } CORE;
// No size there.
struct efi_boot_services { int x; };
typedef struct efi_boot_services efi_boot_services_t;
typedef struct POOL_ctx_s { int x; } ZSTD_threadPool;
// An array without length that is not the last of its struct.
struct cgroup { __u64 ancestor_ids[0]; int level; } CORE;
// A load of another width than the field.
struct task_struct { int pid; unsigned int flags; char comm[16]; } CORE;
// Unsigned and large: libbpf extends the sign of what is expected.
enum blk_default_limits { BLK_SEG_BOUNDARY_MASK = 0xffffffffu };

SEC("raw_tp/ambiguous")
int ambiguous(void **ctx)
{
    struct remap_data *remap = ctx[0];
    sink = bpf_core_type_exists(struct console); sink = bpf_core_type_size(struct console);
    sink = bpf_core_type_id_kernel(struct console);
    sink = bpf_core_type_exists(struct getdents_callback); sink = bpf_core_type_size(struct getdents_callback);
    sink = bpf_core_type_id_kernel(struct getdents_callback);
    sink = bpf_core_type_exists(struct irq_info); sink = bpf_core_type_size(struct irq_info);
    sink = bpf_core_field_exists(remap->pfn); sink = remap->pfn;
    return 0;
}

SEC("raw_tp/far")
int far(void **ctx)
{
    struct bpf_verifier_env *env = ctx[0];
    struct pglist_data *node = ctx[1];
    struct srcu_struct *srcu = ctx[2];
    struct rcu_state *rcu = ctx[3];
    sink = env->subprog_cnt + env->total_states + node->nr_zones + node->node_id + node->node_start_pfn;
    sink = srcu->srcu_idx + rcu->gp_seq + (long)rcu->name;
    return 0;
}

SEC("raw_tp/unfit")
int unfit(void **ctx)
{
    struct cgroup *cgroup = ctx[0];
    struct task_struct *t = ctx[1];
    sink = bpf_core_type_size(efi_boot_services_t); sink = bpf_core_type_size(ZSTD_threadPool);
    sink = bpf_core_field_exists(cgroup->ancestor_ids[1]); sink = cgroup->ancestor_ids[1];
    sink = bpf_core_enum_value(enum blk_default_limits, BLK_SEG_BOUNDARY_MASK);
    sink = *(__u64 *)&t->comm[8]; sink = *(__u64 *)&t->flags;
    return 0;
}
