/* Rows of bf16 attention: AVX-512. */
#include "ops/cpu/attn_bf16_body.h"
