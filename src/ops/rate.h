/* What this machine does in a second, measured: for people and for plans. */
#ifndef TN_OPS_RATE_H
#define TN_OPS_RATE_H
#include "ops/ops.h"

/* Floating-point operations per second of y = x W^T with T rows: the best of the calls that fit in
 * `seconds`, after one that is not counted; 0 when memory is out. */
double tn_rate_gemm(tn_backend *b, const tn_weight *w, int T, double seconds);
/* The same of a matrix [out, in] that is made for the purpose. */
double tn_rate_shape(tn_backend *b, int out, int in, int T, double seconds);
/* Bytes per second that all threads of the pool read from a buffer of `bytes`. */
double tn_rate_read(tn_pool *p, size_t bytes, double seconds);
#endif
