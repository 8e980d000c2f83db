/* Attention kernels: AVX2 with FMA. */
#include "ops/cpu/attn_body.h"
