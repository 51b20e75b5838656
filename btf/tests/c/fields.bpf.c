// Fields: offset, size, existence and sign, in every form of instruction.
#include "common.h"

// Pointers, arrays, nested and anonymous parts as kernels have them.
struct list_head { struct list_head *next, *prev; } CORE;
struct upid { int nr; void *ns; } CORE;
struct pid { unsigned int level; struct upid numbers[1]; } CORE;
struct signal_struct { int nr_threads; struct pid *pids[4]; } CORE;
struct thread_struct { unsigned long sp; } CORE;
typedef struct { int counter; } atomic_t;
struct mm_struct { void *pgd; atomic_t mm_users; unsigned long start_brk; unsigned long cpu_bitmap[0]; } CORE;
struct task_struct {
    volatile long state;
    unsigned int __state;
    int pid, tgid;
    char comm[16];
    struct task_struct *real_parent;
    struct mm_struct *mm;
    struct signal_struct *signal;
    struct list_head tasks;
    struct thread_struct thread;
    __u64 start_time;
    __u64 real_start_time, start_boottime;
    int no_such_field;
    struct { int deep; } no_such_struct;
    int no_such_array[4];
} CORE;
// Flavours: the same type as other kernels have it.
struct task_struct___old { volatile long state; } CORE;
struct task_struct___new { unsigned int __state; } CORE;
struct task_struct___wrong { struct { int x; } pid; char *comm; int mm; } CORE;
struct task_struct___wide { __u64 pid; __u64 flags; __s64 tgid; __u8 prio; __u64 __state; } CORE;
struct thread_struct___v46 { unsigned long fs, gs; } CORE;
struct thread_struct___new { unsigned long fsbase, gsbase; } CORE;
struct no_such_type { int x; int a[3]; struct { int y; }; } CORE;

// A union that was a struct, and members that moved into and out of anonymous ones.
struct page {
    unsigned long flags;
    union {
        struct { struct list_head lru; void *mapping; };
        struct { void *freelist; unsigned int inuse; };
    };
    atomic_t _refcount;
} CORE;
struct sock_common {
    union { struct { __be32 skc_daddr; __be32 skc_rcv_saddr; }; __u64 skc_addrpair; };
    union { struct { __be16 skc_dport; __u16 skc_num; }; __u32 skc_portpair; };
    unsigned short skc_family;
    volatile unsigned char skc_state;
} CORE;
struct sock { struct sock_common __sk_common; int sk_rcvbuf; unsigned int sk_mark; __u16 sk_type, sk_protocol; } CORE;
struct path { void *mnt, *dentry; } CORE;
struct inode { unsigned short i_mode; unsigned long i_ino; unsigned long i_state; __s64 i_size; unsigned int i_flags; } CORE;
struct file { struct path f_path; struct inode *f_inode; unsigned int f_flags; __s64 f_pos; atomic_t f_count; } CORE;
struct cgroup { int level; __u64 ancestor_ids[0]; } CORE;
struct cgroup___pointers { int level; struct cgroup *ancestors[0]; } CORE;
struct kernfs_node { __u64 id; const char *name; unsigned short mode; } CORE;
struct net_device { char name[16]; int ifindex; unsigned int mtu; unsigned char *dev_addr; } CORE;
struct net_device___array { unsigned char dev_addr[32]; } CORE;
struct bpf_verifier_env { unsigned int insn_idx; unsigned int subprog_cnt; unsigned int total_states; } CORE;
struct pglist_data { int nr_zones; int node_id; unsigned long node_start_pfn; } CORE;
struct srcu_struct { unsigned int srcu_idx; } CORE;
struct rcu_state { unsigned long gp_seq; const char *name; } CORE;
struct request { void *q; unsigned int __data_len; void *rq_disk; __u64 __sector; } CORE;
struct kmem_cache { unsigned int size; int refcount; } CORE;
// Kernels have arrays of arrays in one piece.
struct blk_mq_hw_ctx { unsigned long dispatched[7]; } CORE;
struct trace_array { int start; } CORE;
struct nf_hook_entries { __u16 num_hook_entries; struct { void *hook, *priv; } hooks[0]; } CORE;
struct matrix { int cells[3][4]; struct { char rows[2][8]; } in; } CORE;
struct ipv4_devconf { void *sysctl; int data[32]; } CORE;
typedef int pid_t;
typedef __u64 u64;
typedef struct { int counter; } CORE atomic_t___mine;

