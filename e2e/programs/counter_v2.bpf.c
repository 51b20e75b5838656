// SPDX-License-Identifier: MIT OR GPL-2.0-only
#define STEP 1000
#include "counter.h"
