/* Row operations: ref32 against ref64, every cpu kernel against ref32 to the bit. */
#include "base/mathx.h"
#include "ops_case.h"
#include <math.h>

#define OP c->be->op
static size_t zu(int a, int b) { return (size_t)a * (size_t)b; }

/* p: T D vocab */
static void case_embed(oc *c, const int *p) {
    OP->embed(c->be, oc_out(c, "y", zu(p[0], p[1])), oc_in(c, zu(p[2], p[1]), 1), false,
              oc_ids(c, (size_t)p[0], p[2]), p[0], p[1]);
}
static void case_embed_bwd(oc *c, const int *p) {
    OP->embed_bwd(c->be, oc_out(c, "dtable", zu(p[2], p[1])), oc_in(c, zu(p[0], p[1]), 1),
                  oc_ids(c, (size_t)p[0], p[2]), p[0], p[1]);
}
static const int embeds[][OC_PARAMS] = {{1, 1, 1}, {3, 17, 5}, {33, 64, 7}, {100, 100, 3}, {250, 96, 40}};
TEST(ops_embed) { OC_ALL(case_embed, embeds, 1e-7); }
/* Every bf16 but NaNs, widened. */
TEST(ops_embed_from_bf16) {
    enum { T = 37, D = 48, V = 65536 / D };
    static uint16_t table[V * D];
    static double y[T * D];
    int32_t ids[T];
    for (int i = 0; i < V * D; i++) table[i] = (uint16_t)((i & 0x7f80) == 0x7f80 ? 0 : i);
    for (int t = 0; t < T; t++) ids[t] = t == 0 ? V - 1 : t * 5701 % V;
    const char *const names[] = {"ref", "ref64", "cpu"};
    for (int n = 0; n < 3; n++)
        for (int threads = 1; threads < 4; threads += 2) {
            tn_backend *b;
            CHECK_OK(tn_backend_open(&b, names[n], n == 1 ? TN_F64 : TN_BF16, NULL, threads, NULL));
            b->op->embed(b, y, table, true, ids, T, D);
            for (int i = 0; i < T * D; i++) {
                union { uint32_t u; float f; } want = {.u = (uint32_t)table[ids[i / D] * D + i % D] << 16};
                double got = b->elem == 8 ? y[i] : (double)((float *)y)[i];
                CHECK_MSG(got == (double)want.f, "%s: %g and not %g", names[n], got, (double)want.f);
            }
            tn_backend_free(b);
        }
}
TEST(ops_embed_bwd) { OC_ALL(case_embed_bwd, embeds, 2e-6); }

/* p: T groups n extra columns, mode */
static void case_norm(oc *c, const int *p) {
    int T = p[0], g = p[1], n = p[2], ldx = g * n + p[3], ldy = g * n + 2 * p[3];
    void *x = oc_in(c, zu(T, ldx), 1), *w = oc_in(c, (size_t)n, 1);
    OP->rms_norm(c->be, TN_SET, oc_out(c, "y", zu(T, ldy)), ldy, oc_out(c, "rstd", zu(T, g)), x, ldx, w, T, g, n, 1e-5);
    OP->rms_norm(c->be, TN_SET, oc_out(c, "y without rstd", zu(T, ldy)), ldy, NULL, x, ldx, w, T, g, n, 1e-6);
    OP->rms_norm(c->be, TN_ROUND, oc_out_operands(c, "y rounded", zu(T, ldy)), ldy, oc_out(c, "rstd", zu(T, g)), x, ldx, w,
                 T, g, n, 1e-5);
}
static void case_norm_bwd(oc *c, const int *p) {
    int T = p[0], g = p[1], n = p[2], ldx = g * n + p[3], ldy = g * n + 2 * p[3];
    void *x = oc_in(c, zu(T, ldx), 1), *w = oc_in(c, (size_t)n, 1), *dw = oc_out(c, "dw", (size_t)n);
    void *y = oc_zero(c, zu(T, ldy) * 8), *rstd = oc_zero(c, zu(T, g) * 8), *dy = oc_in(c, zu(T, ldy), 1);
    OP->rms_norm(c->be, TN_SET, y, ldy, rstd, x, ldx, w, T, g, n, 1e-5);
    OP->rms_norm_bwd(c->be, TN_SET, oc_out(c, "dx", zu(T, ldx)), ldx, dw, dy, ldy, x, ldx, rstd, w, T, g, n);
    OP->rms_norm_bwd(c->be, TN_ADD, oc_out(c, "dx added", zu(T, ldx)), ldx, dw, dy, ldy, x, ldx, rstd, w, T, g, n);
    void *in_place = oc_out(c, "dx in place of dy", zu(T, ldy));
    OP->rms_norm_bwd(c->be, TN_SET, in_place, ldy, dw, in_place, ldy, x, ldx, rstd, w, T, g, n);
    OP->rms_norm_bwd(c->be, TN_ADD, oc_out(c, "dx alone", zu(T, ldx)), ldx, NULL, dy, ldy, x, ldx, rstd, w, T, g, n);
}
static const int norms[][OC_PARAMS] = {{1, 1, 5, 0},   {3, 1, 17, 5},  {33, 1, 64, 0},  {100, 1, 100, 3},
                                       {33, 3, 32, 64}, {5, 9, 64, 13}, {100, 2, 10, 7}, {64, 1, 576, 0}};
