/* Optimiser operations of the cpu backend, cut over threads. */
#include "base/mathx.h"
#include "ops/cpu/rows.h"
#include <math.h>

typedef struct job {
    const tn_cpu_rows *k;
    tn_adam c;
    const tn_adamw *how;
    float *p;
    char *m, *v;
    const float *g;
    size_t n;
    double *sum;
    bool *ok;
} job;

static void adamw(void *ctx, size_t begin, size_t end, int thread) {
    const job *j = ctx;
    size_t byte = tn_moment_bytes(j->how->moments, begin, sizeof(float)), n = end - begin;
    float *p = j->p + begin;
    const float *g = j->g + begin;
    char *m = j->m + byte, *v = j->v + byte;
    if (j->how->moments == TN_MOMENTS_FULL) j->k->adamw(&j->c, p, g, (float *)m, (float *)v, n);
    else j->k->adamw_kept(&j->c, j->how->moments, p, g, m, v, n, j->how->key, (uint32_t)(j->how->first + begin));
}

void tn_cpu_adamw(tn_backend *b, void *p, const void *g, void *m, void *v, size_t n, const tn_adamw *s) {
    double c1 = 1 - tn_pow(s->beta1, (double)s->step), c2 = 1 - tn_pow(s->beta2, (double)s->step);
    job j = {.k = tn_cpu_kernels(b), .p = p, .g = g, .m = m, .v = v, .how = s,
             .c = {(float)(1 - s->lr * s->wd), (float)s->beta1, (float)(1 - s->beta1), (float)s->beta2,
                   (float)(1 - s->beta2), (float)sqrt(c2), (float)(s->lr / c1), (float)s->eps, (float)s->gscale}};
    tn_cpu_run(b, n, TN_NORM_BLOCK, 4.0 * (double)n, adamw, &j);
}

static void sumsq(void *ctx, size_t begin, size_t end, int thread) {
    const job *j = ctx;
    for (size_t i = begin; i < end; i++) {
        size_t at = i * TN_NORM_BLOCK, len = j->n - at < TN_NORM_BLOCK ? j->n - at : TN_NORM_BLOCK;
        j->sum[i] = j->k->sumsq(j->g + at, len);
    }
}

void tn_cpu_sumsq(tn_backend *b, const void *x, size_t n, double *block) {
    job j = {.k = tn_cpu_kernels(b), .g = x, .n = n, .sum = block};
    tn_cpu_run(b, (n + TN_NORM_BLOCK - 1) / TN_NORM_BLOCK, 1, (double)n, sumsq, &j);
}

#define PARTS 512

static void finite_part(void *ctx, size_t begin, size_t end, int thread) {
    const job *j = ctx;
    for (size_t i = begin; i < end; i++) {
        size_t len = (j->n + PARTS - 1) / PARTS, at = i * len;
        if (at < j->n) j->ok[i] = j->k->finite(j->g + at, j->n - at < len ? j->n - at : len);
    }
}

bool tn_cpu_finite(tn_backend *b, const void *x, size_t n) {
    bool ok[PARTS], all = true;
    for (int i = 0; i < PARTS; i++) ok[i] = true;
    job j = {.k = tn_cpu_kernels(b), .g = x, .n = n, .ok = ok};
    tn_cpu_run(b, PARTS, 16, (double)n, finite_part, &j);
    for (int i = 0; i < PARTS; i++) all = all && ok[i];
    return all;
}
