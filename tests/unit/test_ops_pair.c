/* Divergences of two heads in double: against sums written down plainly, against differences, and what is exact. */
#include "base/mathx.h"
#include "ops_case.h"
#include <math.h>

enum { R = 5, IN = 4, IN2 = 3, V = 1030 }; /* more than one tile */
typedef struct two {
    oc c;
    double *x, *x2, lse[R], lse2[R], entropy[R], kl[R], rkl[R], jsd[R], kl_mix[R], logp[R];
    double *d[6]; /* of kl, rkl, jsd, logp, entropy, lse */
    int32_t target[R];
    tn_weight w, w2;
    tn_head_pair pair;
} two;
static two T;

static void heads(void) {
    tn_backend *b = T.c.be;
    tn_head h = {.rows = R, .x = T.x, .w = &T.w, .inv_temp = T.pair.inv_temp, .target = T.target, .logp = T.logp,
                 .lse = T.lse, .entropy = T.entropy};
    tn_head h2 = {.rows = R, .x = T.x2, .w = &T.w2, .inv_temp = T.pair.inv_temp, .lse = T.lse2};
    b->op->weight_pack(b, &T.w);
    b->op->head(b, &h);
    b->op->head(b, &h2);
    b->op->head_pair(b, &T.pair);
}

static void start(tn_backend *b, double beta) {
    memset(&T, 0, sizeof T);
    T.c.be = b;
    T.x = oc_in(&T.c, R * IN, 1), T.x2 = oc_in(&T.c, R * IN2, 1);
    T.w = oc_weight(&T.c, V, IN, 1), T.w2 = oc_weight(&T.c, V, IN2, 1);
    for (int i = 0; i < 6; i++) T.d[i] = oc_in_double(&T.c, R, 1);
    static const int32_t target[R] = {3, 1029, -1, 0, 1024};
    memcpy(T.target, target, sizeof target);
    T.pair = (tn_head_pair){.rows = R, .x = T.x, .x2 = T.x2, .w = &T.w, .w2 = &T.w2, .inv_temp = 1.25, .beta = beta,
                            .lse = T.lse, .lse2 = T.lse2, .kl = T.kl, .rkl = T.rkl, .jsd = T.jsd, .kl_mix = T.kl_mix};
    heads();
}

static double loss(void *v) {
    const double *y[6] = {T.kl, T.rkl, T.jsd, T.logp, T.entropy, T.lse};
    double s = 0;
    heads();
    for (int k = 0; k < 6; k++)
        for (int r = 0; r < R; r++) s += y[k][r] * T.d[k][r];
    return s;
}

TEST(ops_pair_gradients) {
    static const double betas[] = {0.5, 0.1, 0.93};
    for (int k = 0; k < 3; k++) {
        start(OC_REF64, betas[k]);
        double dx[R * IN], *dw = oc_zero(&T.c, (size_t)V * IN * 8);
        tn_head_bwd g = {.rows = R, .x = T.x, .w = &T.w, .inv_temp = 1.25, .target = T.target, .lse = T.lse,
                         .entropy = T.entropy, .dx = dx, .dw = dw, .pair = &T.pair, .d_kl = T.d[0], .d_rkl = T.d[1],
                         .d_jsd = T.d[2], .d_logp = T.d[3], .d_entropy = T.d[4], .d_lse = T.d[5]};
        T.c.be->op->head_bwd(T.c.be, &g);
        oc_grad("pair dx", T.x, R * IN, dx, loss, NULL, 1e-7);
        double *master = (double *)(uintptr_t)T.w.master;
        static const int rows[] = {0, 3, 1023, 1024, 1029};
        for (int i = 0; i < 5; i++) oc_grad("pair dw", master + rows[i] * IN, IN, dw + rows[i] * IN, loss, NULL, 1e-6);
        oc_done(&T.c);
    }
}

/* Log-probs of row r of one of the models. */
static void log_probs(const double *x, const tn_weight *w, int r, double *lp) {
    const double *m = w->master;
    double sum = 0;
    for (int v = 0; v < V; v++) {
        lp[v] = 0;
        for (int i = 0; i < w->in; i++) lp[v] += x[r * w->in + i] * m[v * w->in + i] * 1.25;
        sum += tn_exp(lp[v]);
    }
    for (int v = 0; v < V; v++) lp[v] -= tn_log(sum);
}

TEST(ops_pair_formula) {
    double beta = 0.3, a[V], b[V];
    start(OC_REF64, beta);
    for (int r = 0; r < R; r++) {
        log_probs(T.x, &T.w, r, a);
        log_probs(T.x2, &T.w2, r, b);
        double kl = 0, rkl = 0, mix = 0, second = 0;
        for (int v = 0; v < V; v++) {
            double p = tn_exp(a[v]), q = tn_exp(b[v]), m = tn_log(beta * q + (1 - beta) * p);
            kl += p * (a[v] - b[v]), rkl += q * (b[v] - a[v]);
            mix += p * (a[v] - m), second += q * (b[v] - m);
        }
        CHECK_NEAR(T.kl[r], kl, 1e-12, 1e-14);
        CHECK_NEAR(T.rkl[r], rkl, 1e-12, 1e-14);
        CHECK_NEAR(T.kl_mix[r], mix, 1e-12, 1e-14);
        CHECK_NEAR(T.jsd[r], beta * second + (1 - beta) * mix, 1e-12, 1e-14);
        CHECK(kl > 0.1 && rkl > 0.1 && T.jsd[r] > 0);
    }
    oc_done(&T.c);
}

/* A model beside itself: 0 whatever the mixture, and no gradient, to the bit. */
TEST(ops_pair_of_equals_is_zero) {
    static const double betas[] = {1e-6, 0.1, 1.0 / 3, 0.5, 0.7, 0.999};
    for (int k = 0; k < 6; k++) {
        start(OC_REF32, betas[k]);
        float dx[R * IN];
        T.pair.x2 = T.x, T.pair.w2 = &T.w, T.pair.lse2 = T.lse;
        T.c.be->op->head_pair(T.c.be, &T.pair);
        for (int r = 0; r < R; r++) CHECK(T.kl[r] == 0 && T.rkl[r] == 0 && T.jsd[r] == 0 && T.kl_mix[r] == 0);
        tn_head_bwd g = {.rows = R, .x = T.x, .w = &T.w, .inv_temp = 1.25, .lse = T.lse, .dx = dx, .pair = &T.pair,
                         .d_kl = T.d[0], .d_jsd = T.d[2]};
        T.c.be->op->head_bwd(T.c.be, &g);
        for (int i = 0; i < R * IN; i++) CHECK(dx[i] == 0);
        oc_done(&T.c);
    }
}
