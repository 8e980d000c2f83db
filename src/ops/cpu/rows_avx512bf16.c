/* Row and optimiser kernels: AVX-512 and its conversion to bf16. */
#include "ops/cpu/rows_body.h"
