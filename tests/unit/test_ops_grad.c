/* Backward operations against 4-point differences of the forward ones, in double, every coordinate
 * of every input, with random cotangents. */
#include "base/mathx.h"
#include "ops_case.h"
#include <math.h>

#define REL 1e-7
typedef struct job {
    oc c;
    tn_backend *be;
    int T, D, G;               /* sizes */
    double *x, *w, *bias, *y, *dy, *rstd, *pool, *lse;
    int32_t *ids;
    tn_weight weight;
    oc_forest f;
    tn_head head;
    double *d_logp, *d_entropy, *d_lse;
    tn_act act;
} job;
static job J;

static size_t zu(int a, int b) { return (size_t)a * (size_t)b; }

static double cot(const double *y, const double *dy, size_t n) {
    double s = 0;
    for (size_t i = 0; i < n; i++) s += y[i] * dy[i];
    return s;
}

static void start(int T, int D, int G) {
    memset(&J, 0, sizeof J);
    J.be = J.c.be = OC_REF64;
    J.T = T;
    J.D = D;
    J.G = G;
}

static double gemm_loss(void *v) {
    J.be->op->weight_pack(J.be, &J.weight);
    memset(J.y, 0, zu(J.T, J.G) * 8);
    J.be->op->gemm(J.be, TN_SET, J.y, J.G, J.x, J.D, &J.weight, J.bias, J.T);
    return cot(J.y, J.dy, zu(J.T, J.G));
}

TEST(ops_grad_gemm) {
    start(5, 7, 4);
    J.x = oc_in(&J.c, 35, 1);
    J.weight = oc_weight(&J.c, 4, 7, 1);
    J.bias = oc_in(&J.c, 4, 1);
    J.y = oc_zero(&J.c, 20 * 8);
    J.dy = oc_in(&J.c, 20, 1);
    double dx[35], dw[28] = {0}, db[4] = {0};
    J.be->op->gemm_dx(J.be, TN_SET, dx, 7, J.dy, 4, &J.weight, 5);
    J.be->op->gemm_dw(J.be, dw, J.dy, 4, J.x, 7, 5, 4, 7);
    J.be->op->bias_bwd(J.be, db, J.dy, 4, 5, 4);
    oc_grad("gemm dx", J.x, 35, dx, gemm_loss, NULL, REL);
    oc_grad("gemm dw", (double *)(uintptr_t)J.weight.master, 28, dw, gemm_loss, NULL, REL);
    oc_grad("gemm bias", J.bias, 4, db, gemm_loss, NULL, REL);
    oc_done(&J.c);
}

static double embed_loss(void *v) {
    J.be->op->embed(J.be, J.y, J.w, false, J.ids, J.T, J.D);
    return cot(J.y, J.dy, zu(J.T, J.D));
}

TEST(ops_grad_embed) {
    start(9, 5, 0);
    J.w = oc_in(&J.c, 4 * 5, 1);
    J.ids = oc_ids(&J.c, 9, 4);
    J.y = oc_zero(&J.c, 45 * 8);
    J.dy = oc_in(&J.c, 45, 1);
    double dw[20] = {0};
    J.be->op->embed_bwd(J.be, dw, J.dy, J.ids, 9, 5);
    oc_grad("embedding", J.w, 20, dw, embed_loss, NULL, REL);
    oc_done(&J.c);
}

static double norm_loss(void *v) {
    J.be->op->rms_norm(J.be, TN_SET, J.y, J.G * J.D, J.rstd, J.x, J.G * J.D, J.w, J.T, J.G, J.D, 1e-5);
    return cot(J.y, J.dy, zu(J.T, J.G * J.D));
}

TEST(ops_grad_norm) {
    start(3, 9, 2);
    J.x = oc_in(&J.c, 54, 1);
    J.w = oc_in(&J.c, 9, 1);
    J.y = oc_zero(&J.c, 54 * 8);
    J.dy = oc_in(&J.c, 54, 1);
    J.rstd = oc_zero(&J.c, 6 * 8);
    double dx[54], dw[9] = {0};
    norm_loss(NULL);
    J.be->op->rms_norm_bwd(J.be, TN_SET, dx, 18, dw, J.dy, 18, J.x, 18, J.rstd, J.w, 3, 2, 9);
    oc_grad("norm dx", J.x, 54, dx, norm_loss, NULL, REL);
    oc_grad("norm dw", J.w, 9, dw, norm_loss, NULL, REL);
    oc_done(&J.c);
}

