/* Rows of bf16 attention: AVX-512 and its conversion to bf16. */
#include "ops/cpu/attn_bf16_body.h"