TEST(ops_rms_norm) { OC_ALL(case_norm, norms, 1e-6); }
TEST(ops_rms_norm_bf16) { oc_all("norm bf16", case_norm, norms, 8, 4e-3, TN_BF16); }
TEST(ops_rms_norm_bwd) { OC_ALL(case_norm_bwd, norms, 3e-6); }

/* p: T heads d d_rot extra rest */
static void case_rope(oc *c, const int *p) {
    int T = p[0], heads = p[1], d = p[2], rot = p[3], rest = p[5], ld = (heads + rest) * d + p[4], half = rot / 2, n_pos = 50;
    void *co = oc_zero(c, zu(n_pos, half + 1) * 8), *si = oc_zero(c, zu(n_pos, half + 1) * 8);
    for (int i = 0; i < n_pos * half; i++) {
        oc_set(c->be, co, (size_t)i, (float)tn_cos(0.37 * i));
        oc_set(c->be, si, (size_t)i, (float)tn_sin(0.37 * i));
    }
    int32_t *pos = oc_ids(c, (size_t)T, n_pos);
    void *x = oc_out(c, "x", zu(T, ld)), *y = oc_out(c, "x turned back", zu(T, ld));
    void *in = oc_in(c, zu(T, ld), 1), *out = oc_out_operands(c, "rounded", zu(T, ld + 3));
    OP->rope(c->be, TN_SET, x, ld, x, ld, pos, co, si, T, heads, rest, d, rot, 1);
    OP->rope(c->be, TN_SET, y, ld, y, ld, pos, co, si, T, heads, rest, d, rot, -1);
    OP->rope(c->be, TN_ROUND, out, ld + 3, in, ld, pos, co, si, T, heads, rest, d, rot, -1);
}
static const int ropes[][OC_PARAMS] = {{1, 1, 2, 2, 0}, {3, 2, 10, 6, 5, 1}, {33, 3, 64, 64, 9, 2}, {100, 4, 32, 16, 0},
                                       {7, 2, 128, 128, 1, 1}, {5, 1, 96, 48, 0, 1}};
TEST(ops_rope) { OC_ALL(case_rope, ropes, 1e-6); }
TEST(ops_rope_bf16) { oc_all("rope bf16", case_rope, ropes, 6, 4e-3, TN_BF16); }

/* p: n; every kind of number: ties, denormals, infinities, NaNs */
static void case_round(oc *c, const int *p) {
    static const uint32_t odd[] = {0x3f808000, 0x3f818000, 0x3f807fff, 0x3f808001, 0x007fffff, 0x80000001, 0x00800000,
                                   0x7f7fffff, 0x7f800000, 0xff800000, 0x7f800001, 0xffc12345, 0, 0x80000000};
    size_t n = (size_t)p[0], k = sizeof odd / sizeof *odd;
    void *x = oc_in(c, n, 3), *y = oc_out_operands(c, "rounded", n + 3);
    for (size_t i = 0; c->be->elem == 4 && i < n && n > 40; i += 3) memcpy((float *)x + i, &odd[i / 3 % k], 4);
    OP->round(c->be, y, x, n);
}
static const int rounds[][OC_PARAMS] = {{0}, {1}, {15}, {16}, {33}, {1000}, {100003}};
TEST(ops_round) { OC_ALL(case_round, rounds, 0); }
TEST(ops_round_bf16) { OC_ALL_BF16(case_round, rounds); }

