/* Attention kernels: portable C. */
#include "ops/cpu/attn_body.h"
