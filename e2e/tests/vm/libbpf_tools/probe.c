/* A library with a USDT probe, bpfleet:probe, whose note is written out by hand: Debian's libc has none. x86-64. */
__asm__("	.pushsection .stapsdt.base, \"a\", \"progbits\"\n"
	"	.hidden base_of_probes\n"
	"	.globl base_of_probes\n"
	"base_of_probes:\n"
	"	.byte 0\n"
	"	.popsection\n");

void probe(void)
{
	__asm__ volatile("1:	nop\n"
			 "	.pushsection .note.stapsdt, \"\", \"note\"\n"
			 "	.balign 4\n"
			 "	.4byte 3f - 2f, 5f - 4f, 3\n"
			 "2:	.asciz \"stapsdt\"\n"
			 "3:	.balign 4\n"
			 "4:	.8byte 1b, base_of_probes, 0\n"
			 "	.asciz \"bpfleet\", \"probe\", \"-4@%edi\"\n"
			 "5:	.balign 4\n"
			 "	.popsection\n");
}
