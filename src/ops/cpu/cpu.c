/* The cpu table. */
#include "ops/cpu/rows.h"
#include <string.h>

const struct tn_cpu_rows *tn_cpu_rows_pick(const char *kernels) {
#ifdef __x86_64__
    if (strcmp(kernels, "avx2") == 0) return &tn_rows_avx2;
    if (strncmp(kernels, "avx512", 6) == 0 && !strstr(kernels, "model")) return &tn_rows_avx512;
    if (strcmp(kernels, "amx") == 0) return &tn_rows_avx512;
#endif
    return &tn_rows_scalar;
}

/* Operations without kernels yet are the reference's. */
static size_t weight_bytes(const tn_backend *b, int out, int in) { return tn_ops_ref32.weight_bytes(b, out, in); }
static void weight_pack(tn_backend *b, const tn_weight *w) { tn_ops_ref32.weight_pack(b, w); }
static void gemm(tn_backend *b, tn_mode mode, void *y, int ldy, const void *x, int ldx, const tn_weight *w,
                 const void *bias, int T) {
    tn_ops_ref32.gemm(b, mode, y, ldy, x, ldx, w, bias, T);
}
static void gemm_dx(tn_backend *b, tn_mode mode, void *dx, int lddx, const void *dy, int lddy,
                    const tn_weight *w, int T) {
    tn_ops_ref32.gemm_dx(b, mode, dx, lddx, dy, lddy, w, T);
}
static void gemm_dw(tn_backend *b, void *dw, const void *dy, int lddy, const void *x, int ldx, int T, int out,
                    int in) {
    tn_ops_ref32.gemm_dw(b, dw, dy, lddy, x, ldx, T, out, in);
}
static void head(tn_backend *b, const tn_head *h) { tn_ops_ref32.head(b, h); }
static void head_bwd(tn_backend *b, const tn_head_bwd *h) { tn_ops_ref32.head_bwd(b, h); }
const tn_ops tn_ops_cpu = {
    .weight_bytes = weight_bytes, .weight_t_bytes = weight_bytes, .weight_pack = weight_pack,
    .gemm = gemm, .gemm_dx = gemm_dx, .gemm_dw = gemm_dw, .bias_bwd = tn_cpu_bias_bwd,
    .embed = tn_cpu_embed, .embed_bwd = tn_cpu_embed_bwd,
    .rms_norm = tn_cpu_rms_norm, .rms_norm_bwd = tn_cpu_rms_norm_bwd, .rope = tn_cpu_rope,
    .act_gate = tn_cpu_act_gate, .act_gate_bwd = tn_cpu_act_gate_bwd,
    .gather = tn_cpu_gather, .scatter_add = tn_cpu_scatter_add, .add = tn_cpu_add, .scale = tn_cpu_scale,
    .kv_block_bytes = tn_cpu_kv_block_bytes, .kv_write = tn_cpu_kv_write, .attn = tn_cpu_attn, .attn_bwd = tn_cpu_attn_bwd,
    .head = head, .head_bwd = head_bwd, .rowdot = tn_cpu_rowdot, .rowdot_bwd = tn_cpu_rowdot_bwd,
    .exp_rows = tn_cpu_exp_rows,
    .adamw = tn_cpu_adamw, .sumsq = tn_cpu_sumsq, .finite = tn_cpu_finite,
};
