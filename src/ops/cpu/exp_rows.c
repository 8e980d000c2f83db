/* Probabilities of sampling rows on the cpu backend: rows over threads, spans by instruction set. */
#include "ops/cpu/exp_rows.h"
#include "ops/cpu/cpu.h"
#include "ops/expf.h"
#include <string.h>

typedef struct job { float *z; const double *lse; size_t V; int kind; } job;

static void span(int kind, float *x, float c, size_t n) {
#if defined(__x86_64__)
    if (kind == 2) { tn_exp_span_avx512(x, c, n); return; }
    if (kind == 1) { tn_exp_span_avx2(x, c, n); return; }
#endif
    (void)kind;
    for (size_t i = 0; i < n; i++) x[i] = tn_op_expf(x[i] - c);
}

/* Ranges of elements over all rows, so that a single row is shared by the threads, too. */
static void run(void *ctx, size_t begin, size_t end, int thread) {
    job *j = ctx;
    (void)thread;
    while (begin < end) {
        size_t r = begin / j->V, stop = (r + 1) * j->V;
        if (stop > end) stop = end;
        span(j->kind, j->z + begin, (float)j->lse[r], stop - begin);
        begin = stop;
    }
}

void tn_cpu_exp_rows(tn_backend *b, float *z, const double *lse, int R, int V) {
    job j = {z, lse, (size_t)V, 0};
    if (strcmp(b->kernels, "avx2") == 0) j.kind = 1;
    else if (strcmp(b->kernels, "avx512") == 0 || strcmp(b->kernels, "avx512bf16") == 0 || strcmp(b->kernels, "amx") == 0) j.kind = 2;
    tn_pool_run(b->pool, (size_t)R * (size_t)V, 8192, run, &j);
}