#define ALL(p, f) do { \
    sink = bpf_core_field_exists((p)->f); \
    sink = bpf_core_field_size((p)->f); \
    sink = bpf_core_field_offset((p)->f); \
    sink = __builtin_preserve_field_info((p)->f, BPF_FIELD_SIGNED); \
    sink = __builtin_preserve_field_info((p)->f, BPF_FIELD_LSHIFT_U64); \
    sink = __builtin_preserve_field_info((p)->f, BPF_FIELD_RSHIFT_U64); \
} while (0)
// What is no integer has an offset and a size only.
#define SOME(p, f) do { \
    sink = bpf_core_field_exists((p)->f); \
    sink = bpf_core_field_size((p)->f); \
    sink = bpf_core_field_offset((p)->f); \
} while (0)

SEC("raw_tp/task")
int task(struct task_struct **ctx)
{
    struct task_struct *t = ctx[0];
    ALL(t, pid); ALL(t, state); ALL(t, __state); SOME(t, comm); SOME(t, mm); SOME(t, tasks); SOME(t, thread);
    ALL(t, start_time); ALL(t, real_start_time); ALL(t, no_such_field); ALL(t, no_such_struct.deep);
    ALL(t, signal->nr_threads); SOME(t, tasks.next); ALL(t, thread.sp); SOME(t, mm->mm_users);
    SOME(t, comm[0]); SOME(t, comm[15]); SOME(t, signal->pids[2]); SOME(t, no_such_array[1]);
    SOME(t, mm->cpu_bitmap[0]); SOME(t, mm->cpu_bitmap[5]);
    // Loads with the offset in them, some behind a guard.
    sink = t->pid + t->tgid + t->comm[3] + t->start_time + (long)t->mm + (long)t->tasks.next;
    sink = t->real_parent->real_parent->tgid;
    if (bpf_core_field_exists(t->state)) sink = t->state;
    if (bpf_core_field_exists(t->__state)) sink = t->__state;
    sink = t->no_such_field;
    sink = t->no_such_struct.deep + t->no_such_array[2];
    return 0;
}

SEC("raw_tp/flavours")
int flavours(void **ctx)
{
    struct task_struct___old *old = ctx[0];
    struct task_struct___new *new = ctx[0];
    struct task_struct___wrong *wrong = ctx[0];
    struct task_struct___wide *wide = ctx[0];
    struct thread_struct___v46 *v46 = ctx[1];
    struct thread_struct___new *v47 = ctx[1];
    ALL(old, state); ALL(new, __state); SOME(wrong, pid); SOME(wrong, comm); ALL(wrong, mm); ALL(wrong, pid.x);
    ALL(wide, pid); ALL(wide, flags);
    ALL(v46, fs); ALL(v46, gs); ALL(v47, fsbase); ALL(v47, gsbase);
    sink = bpf_core_field_exists(old->state) ? old->state : new->__state;
    // Of another width: an unsigned one is adjusted, a signed one poisoned.
    sink = wide->flags; sink = wide->pid; sink = wide->tgid; sink = wide->prio; sink = wide->__state;
    sink = wrong->pid.x; sink = (long)wrong->comm; sink = wrong->mm;
    sink = v46->fs; sink = v47->fsbase;
    return 0;
}

SEC("raw_tp/stores")
int stores(void **ctx)
{
    struct task_struct *t = ctx[0];
    struct task_struct___wide *wide = ctx[0];
    struct sock *sk = ctx[1];
    t->pid = 5; t->comm[2] = 'x'; t->start_time = (long)ctx; t->no_such_field = 1;
    wide->flags = 7; wide->pid = 8; wide->prio = 1;
    sk->sk_mark = (int)(long)ctx; sk->__sk_common.skc_dport = 80; sk->__sk_common.skc_state = 1;
    return 0;
}

