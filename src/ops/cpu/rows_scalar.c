/* Row and optimiser kernels: portable C. */
#include "ops/cpu/rows_body.h"
