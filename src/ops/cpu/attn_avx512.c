/* Attention kernels: AVX-512. */
#include "ops/cpu/attn_body.h"
