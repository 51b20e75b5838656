// Types of modules, and types that stand in the kernel and in modules.
#include "common.h"

typedef struct { int counter; } atomic_t;
struct list_head { struct list_head *next, *prev; } CORE;
// nf_conntrack, nf_tables, tun, veth, bridge, nfs, xfs, kvm
struct nf_conntrack_net { atomic_t count; unsigned int users4, users6, users_bridge; int no_such_field; } CORE;
struct nf_conntrack_helper { struct list_head hnode; char name[16]; unsigned int flags; unsigned int expect_class_max; } CORE;
struct nft_table { struct list_head list; char *name; __u64 handle; __u32 use; __u16 family : 6, flags : 8, genmask : 2; } CORE;
struct nft_set_desc { unsigned int klen, dlen; __u8 field_len[16]; __u8 field_count; } CORE;
struct tun_pi { __u16 flags; __be16 proto; } CORE;
struct tap_filter { unsigned int count; __u32 mask[2]; unsigned char addr[8][6]; } CORE;
struct tun_struct { unsigned int numqueues, flags; struct tap_filter txflt; void *dev; int align; } CORE;
struct veth_stats { __u64 rx_drops, xdp_packets; } CORE;
struct veth_rq { struct veth_stats stats; _Bool rx_notify_masked; } CORE;
struct veth_priv { void *peer; __s64 dropped; struct veth_rq *rq; unsigned int requested_headroom; } CORE;
struct bridge_id { unsigned char prio[2], addr[6]; } CORE;
struct net_bridge { void *dev; unsigned long options; struct bridge_id designated_root, bridge_id; unsigned char topology_change; } CORE;
struct net_bridge_port { struct net_bridge *br; void *dev; unsigned char priority; __u8 state; __u16 port_no; } CORE;
struct nfs_fh { unsigned short size; unsigned char data[128]; } CORE;
struct nfs_inode { __u64 fileid; struct nfs_fh fh; unsigned long flags; } CORE;
typedef __u64 xfs_ino_t;
struct xfs_inode { void *i_mount; xfs_ino_t i_ino; __u64 i_delayed_blks; __s64 i_disk_size; __u32 i_nlink; } CORE;
struct xfs_mount { struct { __u32 sb_magicnum, sb_blocksize; __u64 sb_dblocks; } m_sb; char *m_rtname; } CORE;
struct kvm_page_fault { const __u64 addr; const __u32 error_code; const _Bool prefetch, exec; __u64 gfn; } CORE;
enum xfs_ag_resv_type { XFS_AG_RESV_NONE, XFS_AG_RESV_AGFL, XFS_AG_RESV_RMAPBT = 77 };
enum nft_trans_phase { NFT_TRANS_PREPARE, NFT_TRANS_COMMIT = 5, NFT_TRANS_RELEASE = 9 };
typedef int (*xfs_no_such_function_t)(int);
typedef unsigned int xfs_agnumber_t;
// In both, in some kernels.
struct Qdisc { void *enqueue; unsigned int flags; __u32 limit, handle, parent; struct list_head list; } CORE;
struct module { struct list_head list; char name[56]; } CORE;
struct file_system_type { const char *name; int fs_flags; } CORE;
struct kvm_x86_ops { const char *name; } CORE;
struct task_struct { int pid; char comm[16]; } CORE;
enum nf_nat_manip_type { NF_NAT_MANIP_SRC, NF_NAT_MANIP_DST = 8 };

#define ALL(p, f) do { \
    sink = bpf_core_field_exists((p)->f); \
    sink = bpf_core_field_size((p)->f); \
    sink = bpf_core_field_offset((p)->f); \
} while (0)
#define TYPE(type) do { sink = bpf_core_type_exists(type); sink = bpf_core_type_size(type); } while (0)
#define BOTH(type, value) do { \
    sink = bpf_core_enum_value_exists(type, value); \
    sink = bpf_core_enum_value(type, value); \
} while (0)

