/* Low-rank adapters: thin matrix products in the order that ops.h gives. */
#include "ops/cpu/cpu.h"

static const float *fat(const void *p, int i) { return (const float *)p + i; }
static size_t area(int T, int n) { return (size_t)T * (size_t)n; }

void tn_cpu_lora(tn_backend *b, void *y, int ldy, void *u, const void *x, int ldx, const tn_lora *w, int T) {
    int R = w->a.out;
    tn_cpu_gemm(b, TN_SET, u, R, x, ldx, &w->a, NULL, T);
    tn_cpu_scale(b, u, w->scale, area(T, R));
    for (int p = 0; y && p < w->parts; p++)
        tn_cpu_gemm(b, TN_ADD_NONZERO, (float *)y + w->col[p], ldy, fat(u, p * w->rank), R, &w->b[p], NULL, T);
}

void tn_cpu_lora_bwd(tn_backend *b, void *dx, int lddx, const tn_lora_grad *g, const void *dy, int lddy, const void *u,
                     void *v, const void *x, int ldx, const tn_lora *w, int T) {
    int R = w->a.out, r = w->rank;
    for (int p = 0; p < w->parts; p++) {
        const float *d = fat(dy, w->col[p]);
        tn_cpu_gemm_dx(b, TN_SET, (float *)v + p * r, R, d, lddy, &w->b[p], T);
        if (g) tn_cpu_gemm_dw(b, g->b[p], d, lddy, fat(u, p * r), R, T, w->b[p].out, r);
    }
    tn_cpu_scale(b, v, w->scale, area(T, R));
    if (g) tn_cpu_gemm_dw(b, g->a, v, R, x, ldx, T, R, w->a.in);
    if (dx) tn_cpu_gemm_dx(b, TN_ADD, dx, lddx, v, R, &w->a, T);
}
