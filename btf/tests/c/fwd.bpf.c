// Types that are declared and not defined, here or there.
#include "common.h"

struct assoc_array_ptr;
struct no_such_struct;
struct task_struct;
struct list_head { struct assoc_array_ptr *next; };
struct assoc_array { struct assoc_array_ptr *root; } CORE;
struct pid { struct task_struct *tasks; } CORE;
struct efi_boot_services { int x; } CORE;
typedef struct efi_boot_services efi_boot_services_t;
typedef struct efi_simple_text_output_protocol efi_simple_text_output_protocol_t;
typedef struct POOL_ctx_s ZSTD_threadPool;
typedef struct POOL_ctx_s___defined { int x; } ZSTD_threadPool___defined;

SEC("raw_tp/declared")
int declared(void **ctx)
{
    struct assoc_array *array = ctx[0];
    struct efi_boot_services *efi = ctx[1];
    sink = bpf_core_field_exists(array->root); sink = bpf_core_field_size(array->root); sink = (long)array->root;
    sink = bpf_core_field_exists(efi->x); sink = efi->x;
    sink = bpf_core_type_exists(struct efi_boot_services);
    sink = bpf_core_type_exists(efi_simple_text_output_protocol_t);
    sink = bpf_core_type_exists(ZSTD_threadPool);
    sink = bpf_core_type_exists(ZSTD_threadPool___defined);
    sink = bpf_core_type_exists(struct list_head);
    sink = bpf_core_type_exists(struct pid);
    return 0;
}
