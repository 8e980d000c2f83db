/* Row and optimiser kernels: AVX2 with FMA. */
#include "ops/cpu/rows_body.h"
