/* Rows of bf16 attention: portable C. */
#include "ops/cpu/attn_bf16_body.h"
