// Whole types: there or not, size, id; and (with another kind written over it) of the same shape or not.
#include "common.h"

struct list_head { struct list_head *next, *prev; };
struct list_head___short { struct list_head *next; };
struct list_head___other { void *next; };
struct list_head___more { struct list_head *next, *prev, *third; };
union list_head___union { void *next; };
struct hlist_node { struct hlist_node *next, **pprev; };
struct hlist_head { struct hlist_node *first; };
struct callback_head { struct callback_head *next; void (*func)(struct callback_head *); };
struct callback_head___arguments { void (*func)(struct callback_head *, int); };
struct path { struct vfsmount *mnt; struct dentry *dentry; };
struct path___union { union no_such_union *mnt; };
struct upid { int nr; struct pid_namespace *ns; };
struct upid___unsigned { unsigned nr; };
struct upid___long { long nr; };
typedef struct { int counter; } atomic_t;
typedef struct { __s64 counter; } atomic64_t;
struct kref { struct { struct { int counter; } refs; } refcount; };
struct qstr { union { struct { __u32 hash, len; }; __u64 hash_len; }; const unsigned char *name; };
struct timespec64 { long long tv_sec; long tv_nsec; };
struct ethhdr { unsigned char h_dest[6]; unsigned char h_source[6]; __be16 h_proto; };
struct ethhdr___short { unsigned char h_dest[5]; };
struct file_operations { struct module *owner; __s64 (*llseek)(struct file *, __s64, int); };
struct bpf_iter { int x; };
struct assoc_array_ptr;
struct assoc_array { struct assoc_array_ptr *root; unsigned long nr_leaves_on_tree; };
struct encoded_page { int x; };
struct task_struct { int pid; struct mm_struct *mm; char comm[16]; };
struct task_struct___bad { int pid; struct task_struct *mm; };
struct task_struct___none { int no_such_field; };
enum pid_type { PIDTYPE_PID, PIDTYPE_TGID, PIDTYPE_PGID, PIDTYPE_SID, PIDTYPE_MAX };
enum pid_type___fewer { PIDTYPE_SID___fewer };
enum pid_type___more { PIDTYPE_NONE = 1 };
enum hmm_pfn_flags { HMM_PFN_VALID = 1ull << 63 };
enum hmm_pfn_flags___small { HMM_PFN_VALID___small = 1 };
struct work_struct { struct { __s64 counter; } data; struct list_head entry; void (*func)(struct work_struct *); };
struct no_such_struct { int x; };
union thread_union { struct task_struct task; };
struct thread_union___struct { int x; };
// A struct that refers to itself in its middle, and one with an enum.
struct kernfs_node { struct kernfs_node *parent; const char *name; };
struct pid { unsigned int level; struct upid numbers[0]; };
struct ZSTD_POOL_ctx { int x; };

typedef int pid_t;
typedef long pid_t___long;
typedef unsigned long long u64;
typedef void *fl_owner_t;
typedef void (*rcu_callback_t)(struct callback_head *);
typedef void (*rcu_callback_t___two)(struct callback_head *, int);
typedef int (*rcu_callback_t___int)(struct callback_head *);
typedef int (*initcall_t)(void);
typedef void (*work_func_t)(struct work_struct *);
typedef struct efi_boot_services efi_boot_services_t;
typedef struct efi_simple_text_output_protocol efi_simple_text_output_protocol_t;
typedef struct { unsigned long bits[1]; } nodemask_t;
typedef unsigned char guid_t_bytes[16];
typedef __u8 uuid_t[16];
typedef struct { __u8 b[16]; } guid_t;
typedef struct no_such_struct no_such_typedef;
typedef struct list_head list_head_t;
typedef enum netdev_tx { NETDEV_TX_OK = 0 } netdev_tx_t;
typedef unsigned gfp_t;
typedef _Bool bool_t;
typedef struct cpumask { unsigned long bits[1]; } cpumask_t;
typedef struct cpumask *cpumask_var_t;
typedef struct cpumask cpumask_var_t___array[1];
typedef struct POOL_ctx_s ZSTD_threadPool;
typedef struct ZSTD_DCtx_s { int x; } ZSTD_DCtx;

#define ALL(type) do { \
    sink = bpf_core_type_exists(type); \
    sink = bpf_core_type_size(type); \
    sink = bpf_core_type_id_kernel(type); \
    sink = bpf_core_type_id_local(type); \
} while (0)
// What has no size here: its existence and id.
#define SOME(type) do { \
    sink = bpf_core_type_exists(type); \
    sink = bpf_core_type_id_kernel(type); \
    sink = bpf_core_type_id_local(type); \
} while (0)

SEC("raw_tp/structs")
int structs(void *ctx)
{
    ALL(struct list_head); ALL(struct list_head___short); ALL(struct list_head___other); ALL(struct list_head___more);
    ALL(union list_head___union); ALL(struct hlist_node); ALL(struct hlist_head); ALL(struct callback_head);
    ALL(struct callback_head___arguments); ALL(struct path); ALL(struct path___union); ALL(struct upid);
    ALL(struct upid___unsigned); ALL(struct upid___long); ALL(struct kref); ALL(struct qstr); ALL(struct timespec64);
    ALL(struct ethhdr); ALL(struct ethhdr___short); ALL(struct file_operations); ALL(struct bpf_iter);
    ALL(struct assoc_array); ALL(struct encoded_page); ALL(struct task_struct); ALL(struct task_struct___bad);
    ALL(struct task_struct___none); ALL(struct work_struct); ALL(struct no_such_struct); ALL(union thread_union);
    ALL(struct thread_union___struct); ALL(struct kernfs_node); ALL(struct pid);
    ALL(struct ZSTD_POOL_ctx);
    ALL(enum pid_type); ALL(enum pid_type___fewer); ALL(enum pid_type___more); ALL(enum hmm_pfn_flags);
    ALL(enum hmm_pfn_flags___small);
    return 0;
}

SEC("raw_tp/typedefs")
int typedefs(void *ctx)
{
    ALL(pid_t); ALL(pid_t___long); ALL(u64); ALL(fl_owner_t); ALL(rcu_callback_t); ALL(rcu_callback_t___two);
    ALL(rcu_callback_t___int); ALL(initcall_t); ALL(work_func_t); ALL(nodemask_t); ALL(guid_t_bytes); ALL(uuid_t);
    ALL(guid_t); ALL(no_such_typedef); ALL(list_head_t); ALL(netdev_tx_t); ALL(gfp_t); ALL(bool_t); ALL(cpumask_t);
    ALL(cpumask_var_t); ALL(cpumask_var_t___array); ALL(ZSTD_DCtx); ALL(atomic_t); ALL(atomic64_t);
    return 0;
}
