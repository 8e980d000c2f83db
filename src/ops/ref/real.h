/* What the reference is written over: float (ref32) or double (ref64), chosen by TN_REF64. */
#include "base/mathx.h"
#include "ops/bf16.h"
#include "ops/expf.h"
#include "ops/logf.h"
#include "ops/ops.h"
#include <math.h>
#include <string.h>

#ifdef TN_REF64
typedef double real;
#define FMA(a, b, c) fma((a), (b), (c))
#define EXP(x) tn_exp(x)
#define LOG(x) tn_log(x)
#define SQRT(x) sqrt(x)
#define FLUSH(x) (x)
#else
typedef float real;
#define FMA(a, b, c) fmaf((a), (b), (c))
#define EXP(x) tn_op_expf(x)
#define LOG(x) tn_op_logf(x)
#define SQRT(x) sqrtf(x)
#define FLUSH(x) tn_bf16_flush(x)
#endif
#define LANES 16

/* The tree of N4 over 16 partial results. */
static inline real lanes_sum(real p[LANES]) {
    for (int w = LANES / 2; w > 0; w /= 2)
        for (int l = 0; l < w; l++) p[l] = p[l] + p[l + w];
    return p[0];
}

/* N12: element i of operand rows. */
static inline real operand(const tn_backend *b, const void *p, size_t i) {
    return b->operand == sizeof(uint16_t) ? (real)tn_bf16_float(((const uint16_t *)p)[i]) : ((const real *)p)[i];
}
static inline void operand_put(const tn_backend *b, void *p, size_t i, real x) {
    if (b->operand == sizeof(uint16_t)) ((uint16_t *)p)[i] = tn_bf16_bits((float)x);
    else ((real *)p)[i] = x;
}

/* N2: output i gets acc. */
static inline void put(const tn_backend *b, tn_mode mode, void *yv, size_t i, real acc) {
    real *y = yv;
    if (mode == TN_SET) y[i] = acc;
    else if (mode == TN_ADD) y[i] = y[i] + acc;
    else if (mode == TN_ADD_NONZERO) y[i] = y[i] - (0 - acc);
    else operand_put(b, yv, i, mode == TN_ROUND ? acc : operand(b, yv, i) - (0 - acc));
}

/* N4: sum of x. */
static inline real row_sum(const real *x, int n) {
    real p[LANES] = {0};
    for (int i = 0; i < n; i++) p[i % LANES] = p[i % LANES] + x[i];
    return lanes_sum(p);
}

/* N4: sum of x y, each lane a chain of FMAs. */
static inline real row_dot(const real *x, const real *y, int n) {
    real p[LANES] = {0};
    for (int i = 0; i < n; i++) p[i % LANES] = FMA(x[i], y[i], p[i % LANES]);
    return lanes_sum(p);
}
