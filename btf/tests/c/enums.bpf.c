// Enumerators: there or not, small and large, negative, of enums of 4 and of 8 bytes, with flavours.
#include "common.h"

enum bpf_map_type { BPF_MAP_TYPE_UNSPEC, BPF_MAP_TYPE_HASH_, BPF_MAP_TYPE_RINGBUF = 99, BPF_MAP_TYPE_ARENA = 7 };
enum bpf_func_id { BPF_FUNC_ktime_get_ns = 50, BPF_FUNC_no_such_helper = 1, BPF_FUNC_loop };
enum bpf_func_id___mine { BPF_FUNC_ktime_get_boot_ns___mine = 3, BPF_FUNC_get_branch_snapshot___x = 4 };
enum cpuhp_state { CPUHP_INVALID = -1, CPUHP_OFFLINE, CPUHP_ONLINE = 9 };
enum netdev_tx { __NETDEV_TX_MIN = (-0x7fffffff - 1), NETDEV_TX_OK = 0, NETDEV_TX_BUSY = 0x10 };
enum perf_event_state { PERF_EVENT_STATE_DEAD = -4, PERF_EVENT_STATE_ACTIVE = 1 };
// Large there; what is large and unsigned here libbpf refuses.
enum blk_default_limits { BLK_SEG_BOUNDARY_MASK = 1, BLK_MAX_SEGMENTS = 2 };
// Of 8 bytes there. (Before 15, clang cannot write such.)
enum perf_callchain_context { PERF_CONTEXT_HV = -32, PERF_CONTEXT_USER = -512 };
enum hmm_pfn_flags { HMM_PFN_VALID = 1, HMM_PFN_ERROR = 2 };
enum ib_uverbs_device_cap_flags { IB_UVERBS_DEVICE_RAW_SCATTER_FCS = 3, IB_UVERBS_DEVICE_RESIZE_MAX_WR = 1 };
enum nf_ip_hook_priorities { NF_IP_PRI_FIRST = (-0x7fffffff - 1), NF_IP_PRI_CONNTRACK = -200, NF_IP_PRI_LAST = 0x7fffffff };
enum init_ns_ino { IPC_NS_INIT_INO = 3, NET_NS_INIT_INO = 1 };
enum bpf_attach_type { BPF_CGROUP_INET_INGRESS = 0, BPF_TRACE_FENTRY = 24, BPF_TCX_INGRESS = 46 };
enum energy_perf_value_index { EPP_INDEX_DEFAULT, EPP_INDEX_PERFORMANCE, EPP_INDEX_BALANCE_PERFORMANCE };
enum no_such_enum { NO_SUCH_VALUE = 3 };
// Typedefs of enums, and an enum that is a struct there.
typedef enum { ZSTD_dct_auto = 0, ZSTD_dct_fullDict } ZSTD_dictContentType_e;
typedef enum netdev_tx netdev_tx_t;
enum sk_buff___enum { NOT_AN_ENUM = 1 };

#define BOTH(type, value) do { \
    sink = bpf_core_enum_value_exists(type, value); \
    sink = bpf_core_enum_value(type, value); \
} while (0)

SEC("raw_tp/enums")
int enums(void *ctx)
{
    BOTH(enum bpf_map_type, BPF_MAP_TYPE_UNSPEC); BOTH(enum bpf_map_type, BPF_MAP_TYPE_HASH_);
    BOTH(enum bpf_map_type, BPF_MAP_TYPE_RINGBUF); BOTH(enum bpf_map_type, BPF_MAP_TYPE_ARENA);
    BOTH(enum bpf_func_id, BPF_FUNC_ktime_get_ns); BOTH(enum bpf_func_id, BPF_FUNC_no_such_helper);
    BOTH(enum bpf_func_id, BPF_FUNC_loop);
    BOTH(enum bpf_func_id___mine, BPF_FUNC_ktime_get_boot_ns___mine);
    BOTH(enum bpf_func_id___mine, BPF_FUNC_get_branch_snapshot___x);
    BOTH(enum cpuhp_state, CPUHP_INVALID); BOTH(enum cpuhp_state, CPUHP_ONLINE);
    BOTH(enum netdev_tx, __NETDEV_TX_MIN); BOTH(enum netdev_tx, NETDEV_TX_BUSY);
    BOTH(enum perf_event_state, PERF_EVENT_STATE_DEAD); BOTH(enum perf_event_state, PERF_EVENT_STATE_ACTIVE);
    BOTH(enum blk_default_limits, BLK_SEG_BOUNDARY_MASK); BOTH(enum blk_default_limits, BLK_MAX_SEGMENTS);
    BOTH(enum perf_callchain_context, PERF_CONTEXT_HV); BOTH(enum perf_callchain_context, PERF_CONTEXT_USER);
    BOTH(enum hmm_pfn_flags, HMM_PFN_VALID); BOTH(enum hmm_pfn_flags, HMM_PFN_ERROR);
    BOTH(enum ib_uverbs_device_cap_flags, IB_UVERBS_DEVICE_RAW_SCATTER_FCS);
    BOTH(enum ib_uverbs_device_cap_flags, IB_UVERBS_DEVICE_RESIZE_MAX_WR);
    BOTH(enum nf_ip_hook_priorities, NF_IP_PRI_FIRST); BOTH(enum nf_ip_hook_priorities, NF_IP_PRI_CONNTRACK);
    BOTH(enum nf_ip_hook_priorities, NF_IP_PRI_LAST);
    BOTH(enum init_ns_ino, IPC_NS_INIT_INO); BOTH(enum init_ns_ino, NET_NS_INIT_INO);
    BOTH(enum bpf_attach_type, BPF_CGROUP_INET_INGRESS); BOTH(enum bpf_attach_type, BPF_TRACE_FENTRY);
    BOTH(enum bpf_attach_type, BPF_TCX_INGRESS);
    BOTH(enum energy_perf_value_index, EPP_INDEX_DEFAULT);
    BOTH(enum energy_perf_value_index, EPP_INDEX_BALANCE_PERFORMANCE);
    BOTH(enum no_such_enum, NO_SUCH_VALUE);
    BOTH(ZSTD_dictContentType_e, ZSTD_dct_fullDict); BOTH(netdev_tx_t, NETDEV_TX_BUSY);
    BOTH(enum sk_buff___enum, NOT_AN_ENUM);
    return 0;
}
