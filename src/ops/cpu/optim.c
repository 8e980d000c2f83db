/* Optimiser operations of the cpu backend, cut over threads. */
#include "base/mathx.h"
#include "ops/cpu/rows.h"
#include <math.h>

typedef struct job {
    const tn_cpu_rows *k;
    tn_adam c;
    float *p, *m, *v;
    const float *g;
    size_t n;
    double *sum;
    bool *ok;
} job;

static void adamw(void *ctx, size_t begin, size_t end, int thread) {
    const job *j = ctx;
    j->k->adamw(&j->c, j->p + begin, j->g + begin, j->m + begin, j->v + begin, end - begin);
}

void tn_cpu_adamw(tn_backend *b, void *p, const void *g, void *m, void *v, size_t n, double lr, double beta1,
                  double beta2, double eps, double wd, long step, double gscale) {
    double c1 = 1 - tn_pow(beta1, (double)step), c2 = 1 - tn_pow(beta2, (double)step);
    job j = {.k = tn_cpu_kernels(b), .p = p, .g = g, .m = m, .v = v,
             .c = {(float)(1 - lr * wd), (float)beta1, (float)(1 - beta1), (float)beta2, (float)(1 - beta2),
                   (float)sqrt(c2), (float)(lr / c1), (float)eps, (float)gscale}};
    tn_cpu_run(b, n, 4096, 4.0 * (double)n, adamw, &j);
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