/* p: T F act */
static void case_act(oc *c, const int *p) {
    int T = p[0], F = p[1];
    void *gu = oc_operands(c, zu(T, 2 * F), 3);
    OP->act_gate(c->be, (tn_act)p[2], oc_out_operands(c, "h", zu(T, F)), gu, T, F);
}
static void case_act_bwd(oc *c, const int *p) {
    int T = p[0], F = p[1];
    void *gu = oc_operands(c, zu(T, 2 * F), 3), *dh = oc_in(c, zu(T, F), 1), *in_place = oc_out_operands(c, "in place", zu(T, 2 * F));
    OP->act_gate_bwd(c->be, (tn_act)p[2], oc_out_operands(c, "dgu", zu(T, 2 * F)), dh, gu, T, F);
    OP->act_gate_bwd(c->be, (tn_act)p[2], in_place, dh, in_place, T, F);
}
static const int acts[][OC_PARAMS] = {{1, 1, TN_SILU},  {3, 17, TN_SILU},  {33, 100, TN_SILU},  {100, 64, TN_SILU},
                                      {1, 5, TN_GELU_TANH}, {33, 17, TN_GELU_TANH}, {100, 48, TN_GELU_TANH}};
TEST(ops_act_gate) { OC_ALL(case_act, acts, 2e-6); }
TEST(ops_act_gate_bwd) { OC_ALL(case_act_bwd, acts, 2e-6); }
TEST(ops_act_gate_bf16) { oc_all("act_gate bf16", case_act, acts, 7, 1e-2, TN_BF16); }
TEST(ops_act_gate_bwd_bf16) { oc_all("act_gate_bwd bf16", case_act_bwd, acts, 7, 1e-2, TN_BF16); }

TEST(ops_act_far_out) { /* no overflow may turn into a NaN */
    static const float far[] = {-1e4f, -200, -104, -89, -88, 0, 88, 89, 200, 1e4f};
    for (int act = TN_SILU; act <= TN_GELU_TANH; act++)
        for (int i = 0; i < 10; i++) {
            float gu[2] = {far[i], 1}, h, dh = 1, d[2];
            OC_REF32->op->act_gate(OC_REF32, (tn_act)act, &h, gu, 1, 1);
            OC_REF32->op->act_gate_bwd(OC_REF32, (tn_act)act, d, &dh, gu, 1, 1);
            CHECK_NEAR(h, far[i] > 0 ? far[i] : 0, 1e-6, 1e-34);
            CHECK_NEAR(d[0], far[i] > 0 ? 1 : far[i] == 0 ? 0.5 : 0, 1e-6, 1e-34);
            CHECK_NEAR(d[1], h, 1e-6, 1e-34);
        }
}

/* p: R D rows extra */
static void case_gather(oc *c, const int *p) {
    int ld = p[1] + p[3];
    OP->gather(c->be, oc_out(c, "y", zu(p[0], p[1])), oc_in(c, zu(p[2], ld), 1), ld,
               oc_ids(c, (size_t)p[0], p[2]), p[0], p[1], c->be->elem);
    OP->gather(c->be, oc_out_operands(c, "operands", zu(p[0], p[1])), oc_operands(c, zu(p[2], ld), 1), ld,
               oc_ids(c, (size_t)p[0], p[2]), p[0], p[1], c->be->operand);
    OP->scatter_add(c->be, oc_out(c, "x", zu(p[2], ld)), ld, oc_in(c, zu(p[0], p[1]), 1),
                    oc_ids(c, (size_t)p[0], p[2]), p[0], p[1]);
}
static const int gathers[][OC_PARAMS] = {{1, 1, 1, 0}, {3, 17, 9, 4}, {33, 64, 20, 0}, {100, 100, 30, 1}, {0, 16, 3, 0}};

/* p: R T D */
static void case_spread(oc *c, const int *p) {
    int32_t *rows = oc_zero(c, zu(p[1], sizeof *rows)), n = 0;
    for (int t = 0; t < p[1] && n < p[0]; t++) /* R of T rows, spread evenly from the end */
        if ((t + 1) * p[0] / p[1] > t * p[0] / p[1]) rows[n++] = t;
    OP->spread(c->be, oc_out(c, "x", zu(p[1], p[2])), rows, n, p[1], p[2]);
}
static const int spreads[][OC_PARAMS] = {{1, 1, 1}, {1, 5, 3}, {4, 9, 40}, {9, 9, 17}, {30, 100, 130}, {0, 4, 16}};
TEST(ops_spread) { OC_ALL(case_spread, spreads, 1e-6); }
TEST(ops_gather_scatter) { OC_ALL(case_gather, gathers, 1e-6); }
TEST(ops_gather_bf16) { OC_ALL_BF16(case_gather, gathers); }

