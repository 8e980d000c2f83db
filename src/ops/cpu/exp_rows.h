/* exp over a span, for one instruction set: x[i] = exp(x[i] - c), N5. */
#ifndef TN_OPS_CPU_EXP_ROWS_H
#define TN_OPS_CPU_EXP_ROWS_H
#include <stddef.h>
void tn_exp_span_avx2(float *x, float c, size_t n);
void tn_exp_span_avx512(float *x, float c, size_t n);
#endif
