// Bit fields: kernels', of widths and places that are theirs.
#include "common.h"

struct task_struct {
    unsigned sched_reset_on_fork : 1;
    unsigned sched_contributes_to_load : 1;
    unsigned sched_migrated : 1;
    unsigned in_execve : 1;
    unsigned in_iowait : 1;
    unsigned frozen : 1;
    unsigned no_such_bits : 3;
    int exit_state : 7;
    unsigned int flags : 5;
} CORE;
struct task_struct___long { __u64 start_time : 33; } CORE;
// What is a bit field there is none here, and the other way round.
struct task_struct___whole { unsigned in_execve; int frozen; } CORE;
struct sk_buff {
    __u8 cloned : 1, nohdr : 1, fclone : 2, peeked : 1, pfmemalloc : 1;
    __u8 pkt_type : 3, ip_summed : 2, l4_hash : 1, encapsulation : 1, csum_valid : 1, csum_level : 2;
    __u8 vlan_present : 1, nf_trace : 1, remcsum_offload : 1;
    __u8 vlan_all : 4;
    char cb[48];
} CORE;
struct sk_buff___short { __u16 protocol : 9; } CORE;
struct sk_buff___signed { int pkt_type : 3; long long cloned : 40; } CORE;
struct tcp_options_received { __u16 saw_tstamp : 1, tstamp_ok : 1, dsack : 1, wscale_ok : 1, sack_ok : 3, snd_wscale : 4, rcv_wscale : 4; } CORE;
struct tcp_sock {
    __u32 nonagle : 4, thin_lto : 1, repair : 1, is_sack_reneg : 1, save_syn : 2, syn_data : 1, fastopen_client_fail : 2;
    struct tcp_options_received rx_opt;
} CORE;
struct tcphdr { __u16 res1 : 4, doff : 4, fin : 1, syn : 1, ack : 1; __u16 window; } CORE;
struct iphdr { __u8 ihl : 4, version : 4; __u8 ttl; } CORE;
struct inet_sock { __u8 is_icsk : 1, freebind : 1, hdrincl : 1, mc_loop : 1; } CORE;
struct inet_connection_sock { __u8 icsk_ca_state : 5, icsk_ca_initialized : 1; __u32 icsk_user_timeout; } CORE;
struct perf_event_attr { __u64 disabled : 1, inherit : 1, precise_ip : 2, sigtrap : 1, __reserved_1 : 26; } CORE;
struct desc_struct { __u16 limit0, base0; __u16 base1 : 8, type : 4, s : 1, dpl : 2, p : 1; } CORE;
struct gate_struct { __u16 offset_low; __u16 segment; } CORE;
struct bpf_prog { __u16 jited : 1, gpl_compatible : 1, kprobe_override : 1; __u32 len; } CORE;
struct signal_struct { unsigned is_child_subreaper : 1, has_child_subreaper : 1; } CORE;
struct page_cache_bits { unsigned a : 1; } CORE;
struct slab { unsigned inuse : 16, objects : 15, frozen : 1; } CORE;
struct page { union { struct { unsigned inuse : 16, objects : 15, frozen : 1; }; }; } CORE;
struct acpi_device_status { __u32 present : 1, enabled : 1, reserved : 27; } CORE;

#define ALL(p, f) do { \
    sink = bpf_core_field_exists((p)->f); \
    sink = bpf_core_field_size((p)->f); \
    sink = bpf_core_field_offset((p)->f); \
    sink = __builtin_preserve_field_info((p)->f, BPF_FIELD_SIGNED); \
    sink = __builtin_preserve_field_info((p)->f, BPF_FIELD_LSHIFT_U64); \
    sink = __builtin_preserve_field_info((p)->f, BPF_FIELD_RSHIFT_U64); \
    sink = BPF_CORE_READ_BITFIELD(p, f); \
} while (0)

SEC("raw_tp/tasks")
int tasks(void **ctx)
{
    struct task_struct *t = ctx[0];
    struct task_struct___whole *w = ctx[0];
    struct task_struct___long *l = ctx[0];
    struct signal_struct *s = ctx[1];
    ALL(t, sched_reset_on_fork); ALL(t, sched_contributes_to_load); ALL(t, sched_migrated); ALL(t, in_execve);
    ALL(t, in_iowait); ALL(t, frozen); ALL(t, no_such_bits); ALL(t, exit_state); ALL(t, flags); ALL(l, start_time);
    ALL(w, in_execve); ALL(w, frozen); ALL(s, is_child_subreaper); ALL(s, has_child_subreaper);
    sink = BPF_CORE_READ_BITFIELD_PROBED(t, in_execve) + w->in_execve + w->frozen;
    return 0;
}

SEC("raw_tp/packets")
int packets(void **ctx)
{
    struct sk_buff *skb = ctx[0];
    struct sk_buff___signed *other = ctx[0];
    struct sk_buff___short *narrow = ctx[0];
    ALL(skb, cloned); ALL(skb, nohdr); ALL(skb, fclone); ALL(skb, peeked); ALL(skb, pfmemalloc); ALL(skb, pkt_type);
    ALL(skb, ip_summed); ALL(skb, l4_hash); ALL(skb, encapsulation); ALL(skb, csum_valid); ALL(skb, csum_level);
    ALL(skb, vlan_present); ALL(skb, nf_trace); ALL(skb, remcsum_offload); ALL(skb, vlan_all); ALL(narrow, protocol);
    ALL(other, pkt_type); ALL(other, cloned);
    // A bit field read as C reads it.
    sink = skb->pkt_type + skb->cloned;
    return 0;
}

SEC("raw_tp/sockets")
int sockets(void **ctx)
{
    struct tcp_sock *tp = ctx[0];
    struct tcphdr *th = ctx[1];
    struct iphdr *ip = ctx[2];
    struct inet_sock *inet = ctx[3];
    struct inet_connection_sock *icsk = ctx[4];
    ALL(tp, nonagle); ALL(tp, thin_lto); ALL(tp, repair); ALL(tp, is_sack_reneg); ALL(tp, save_syn); ALL(tp, syn_data);
    ALL(tp, fastopen_client_fail); ALL(tp, rx_opt.sack_ok); ALL(tp, rx_opt.snd_wscale); ALL(tp, rx_opt.rcv_wscale);
    ALL(th, res1); ALL(th, doff); ALL(th, fin); ALL(th, ack); ALL(ip, ihl); ALL(ip, version);
    ALL(inet, is_icsk); ALL(inet, freebind); ALL(inet, mc_loop); ALL(icsk, icsk_ca_state); ALL(icsk, icsk_ca_initialized);
    return 0;
}

SEC("raw_tp/more")
int more(void **ctx)
{
    struct perf_event_attr *attr = ctx[0];
    struct desc_struct *desc = ctx[1];
    struct bpf_prog *prog = ctx[2];
    struct slab *slab = ctx[3];
    struct page *page = ctx[4];
    struct acpi_device_status *status = ctx[5];
    ALL(attr, disabled); ALL(attr, inherit); ALL(attr, precise_ip); ALL(attr, sigtrap); ALL(attr, __reserved_1);
    ALL(desc, base1); ALL(desc, type); ALL(desc, s); ALL(desc, dpl); ALL(desc, p);
    ALL(prog, jited); ALL(prog, gpl_compatible); ALL(prog, kprobe_override);
    ALL(slab, inuse); ALL(slab, objects); ALL(slab, frozen);
    ALL(page, inuse); ALL(page, objects); ALL(page, frozen); ALL(status, present); ALL(status, reserved);
    return 0;
}
