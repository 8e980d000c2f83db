/* Rows of bf16 attention: AVX2 with FMA. */
#include "ops/cpu/attn_bf16_body.h"