static double rope_loss(void *v) { /* in place: on a copy */
    memcpy(J.y, J.x, zu(J.T, J.G * J.D) * 8);
    J.be->op->rope(J.be, TN_SET, J.y, J.G * J.D, J.y, J.G * J.D, J.ids, J.w, J.bias, J.T, J.G, 0, J.D, 6, 1);
    return cot(J.y, J.dy, zu(J.T, J.G * J.D));
}

TEST(ops_grad_rope) {
    start(3, 8, 2);
    J.x = oc_in(&J.c, 48, 1);
    J.y = oc_zero(&J.c, 48 * 8);
    J.dy = oc_in(&J.c, 48, 1);
    J.ids = oc_ids(&J.c, 3, 20);
    J.w = oc_zero(&J.c, 60 * 8);
    J.bias = oc_zero(&J.c, 60 * 8);
    for (int i = 0; i < 60; i++) {
        J.w[i] = tn_cos(0.4 * i);
        J.bias[i] = tn_sin(0.4 * i);
    }
    double dx[48];
    memcpy(dx, J.dy, sizeof dx);
    J.be->op->rope(J.be, TN_SET, dx, 16, dx, 16, J.ids, J.w, J.bias, 3, 2, 0, 8, 6, -1);
    oc_grad("rope dx", J.x, 48, dx, rope_loss, NULL, REL);
    oc_done(&J.c);
}

static double act_loss(void *v) {
    J.be->op->act_gate(J.be, J.act, J.y, J.x, J.T, J.D);
    return cot(J.y, J.dy, zu(J.T, J.D));
}

TEST(ops_grad_act) {
    for (int act = TN_SILU; act <= TN_GELU_TANH; act++) {
        start(6, 10, 0);
        J.act = (tn_act)act;
        J.x = oc_in(&J.c, 120, 2);
        J.y = oc_zero(&J.c, 60 * 8);
        J.dy = oc_in(&J.c, 60, 1);
        double dx[120];
        J.be->op->act_gate_bwd(J.be, J.act, dx, J.dy, J.x, 6, 10);
        oc_grad(act ? "gelu" : "silu", J.x, 120, dx, act_loss, NULL, REL);
        oc_done(&J.c);
    }
}

TEST(ops_gelu_formula) {
    for (double x = -6; x <= 6; x += 0.37) {
        double gu[2] = {x, 1}, h, u = sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x);
        OC_REF64->op->act_gate(OC_REF64, TN_GELU_TANH, &h, gu, 1, 1);
        CHECK_NEAR(h, 0.5 * x * (1 + tanh(u)), 1e-12, 1e-15);
        OC_REF64->op->act_gate(OC_REF64, TN_SILU, &h, gu, 1, 1);
        CHECK_NEAR(h, x / (1 + exp(-x)), 1e-12, 0);
    }
}

static double rowdot_loss(void *v) {
    J.be->op->rowdot(J.be, J.y, J.x, J.w, J.T, J.D);
    return cot(J.y, J.dy, (size_t)J.T);
}

TEST(ops_grad_rowdot) {
    start(4, 21, 0);
    J.x = oc_in(&J.c, 84, 1);
    J.w = oc_in(&J.c, 21, 1);
    J.y = oc_zero(&J.c, 4 * 8);
    J.dy = oc_in(&J.c, 4, 1);
    double dx[84], dw[21] = {0};
    J.be->op->rowdot_bwd(J.be, dx, dw, J.dy, J.x, J.w, 4, 21);
    oc_grad("rowdot dx", J.x, 84, dx, rowdot_loss, NULL, REL);
    oc_grad("rowdot dw", J.w, 21, dw, rowdot_loss, NULL, REL);
    oc_done(&J.c);
}

static double attn_loss(void *v) {
    const tn_attn *a = &J.f.a;
    int ld = (a->heads + 2 * a->kv_heads) * a->head_dim, ldo = a->heads * a->head_dim;
    J.be->op->kv_write(J.be, J.pool, J.x, ld, a);
    J.be->op->attn(J.be, J.y, ldo, J.lse, J.x, ld, J.pool, a);
    return cot(J.y, J.dy, zu(a->n_tok, ldo));
}

