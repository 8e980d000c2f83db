/* The cpu backend's parts: rows, attention and optimiser on one side, matrix products and the
 * head on the other. All equal the float reference to the bit (ops.h N1).                    */
#ifndef TN_OPS_CPU_H
#define TN_OPS_CPU_H
#include "ops/ops.h"

/* features.c: what this machine can run. */
const char *tn_cpu_best_kernels(tn_dtype dtype); /* "avx512", "avx512bf16", ...; "scalar" at least */
bool tn_cpu_has(const char *kernels);            /* true for "scalar" and the software models, too */
bool tn_cpu_foreign(const char *kernels); /* of another architecture: this build has none of them */

/* State of an opened cpu backend (tn_backend.priv): kernels picked once. */
typedef struct tn_cpu {
    const struct tn_cpu_rows *rows; /* rows.h: rows, attention, optimiser by instruction set */
    const struct tn_cpu_mm *mm;     /* matrix products by kernels and dtype */
} tn_cpu;
/* Kernels of matrix products and head by name ("scalar", "avx2", ..., "amx-model"); NULL when this
 * dtype has none of that name. *profile: "f32", "bf16-pair" or "bf16-dot32". */
const struct tn_cpu_mm *tn_cpu_mm_pick(tn_dtype dtype, const char *kernels, const char **profile);
/* The same for rows: every name has one ("amx" uses avx512bf16, models use scalar). */
const struct tn_cpu_rows *tn_cpu_rows_pick(const char *kernels);

/* matrix products and head: signatures of ops.h */
size_t tn_cpu_weight_bytes(const tn_backend *b, int out, int in);
void tn_cpu_weight_pack(tn_backend *b, const tn_weight *w);
void tn_cpu_gemm(tn_backend *b, tn_mode mode, void *y, int ldy, const void *x, int ldx, const tn_weight *w,
                 const void *bias, int T);
void tn_cpu_gemm_dx(tn_backend *b, tn_mode mode, void *dx, int lddx, const void *dy, int lddy,
                    const tn_weight *w, int T);
void tn_cpu_gemm_dw(tn_backend *b, void *dw, const void *dy, int lddy, const void *x, int ldx, int T,
                    int out, int in);
void tn_cpu_lora(tn_backend *b, tn_mode mode, void *y, int ldy, void *u, const void *x, int ldx, const tn_lora *w, int T);
void tn_cpu_lora_bwd(tn_backend *b, void *dx, int lddx, const tn_lora_grad *g, const void *dy, int lddy, const void *u,
                     void *v, const void *x, int ldx, const tn_lora *w, int T);
void tn_cpu_head(tn_backend *b, const tn_head *h);
void tn_cpu_head_bwd(tn_backend *b, const tn_head_bwd *h);
void tn_cpu_head_pair(tn_backend *b, const tn_head_pair *h);

/* rows.c */
void tn_cpu_bias_bwd(tn_backend *b, void *db, const void *dy, int ld, int T, int n);
void tn_cpu_embed(tn_backend *b, void *y, const void *table, bool half, const int32_t *ids, int T, int D);
void tn_cpu_embed_bwd(tn_backend *b, void *dtable, const void *dy, const int32_t *ids, int T, int D);
void tn_cpu_rms_norm(tn_backend *b, tn_mode mode, void *y, int ldy, void *rstd, const void *x, int ldx, const void *w,
                     int T, int groups, int n, double eps);
void tn_cpu_rms_norm_bwd(tn_backend *b, tn_mode mode, void *dx, int lddx, void *dw, const void *dy, int lddy,
                         const void *x, int ldx, const void *rstd, const void *w, int T, int groups, int n);
void tn_cpu_rope(tn_backend *b, tn_mode mode, void *y, int ldy, const void *x, int ldx, const int32_t *pos, const void *cos,
                 const void *sin, int T, int heads, int rest, int d, int d_rot, int sign);
void tn_cpu_round(tn_backend *b, void *y, const void *x, size_t n);
void tn_cpu_act_gate(tn_backend *b, tn_act act, void *h, const void *gu, int T, int F);
void tn_cpu_act_gate_bwd(tn_backend *b, tn_act act, void *dgu, const void *dh, const void *gu, int T, int F);
void tn_cpu_gather(tn_backend *b, void *y, const void *x, int ld, const int32_t *rows, int R, int D, size_t bytes);
void tn_cpu_spread(tn_backend *b, void *x, const int32_t *rows, int R, int T, int D);
void tn_cpu_scatter_add(tn_backend *b, void *x, int ld, const void *y, const int32_t *rows, int R, int D);
void tn_cpu_add(tn_backend *b, void *y, const void *x, size_t n);
void tn_cpu_scale(tn_backend *b, void *y, double s, size_t n);
void tn_cpu_rowdot(tn_backend *b, double *out, const void *x, const void *w, int R, int D);
void tn_cpu_rowdot_bwd(tn_backend *b, void *dx, void *dw, const double *d_out, const void *x, const void *w,
                       int R, int D);
void tn_cpu_exp_row(const tn_backend *b, float *p, double *sum, const float *z, double lse, int V);
/* attn.c */
size_t tn_cpu_kv_block_bytes(const tn_backend *b, int kv_heads, int head_dim);
void tn_cpu_kv_write(tn_backend *b, void *pool, const void *qkv, int ld, const tn_attn *a);
void tn_cpu_attn(tn_backend *b, void *out, int ldo, void *lse, const void *qkv, int ld, const void *pool,
                 const tn_attn *a);
void tn_cpu_attn_bwd(tn_backend *b, void *dqkv, int lddq, const void *dout, int lddo, const void *out,
                     int ldo, const void *lse, const void *qkv, int ld, const void *pool, const tn_attn *a);
/* optim.c */
void tn_cpu_adamw(tn_backend *b, void *p, const void *g, void *m, void *v, size_t n, const tn_adamw *s);
void tn_cpu_sumsq(tn_backend *b, const void *x, size_t n, const uint8_t *live, double *block);
bool tn_cpu_finite(tn_backend *b, const void *x, size_t n);
#endif