SEC("raw_tp/fields")
int fields(void **ctx)
{
    struct nf_conntrack_net *ct = ctx[0];
    struct nf_conntrack_helper *helper = ctx[1];
    struct nft_table *table = ctx[2];
    struct nft_set_desc *desc = ctx[3];
    struct tun_struct *tun = ctx[4];
    struct veth_priv *veth = ctx[5];
    struct net_bridge_port *port = ctx[6];
    struct nfs_inode *nfs = ctx[7];
    struct xfs_inode *xfs = ctx[8];
    struct xfs_mount *mount = ctx[9];
    struct kvm_page_fault *fault = ctx[10];
    ALL(ct, count); ALL(ct, users4); ALL(ct, no_such_field); ALL(helper, hnode.prev); ALL(helper, name[3]);
    ALL(helper, flags); ALL(table, handle); ALL(table, use); ALL(table, family); ALL(table, genmask);
    ALL(desc, field_len[2]); ALL(desc, dlen); ALL(tun, numqueues); ALL(tun, txflt.addr[1]); ALL(tun, txflt.mask[1]);
    ALL(tun, align); ALL(veth, rq[2].stats.xdp_packets); ALL(veth, dropped); ALL(port, br->bridge_id.addr[2]);
    ALL(port, port_no); ALL(port, br->designated_root); ALL(nfs, fh.data[4]); ALL(nfs, fileid); ALL(xfs, i_ino);
    ALL(xfs, i_disk_size); ALL(mount, m_sb.sb_dblocks); ALL(mount, m_rtname); ALL(fault, addr); ALL(fault, gfn);
    sink = ct->users4 + table->handle + desc->dlen + tun->numqueues + port->port_no + nfs->fileid + xfs->i_ino;
    sink = ct->no_such_field + mount->m_sb.sb_dblocks + fault->gfn + veth->rq->stats.rx_drops;
    sink = BPF_CORE_READ_BITFIELD(table, family) + BPF_CORE_READ_BITFIELD(table, flags);
    return 0;
}

SEC("raw_tp/types")
int types(void **ctx)
{
    TYPE(struct nf_conntrack_net); TYPE(struct nft_table); TYPE(struct nft_set_desc); TYPE(struct tun_pi);
    TYPE(struct tap_filter); TYPE(struct veth_stats); TYPE(struct veth_rq); TYPE(struct net_bridge_port);
    TYPE(struct bridge_id); TYPE(struct nfs_fh); TYPE(xfs_ino_t); TYPE(xfs_agnumber_t); TYPE(xfs_no_such_function_t);
    TYPE(struct Qdisc); TYPE(struct module); TYPE(struct file_system_type); TYPE(struct kvm_x86_ops);
    TYPE(struct list_head); TYPE(struct task_struct); TYPE(enum nf_nat_manip_type);
    BOTH(enum xfs_ag_resv_type, XFS_AG_RESV_AGFL); BOTH(enum xfs_ag_resv_type, XFS_AG_RESV_RMAPBT);
    BOTH(enum nft_trans_phase, NFT_TRANS_COMMIT); BOTH(enum nft_trans_phase, NFT_TRANS_RELEASE);
    BOTH(enum nf_nat_manip_type, NF_NAT_MANIP_DST);
    return 0;
}

SEC("raw_tp/both")
int both(void **ctx)
{
    struct Qdisc *qdisc = ctx[0];
    struct module *module = ctx[1];
    struct file_system_type *fs = ctx[2];
    struct kvm_x86_ops *ops = ctx[3];
    struct task_struct *task = ctx[4];
    ALL(qdisc, flags); ALL(qdisc, list); ALL(qdisc, parent); ALL(module, name); ALL(fs, fs_flags); ALL(ops, name);
    ALL(task, comm[2]); sink = qdisc->limit + fs->fs_flags + (long)ops->name + task->pid;
    return 0;
}