static void attn_grad(const int *parent, const int *len, int n, int H, int G, int d, int window) {
    start(0, 0, 0);
    J.f = oc_forest_new(&J.c, parent, len, n, H, G, d, window);
    const tn_attn *a = &J.f.a;
    int ld = (H + 2 * G) * d, ldo = H * d;
    size_t nx = zu(a->n_tok, ld), ny = zu(a->n_tok, ldo);
    J.pool = oc_zero(&J.c, (size_t)J.f.n_block * J.be->op->kv_block_bytes(J.be, G, d));
    J.x = oc_in(&J.c, nx, 1);
    J.y = oc_zero(&J.c, ny * 8);
    J.lse = oc_zero(&J.c, zu(a->n_tok, H) * 8);
    J.dy = oc_in(&J.c, ny, 1);
    double *dx = oc_zero(&J.c, nx * 8);
    attn_loss(NULL);
    J.be->op->attn_bwd(J.be, dx, ld, J.dy, ldo, J.y, ldo, J.lse, J.x, ld, J.pool, a);
    oc_grad("attention dqkv", J.x, nx, dx, attn_loss, NULL, REL);
    oc_done(&J.c);
}

TEST(ops_grad_attn) {
    static const int one = -1, len7 = 7, len35 = 35, parent[5] = {-1, 0, 0, 1, -1}, len[5] = {5, 3, 4, 2, 3};
    attn_grad(&one, &len7, 1, 1, 1, 5, 0);
    attn_grad(&one, &len7, 1, 4, 2, 3, 3);
    attn_grad(parent, len, 5, 4, 2, 3, 0);
    attn_grad(parent, len, 5, 2, 1, 4, 4);
    attn_grad(&one, &len35, 1, 1, 1, 2, 0);
}

static double head_loss(void *v) {
    double logp[8], entropy[8], lse[8];
    J.be->op->weight_pack(J.be, &J.weight);
    J.head.logp = logp;
    J.head.entropy = entropy;
    J.head.lse = lse;
    J.be->op->head(J.be, &J.head);
    size_t R = (size_t)J.head.rows;
    return cot(logp, J.d_logp, R) + cot(entropy, J.d_entropy, R) + cot(lse, J.d_lse, R);
}

/* log sum_v p_v^2 against the sum written down plainly, over more than one tile. */
static void plain_sum_sq(const double *lse, const double *log_sum_sq) {
    const double *x = J.x, *w = J.weight.master;
    for (int r = 0; r < J.head.rows; r++) {
        double sum = 0;
        for (int v = 0; v < J.weight.out; v++) {
            double z = 0;
            for (int i = 0; i < 4; i++) z += x[4 * r + i] * w[4 * v + i];
            sum += exp(2 * (z * J.head.inv_temp - lse[r]));
        }
        CHECK_NEAR(log_sum_sq[r], log(sum), 1e-13, 0);
    }
}

TEST(ops_grad_head) {
    start(5, 4, 1030); /* more than one tile */
    int V = J.G;
    J.x = oc_in(&J.c, 20, 1);
    J.weight = oc_weight(&J.c, V, 4, 1);
    int32_t target[5] = {3, 1029, -1, 0, 1024};
    J.d_logp = oc_in(&J.c, 5, 1);
    J.d_entropy = oc_in(&J.c, 5, 1);
    J.d_lse = oc_in(&J.c, 5, 1);
    J.head.rows = 5;
    J.head.x = J.x;
    J.head.w = &J.weight;
    J.head.inv_temp = 1.25;
    J.head.target = target;
    double lse[5], entropy[5], sum_sq[5], dx[20], *dw = oc_zero(&J.c, zu(V, 4) * 8);
    J.head.lse = lse;
    J.head.entropy = entropy;
    J.head.log_sum_sq = sum_sq;
    J.be->op->head(J.be, &J.head);
    plain_sum_sq(lse, sum_sq);
    J.head.log_sum_sq = NULL;
    tn_head_bwd g = {.rows = 5, .x = J.x, .w = &J.weight, .inv_temp = 1.25, .target = target, .lse = lse,
                     .entropy = entropy, .d_logp = J.d_logp, .d_entropy = J.d_entropy, .d_lse = J.d_lse, .dx = dx, .dw = dw};
    J.be->op->head_bwd(J.be, &g);
    oc_grad("head dx", J.x, 20, dx, head_loss, NULL, REL);
    double *master = (double *)(uintptr_t)J.weight.master;
    static const int rows[] = {0, 3, 1023, 1024, 1029};
    double top = 0;
    for (int i = 0; i < V * 4; i++) top = fmax(top, fabs(dw[i]));
    for (int i = 0; i < 5; i++) /* scaled by the largest of all rows */
        oc_grad("head dw", master + rows[i] * 4, 4, dw + rows[i] * 4, head_loss, NULL, 1e-6);
    CHECK(top > 0.1);
    oc_done(&J.c);
}