/* p: n */
static void case_flat(oc *c, const int *p) {
    size_t n = (size_t)p[0];
    OP->add(c->be, oc_out(c, "sum", n + 3), oc_in(c, n, 1), n);
    OP->scale(c->be, oc_out(c, "scaled", n + 3), 0.3, n);
}
static const int flats[][OC_PARAMS] = {{0}, {1}, {15}, {16}, {33}, {1000}, {100003}};
TEST(ops_add_scale) { OC_ALL(case_flat, flats, 1e-6); }

/* p: T n extra */
static void case_bias(oc *c, const int *p) {
    int ld = p[1] + p[2];
    OP->bias_bwd(c->be, oc_out(c, "db", (size_t)p[1] + 3), oc_operands(c, zu(p[0], ld), 1), ld, p[0], p[1]);
}
static const int biases[][OC_PARAMS] = {{1, 1, 0}, {3, 17, 2}, {33, 64, 0}, {100, 100, 9}, {700, 40, 0}};
TEST(ops_bias_bwd) { OC_ALL(case_bias, biases, 3e-6); }
TEST(ops_bias_bwd_bf16) { OC_ALL_BF16(case_bias, biases); }

/* p: R D */
static void case_rowdot(oc *c, const int *p) {
    int R = p[0], D = p[1];
    void *x = oc_in(c, zu(R, D), 1), *w = oc_in(c, (size_t)D, 1);
    OP->rowdot(c->be, oc_out_double(c, "out", (size_t)R), x, w, R, D);
    OP->rowdot_bwd(c->be, oc_out(c, "dx", zu(R, D)), oc_out(c, "dw", (size_t)D), oc_in_double(c, (size_t)R, 1), x,
                   w, R, D);
}
static const int rowdots[][OC_PARAMS] = {{1, 1}, {3, 17}, {33, 64}, {100, 100}, {5, 576}};
TEST(ops_rowdot) { OC_ALL(case_rowdot, rowdots, 2e-6); }

/* p: R V spread; the exponents from all over exp's range */
static void case_exp_row(oc *c, const int *p) {
    float *z = oc_out_float(c, "p", zu(p[0], p[1]));
    double *x = oc_in_double(c, zu(p[0], p[1]), p[2]);
    for (size_t i = 0; i < zu(p[0], p[1]); i++) z[i] = (float)x[i];
    double *lse = oc_in_double(c, (size_t)p[0], 1), *sum = oc_out_double(c, "sum", zu(p[0], p[1] / TN_EXP_BLOCK + 1));
    for (int r = 0; r < p[0]; r++) {
        float *row = z + zu(r, p[1]);
        OP->exp_row(c->be, row, sum + zu(r, p[1] / TN_EXP_BLOCK + 1), row, lse[r], p[1]);
    }
}
static const int exps[][OC_PARAMS] = {{1, 1, 1}, {3, 17, 1}, {2, 512, 2}, {2, 1030, 60}, {40, 1000, 40}, {1, 30000, 3}};
TEST(ops_exp_row) { OC_ALL(case_exp_row, exps, 0); }

/* A row's numbers are the same alone as within a batch. */
TEST(ops_rows_alone) {
    static const char *const kernels[] = {"scalar", "avx2", "avx512"};
    for (int k = 0; k < 3; k++) {
        tn_backend *b = oc_backend("cpu", TN_F32, kernels[k], 2);
        if (!b) continue;
        enum { T = 33, D = 100 };
        static float x[T * D], y[T * D], h[T * D / 2], one[D], rstd[T], r1;
        static double v[T], v1;
        for (int i = 0; i < T * D; i++) x[i] = (float)tn_sin(0.7 * i);
        b->op->rms_norm(b, TN_SET, y, D, rstd, x, D, x, T, 1, D, 1e-5);
        b->op->act_gate(b, TN_SILU, h, x, T, D / 2);
        b->op->rowdot(b, v, x, x, T, D);
        for (int t = 0; t < T; t++) {
            b->op->rms_norm(b, TN_SET, one, D, &r1, x + t * D, D, x, 1, 1, D, 1e-5);
            CHECK_BYTES(one, y + t * D, sizeof one);
            CHECK_BYTES(&r1, rstd + t, 4);
            b->op->act_gate(b, TN_SILU, one, x + t * D, 1, D / 2);
            CHECK_BYTES(one, h + t * D / 2, sizeof one / 2);
            b->op->rowdot(b, &v1, x + t * D, x, 1, D);
            CHECK_BYTES(&v1, v + t, 8);
        }
    }
}
