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

#define BLOCK 4096
#define BLOCKS 512 /* block sums kept at a time */

static void sumsq(void *ctx, size_t begin, size_t end, int thread) {
    const job *j = ctx;
    for (size_t i = begin; i < end; i++) {
        size_t at = i * BLOCK, len = j->n - at < BLOCK ? j->n - at : BLOCK;
        j->sum[i] = j->k->sumsq(j->g + at, len);
    }
}

double tn_cpu_sumsq(tn_backend *b, const void *x, size_t n) {
    double part[BLOCKS], sum = 0;
    for (size_t at = 0; at < n; at += (size_t)BLOCK * BLOCKS) {
        size_t len = n - at < (size_t)BLOCK * BLOCKS ? n - at : (size_t)BLOCK * BLOCKS;
        size_t blocks = (len + BLOCK - 1) / BLOCK;
        job j = {.k = tn_cpu_kernels(b), .g = (const float *)x + at, .n = len, .sum = part};
        tn_cpu_run(b, blocks, 1, (double)len, sumsq, &j);
        for (size_t i = 0; i < blocks; i++) sum = sum + part[i];
    }
    return sum;
}

static void finite_part(void *ctx, size_t begin, size_t end, int thread) {
    const job *j = ctx;
    for (size_t i = begin; i < end; i++) {
        size_t len = (j->n + BLOCKS - 1) / BLOCKS, at = i * len;
        if (at < j->n) j->ok[i] = j->k->finite(j->g + at, j->n - at < len ? j->n - at : len);
    }
}

bool tn_cpu_finite(tn_backend *b, const void *x, size_t n) {
    bool ok[BLOCKS], all = true;
    for (int i = 0; i < BLOCKS; i++) ok[i] = true;
    job j = {.k = tn_cpu_kernels(b), .g = x, .n = n, .ok = ok};
    tn_cpu_run(b, BLOCKS, 16, (double)n, finite_part, &j);
    for (int i = 0; i < BLOCKS; i++) all = all && ok[i];
    return all;
}
