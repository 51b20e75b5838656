/* A process with USDT probes, whose notes are written out by hand: each line of input passes them once, and is
 * answered with the number of times that `guarded` was passed. x86-64. */
#include <stdio.h>

/* A probe is an instruction that does nothing, and a note with its address, that of .stapsdt.base, that of its
 * counter, its names, and where its arguments are. */
#define PROBE(name, counter, arguments)                                    \
	"1:	nop\n"                                                     \
	"	.pushsection .note.stapsdt, \"\", \"note\"\n"              \
	"	.balign 4\n"                                               \
	"	.4byte 3f - 2f, 5f - 4f, 3\n"                              \
	"2:	.asciz \"stapsdt\"\n"                                      \
	"3:	.balign 4\n"                                               \
	"4:	.8byte 1b, base_of_probes, " counter "\n"                  \
	"	.asciz \"bpfleet\", \"" name "\", \"" arguments "\"\n"     \
	"5:	.balign 4\n"                                               \
	"	.popsection\n"

__asm__("	.pushsection .stapsdt.base, \"a\", \"progbits\"\n"
	"	.hidden base_of_probes\n"
	"	.globl base_of_probes\n"
	"base_of_probes:\n"
	"	.byte 0\n"
	"	.popsection\n");

/* How many follow the probe `guarded`. */
__attribute__((section(".probes"), used)) volatile unsigned short followers;

static int numbers[] = { 10, -20, 30, 40 };

int main(void)
{
	char line[16];
	int passed = 0;

	while (fgets(line, sizeof(line), stdin)) {
		__asm__ volatile("	movabsq $0x1122334455667788, %%rax\n"
				 PROBE("registers", "0", "8@%%rax -4@%%eax 2@%%ax -1@%%al")
				 PROBE("constants", "0", "4@$71 -4@$-9")
				 ::: "rax");
		__asm__ volatile(PROBE("memory", "0", "-4@(%%rdi) -4@4(%%rdi) 4@4(%%rdi)")
				 PROBE("indexed", "0", "-4@(%%rdi,%%rcx,4) -4@-4(%%rdi,%%rcx,4)")
				 : : "D"(numbers), "c"(2L) : "memory");
		__asm__ volatile(PROBE("often", "0", "4@$1")
				 PROBE("often", "0", "4@$1")
				 PROBE("often", "0", "4@$2")
				 PROBE("odd", "0", "8@%%xmm0") : :);
		if (followers) {
			__asm__ volatile(PROBE("guarded", "followers", "") : :);
			passed++;
		}
		printf("%d\n", passed);
		fflush(stdout);
	}
	return 0;
}
