/* Rows of logits of the language-model head (ops.h N8), by instruction set. */
#ifndef TN_OPS_CPU_HEAD_H
#define TN_OPS_CPU_HEAD_H
#include "ops/cpu/cpu.h"

/* Statistics of rows over one tile of columns, or merged over several; arrays over rows. */
typedef struct tn_stats {
    float *m, *s, *w, *a; /* largest z, sum e^(z-m), sum e^(z-m) z, sum of raw logits */
    float *q;             /* sum e^2(z-m), or NULL */
    int32_t *best;        /* first column with z = m, or NULL */
} tn_stats;

/* What the gradient of one row's logits is made of: dz as N8, c = d_lse - d_logp; with a second model's logits N10,
 * d_mix = d_jsd (1 - beta). */
typedef struct tn_dz {
    float temp, lse, c, d_entropy, entropy, d_logp;
    bool with_entropy, with_kl, with_rkl, with_jsd;
    float lse2, beta, d_kl, kl, d_rkl, d_mix, kl_mix;
} tn_dz;

/* Two rows' log-probs from raw logits (N10). */
typedef struct tn_pair_row {
    float temp, lse, lse2, beta;
    bool with_mix;
} tn_pair_row;

typedef struct tn_head_rows {
    /* Row r of `out` from n raw logits. */
    void (*stats)(const float *a, int n, float temp, const tn_stats *out, int r);
    /* Rows [0, n) of all become those of all and t; n is rounded up to a multiple of 16. */
    void (*merge)(const tn_stats *all, const tn_stats *t, int n);
    /* n raw logits become dz, with those of a second model beside them or NULL; target < 0 or >= n: not among them. */
    void (*dz)(float *a, const float *second, int n, const tn_dz *d, int target);
    void (*scale)(float *z, const float *a, int n, float temp);
    /* Adds to the sums k, r, m, y of N10 those of a tile of n columns. */
    void (*pair)(const float *a, const float *second, int n, const tn_pair_row *d, float sum[4]);
} tn_head_rows;
extern const tn_head_rows tn_head_portable, tn_head_avx2, tn_head_avx512;
#endif
