/* Low-rank adapters: thin matrix products in the order that ops.h gives. */
#include "ops/cpu/gemm.h"

static const float *fat(const void *p, int i) { return (const float *)p + i; }
static size_t area(int T, int n) { return (size_t)T * (size_t)n; }

void tn_cpu_lora(tn_backend *b, tn_mode mode, void *y, int ldy, void *u, const void *x, int ldx, const tn_lora *w, int T) {
    int R = w->a.out;
    size_t size = mode == TN_ADD_ROUND ? b->operand : b->elem;
    tn_gemm_of(b, TN_SET, u, R, tn_operands(b, x, ldx), &w->a, NULL, T);
    tn_cpu_scale(b, u, w->scale, area(T, R));
    for (int p = 0; y && p < w->parts; p++)
        tn_gemm_of(b, mode, (char *)y + (size_t)w->col[p] * size, ldy, tn_elements(fat(u, p * w->rank), R), &w->b[p], NULL, T);
}

void tn_cpu_lora_bwd(tn_backend *b, void *dx, int lddx, const tn_lora_grad *g, const void *dy, int lddy, const void *u,
                     void *v, const void *x, int ldx, const tn_lora *w, int T) {
    int R = w->a.out, r = w->rank;
    for (int p = 0; p < w->parts; p++) {
        tn_source d = tn_operands(b, tn_operand_cat(b, dy, (size_t)w->col[p]), lddy);
        tn_gemm_dx_of(b, TN_SET, (float *)v + p * r, R, d, &w->b[p], T);
        if (g) tn_gemm_dw_of(b, g->b[p], d, tn_elements(fat(u, p * r), R), T, w->b[p].out, r);
    }
    tn_cpu_scale(b, v, w->scale, area(T, R));
    if (g) tn_gemm_dw_of(b, g->a, tn_elements(v, R), tn_operands(b, x, ldx), T, R, w->a.in);
    if (dx) tn_gemm_dx_of(b, TN_ADD, dx, lddx, tn_elements(v, R), &w->a, T);
}