SEC("raw_tp/nested")
int nested(void **ctx)
{
    struct page *page = ctx[0];
    struct sock *sk = ctx[1];
    struct file *file = ctx[2];
    struct cgroup *cgroup = ctx[3];
    struct cgroup___pointers *pointers = ctx[3];
    struct net_device *dev = ctx[4];
    struct net_device___array *dev2 = ctx[4];
    ALL(page, flags); SOME(page, lru); SOME(page, lru.prev); SOME(page, mapping); SOME(page, freelist); ALL(page, inuse);
    SOME(page, _refcount); ALL(page, _refcount.counter);
    ALL(sk, __sk_common.skc_daddr); ALL(sk, __sk_common.skc_addrpair); ALL(sk, __sk_common.skc_num);
    ALL(sk, __sk_common.skc_state); ALL(sk, sk_type); ALL(sk, sk_protocol); ALL(sk, sk_rcvbuf);
    SOME(file, f_path); SOME(file, f_path.dentry); ALL(file, f_inode->i_ino); ALL(file, f_inode->i_state);
    ALL(file, f_inode->i_size); ALL(file, f_count.counter);
    ALL(cgroup, level); SOME(cgroup, ancestor_ids[3]); SOME(pointers, ancestors[3]);
    SOME(dev, name[4]); SOME(dev, name); SOME(dev, dev_addr); SOME(dev2, dev_addr[3]); SOME(dev2, dev_addr);
    sink = sk->__sk_common.skc_num + sk->__sk_common.skc_daddr + sk->sk_type;
    sink = file->f_inode->i_ino; sink = file->f_inode->i_state; sink = file->f_inode->i_mode;
    sink = cgroup->ancestor_ids[1]; sink = (long)pointers->ancestors[1];
    sink = dev2->dev_addr[3]; sink = dev->dev_addr[3];
    sink = BPF_CORE_READ(file, f_inode, i_mode) + BPF_CORE_READ(sk, __sk_common.skc_family);
    return 0;
}

SEC("raw_tp/far")
int far(void **ctx)
{
    // Too far for a load, and not for an addition.
    struct bpf_verifier_env *env = ctx[0];
    struct pglist_data *node = ctx[1];
    struct srcu_struct *srcu = ctx[2];
    struct rcu_state *rcu = ctx[3];
    sink = BPF_CORE_READ(env, total_states) + BPF_CORE_READ(node, node_id) + BPF_CORE_READ(srcu, srcu_idx) + BPF_CORE_READ(rcu, gp_seq);
    ALL(env, total_states); ALL(node, node_id); ALL(srcu, srcu_idx);
    return 0;
}

SEC("raw_tp/others")
int others(void **ctx)
{
    struct no_such_type *none = ctx[0];
    struct request *rq = ctx[1];
    struct nf_hook_entries *hooks = ctx[2];
    struct ipv4_devconf *conf = ctx[3];
    struct matrix *matrix = ctx[4];
    struct kernfs_node *kn = ctx[5];
    atomic_t___mine *atomic = ctx[6];
    struct blk_mq_hw_ctx *hctx = ctx[7];
    struct task_struct *tasks = ctx[8];
    ALL(none, x); ALL(none, y); SOME(none, a[2]); sink = none->x + none->a[1] + none->y;
    SOME(rq, q); ALL(rq, __data_len); SOME(rq, rq_disk); sink = rq->__sector + (long)rq->rq_disk;
    SOME(hooks, hooks[0]); SOME(hooks, hooks[7]); SOME(hooks, hooks[2].priv); sink = (long)hooks->hooks[1].hook;
    SOME(conf, data[31]); SOME(conf, data[3]); sink = conf->data[4];
    SOME(matrix, cells[1]); SOME(matrix, cells[1][2]); SOME(matrix, in.rows[1][3]); sink = matrix->cells[2][3];
    ALL(kn, id); ALL(kn, mode); SOME(kn, name); sink = kn->id + (long)kn->name;
    ALL(atomic, counter); sink = atomic->counter;
    SOME(hctx, dispatched[1]); SOME(hctx, dispatched[6]); sink = hctx->dispatched[6];
    // The root as an element of an array.
    SOME(&tasks[3], pid); sink = tasks[2].pid;
    return 0;
}
