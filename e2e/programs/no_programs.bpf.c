// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A map and a function, and nothing that can be attached: SEC() is missing. */
#include "counts.h"

int forgotten(void *ctx)
{
	count(0);
	return 0;
}
