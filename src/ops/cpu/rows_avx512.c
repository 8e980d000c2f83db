/* Row and optimiser kernels: AVX-512. */
#include "ops/cpu/rows_body.h"
