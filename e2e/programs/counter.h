/* Two versions of one program: the same map, another step. */
#include "counts.h"

SEC("tp/sched/sched_process_exec")
int counter(void *ctx)
{
	count_by(0, STEP);
	return 0;
}
