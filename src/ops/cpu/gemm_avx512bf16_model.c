/* The VDPBF16PS kernel over a model of its instruction (softmodel.h). */
#define TN_SOFT_BF16
#include "gemm_avx512bf16.c"
