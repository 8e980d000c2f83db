/* The cpu table. */
#include "ops/cpu/cpu.h"

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
static void bias_bwd(tn_backend *b, void *db, const void *dy, int ld, int T, int n) {
    tn_ops_ref32.bias_bwd(b, db, dy, ld, T, n);
}
static void embed(tn_backend *b, void *y, const void *table, const int32_t *ids, int T, int D) {
    tn_ops_ref32.embed(b, y, table, ids, T, D);
}
static void embed_bwd(tn_backend *b, void *dtable, const void *dy, const int32_t *ids, int T, int D) {
    tn_ops_ref32.embed_bwd(b, dtable, dy, ids, T, D);
}
static void rms_norm(tn_backend *b, void *y, int ldy, void *rstd, const void *x, int ldx, const void *w,
                     int T, int groups, int n, double eps) {
    tn_ops_ref32.rms_norm(b, y, ldy, rstd, x, ldx, w, T, groups, n, eps);
}
static void rms_norm_bwd(tn_backend *b, tn_mode mode, void *dx, int lddx, void *dw, const void *dy, int lddy,
                         const void *x, int ldx, const void *rstd, const void *w, int T, int groups, int n) {
    tn_ops_ref32.rms_norm_bwd(b, mode, dx, lddx, dw, dy, lddy, x, ldx, rstd, w, T, groups, n);
}
static void rope(tn_backend *b, void *x, int ld, const int32_t *pos, const void *cos, const void *sin, int T,
                 int heads, int d, int d_rot, int sign) {
    tn_ops_ref32.rope(b, x, ld, pos, cos, sin, T, heads, d, d_rot, sign);
}
static void act_gate(tn_backend *b, tn_act act, void *h, const void *gu, int T, int F) {
    tn_ops_ref32.act_gate(b, act, h, gu, T, F);
}
static void act_gate_bwd(tn_backend *b, tn_act act, void *dgu, const void *dh, const void *gu, int T, int F) {
    tn_ops_ref32.act_gate_bwd(b, act, dgu, dh, gu, T, F);
}
static void gather(tn_backend *b, void *y, const void *x, int ld, const int32_t *rows, int R, int D) {
    tn_ops_ref32.gather(b, y, x, ld, rows, R, D);
}
static void scatter_add(tn_backend *b, void *x, int ld, const void *y, const int32_t *rows, int R, int D) {
    tn_ops_ref32.scatter_add(b, x, ld, y, rows, R, D);
}
static void add(tn_backend *b, void *y, const void *x, size_t n) { tn_ops_ref32.add(b, y, x, n); }
static void scale(tn_backend *b, void *y, double s, size_t n) { tn_ops_ref32.scale(b, y, s, n); }
static size_t kv_block_bytes(const tn_backend *b, int kv_heads, int head_dim) {
    return tn_ops_ref32.kv_block_bytes(b, kv_heads, head_dim);
}
static void kv_write(tn_backend *b, void *pool, const void *qkv, int ld, const tn_attn *a) {
    tn_ops_ref32.kv_write(b, pool, qkv, ld, a);
}
static void attn(tn_backend *b, void *out, int ldo, void *lse, const void *qkv, int ld, const void *pool,
                 const tn_attn *a) {
    tn_ops_ref32.attn(b, out, ldo, lse, qkv, ld, pool, a);
}
static void attn_bwd(tn_backend *b, void *dqkv, int lddq, const void *dout, int lddo, const void *out, int ldo,
                     const void *lse, const void *qkv, int ld, const void *pool, const tn_attn *a) {
    tn_ops_ref32.attn_bwd(b, dqkv, lddq, dout, lddo, out, ldo, lse, qkv, ld, pool, a);
}
static void rowdot(tn_backend *b, double *out, const void *x, const void *w, int R, int D) {
    tn_ops_ref32.rowdot(b, out, x, w, R, D);
}
static void rowdot_bwd(tn_backend *b, void *dx, void *dw, const double *d_out, const void *x, const void *w,
                       int R, int D) {
    tn_ops_ref32.rowdot_bwd(b, dx, dw, d_out, x, w, R, D);
}
static void adamw(tn_backend *b, void *p, const void *g, void *m, void *v, size_t n, double lr, double beta1,
                  double beta2, double eps, double wd, long step, double gscale) {
    tn_ops_ref32.adamw(b, p, g, m, v, n, lr, beta1, beta2, eps, wd, step, gscale);
}
static double sumsq(tn_backend *b, const void *x, size_t n) { return tn_ops_ref32.sumsq(b, x, n); }
static bool finite_(tn_backend *b, const void *x, size_t n) { return tn_ops_ref32.finite(b, x, n); }

const tn_ops tn_ops_cpu = {
    .weight_bytes = weight_bytes, .weight_t_bytes = weight_bytes, .weight_pack = weight_pack,
    .gemm = gemm, .gemm_dx = gemm_dx, .gemm_dw = gemm_dw, .bias_bwd = bias_bwd,
    .embed = embed, .embed_bwd = embed_bwd,
    .rms_norm = rms_norm, .rms_norm_bwd = rms_norm_bwd, .rope = rope,
    .act_gate = act_gate, .act_gate_bwd = act_gate_bwd,
    .gather = gather, .scatter_add = scatter_add, .add = add, .scale = scale,
    .kv_block_bytes = kv_block_bytes, .kv_write = kv_write, .attn = attn, .attn_bwd = attn_bwd,
    .head = head, .head_bwd = head_bwd, .rowdot = rowdot, .rowdot_bwd = rowdot_bwd,
    .adamw = adamw, .sumsq = sumsq, .finite = finite_,
};
