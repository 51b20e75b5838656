/* A process for uprobes: each line of input calls its functions, and is answered with one when they are done. */
#include <stdio.h>

#define FUNCTION __attribute__((noinline, used))

FUNCTION int first(int x)
{
	__asm__ volatile("" ::: "memory");
	return x + 1;
}

FUNCTION int second(int x)
{
	__asm__ volatile("" ::: "memory");
	return x + 2;
}

int main(void)
{
	char line[16];

	while (fgets(line, sizeof(line), stdin)) {
		int x = first(1);

		x += second(x) + second(x);
		printf("%d\n", x);
		fflush(stdout);
	}
	return 0;
}
