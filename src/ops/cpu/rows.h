/* Kernels of rows, optimiser and attention for one instruction set, on ranges: the callers
 * (rows.c, optim.c, attn.c) cut the work over threads. Formulas: src/ops/ref.           */
#ifndef TN_OPS_CPU_ROWS_H
#define TN_OPS_CPU_ROWS_H
#include "ops/cpu/cpu.h"

typedef struct tn_adam { float keep, b1, a1, b2, a2, root, step, eps, gscale; } tn_adam;

/* half: operand rows are bf16 and not floats. */
typedef struct tn_cpu_rows {
    void (*norm)(bool half, void *y, size_t ldy, float *rstd, const float *x, size_t ldx, const float *w, int T,
                 int groups, int n, float eps);
    void (*norm_dx)(tn_mode mode, float *dx, size_t lddx, const float *dy, size_t lddy, const float *x, size_t ldx,
                    const float *rstd, const float *w, int T, int groups, int n);
    /* columns [0, cols) of the pointers given; n: distance between groups */
    void (*norm_dw)(float *dw, const float *dy, size_t lddy, const float *x, size_t ldx, const float *rstd, int T,
                    int groups, int n, int cols);
    void (*rope)(bool half, void *y, size_t ldy, const float *x, size_t ldx, const int32_t *pos, const float *cos,
                 const float *sin, int T, int heads, int rest, int d, int pairs, int sign);
    void (*act)(bool half, tn_act act, void *h, const void *gu, int T, int F);
    void (*act_bwd)(bool half, tn_act act, void *dgu, const float *dh, const void *gu, int T, int F);
    void (*add)(float *y, const float *x, size_t n);
    void (*add_half)(float *y, const uint16_t *x, size_t n);
    void (*round)(uint16_t *y, const float *x, size_t n);
    void (*scale)(float *y, float s, size_t n);
    double (*exp_sum)(float *y, const float *x, float c, size_t n); /* y = exp(x - c), and its sum (N4, in double) */
    void (*rowdot)(double *out, const float *x, const float *w, int R, int D);
    void (*rowdot_dx)(float *dx, const double *d_out, const float *w, int R, int D);
    void (*rowdot_dw)(float *dw, const double *d_out, const float *x, int R, int D, int cols);
    void (*adamw)(const tn_adam *c, float *p, const float *g, float *m, float *v, size_t n);
    /* the same with rounded moments; element 0 begins a block and is number `first` of its tensor */
    void (*adamw_kept)(const tn_adam *c, tn_moment_kind kind, float *p, const float *g, void *m, void *v, size_t n,
                       uint32_t key, uint32_t first);
    double (*sumsq)(const float *x, size_t n); /* n <= 4096 */
    bool (*finite)(const float *x, size_t n);
    const struct tn_attn_kernels *attn; /* attn.h */
    const struct tn_attn_bf16_rows *attn_bf16; /* attn_bf16.h */
} tn_cpu_rows;
extern const tn_cpu_rows tn_rows_scalar, tn_rows_avx2, tn_rows_avx512, tn_rows_avx512bf16;

/* Runs fn over [0, n) in ranges of whole grains, on all threads when the work (floats touched,
 * or as much arithmetic) is worth waking them. */
void tn_cpu_run(tn_backend *b, size_t n, size_t grain, double work, tn_pool_fn *fn, void *ctx);
static inline const tn_cpu_rows *tn_cpu_kernels(const tn_backend *b) {
    return ((const tn_cpu *)b->priv)->rows;
}
#endif
