/* AdamW against torch's formula in double, sums of squares, finiteness. */
#include "base/mathx.h"
#include "ops_case.h"
#include <math.h>

/* p: n step */
static void case_adamw(oc *c, const int *p) {
    size_t n = (size_t)p[0];
    void *w = oc_out(c, "p", n + 5), *m = oc_out(c, "m", n + 5), *v = oc_out_set(c, "v", n + 5, 0.25);
    c->be->op->adamw(c->be, w, oc_in(c, n, 1), m, v, n,
                        &(tn_adamw){1e-3, 0.9, 0.95, 1e-8, 0.1, 0.5, p[1], TN_MOMENTS_FULL, 0, 0, NULL});
    double *s = oc_out_double(c, "sumsq", (n + TN_NORM_BLOCK - 1) / TN_NORM_BLOCK);
    c->be->op->sumsq(c->be, w, n, NULL, s);
}
static const int sizes[][OC_PARAMS] = {{1, 1}, {15, 2}, {33, 7}, {4096, 3}, {4097, 100}, {100003, 1000}};
TEST(ops_adamw_sumsq) { oc_all("case_adamw", case_adamw, sizes, 6, 3e-6, TN_F32); }

/* Runs of numbers that rest (no gradient, no moments) among others, with and without decay. */
TEST(ops_adamw_at_rest) {
    static const char *const kernels[] = {"scalar", "avx2", "avx512"};
    enum { N = 203 };
    float start[4][N], p[2][4][N];
    for (int i = 0; i < N; i++) {
        bool rests = (i >= 16 && i < 64) || (i > 150 && i < 200);
        start[0][i] = i % 9 == 4 ? -0.0f : (float)tn_sin(i);
        for (int k = 1; k < 4; k++) start[k][i] = rests ? 0 : (float)(i % 7) * 0.01f;
        if (i % 40 == 20) start[1 + i / 40 % 3][i] = 1e-40f;
    }
    for (int k = 0; k < 3; k++) {
        tn_backend *b[2] = {OC_REF32, oc_backend("cpu", TN_F32, kernels[k], 2)};
        for (int wd = 0; b[1] && wd < 2; wd++) {
            for (int side = 0; side < 2; side++) {
                float(*x)[N] = p[side];
                memcpy(x, start, sizeof start);
                b[side]->op->adamw(b[side], x[0], x[1], x[2], x[3], N,
                                   &(tn_adamw){.lr = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .wd = 0.1 * wd, .step = 3, .gscale = 0.5});
            }
            CHECK_MSG(memcmp(p[0], p[1], sizeof p[0]) == 0, "%s, decay %d", kernels[k], wd);
        }
    }
}

TEST(ops_adamw_formula) { /* two steps of torch.optim.AdamW written out */
    double p = 0.7, m = 0, v = 0, lr = 1e-2, b1 = 0.9, b2 = 0.999, eps = 1e-8, wd = 0.01, g[2] = {0.3, -1.1};
    double q = p, qm = 0, qv = 0;
    for (int t = 1; t <= 2; t++) {
        double gi = g[t - 1] * 0.5;
        q *= 1 - lr * wd;
        qm = b1 * qm + (1 - b1) * gi;
        qv = b2 * qv + (1 - b2) * gi * gi;
        double bc1 = 1 - pow(b1, t), bc2 = 1 - pow(b2, t);
        q -= lr / bc1 * qm / (sqrt(qv) / sqrt(bc2) + eps);
        OC_REF64->op->adamw(OC_REF64, &p, &g[t - 1], &m, &v, 1,
                            &(tn_adamw){lr, b1, b2, eps, wd, 0.5, t, TN_MOMENTS_FULL, 0, 0, NULL});
        CHECK_NEAR(p, q, 1e-14, 0);
        CHECK_NEAR(m, qm, 1e-14, 0);
        CHECK_NEAR(v, qv, 1e-14, 0);
    }
}

TEST(ops_sumsq_value) {
    enum { N = 10000 };
    static float x[N];
    double want = 0;
    for (int i = 0; i < N; i++) {
        x[i] = (float)tn_sin(i);
        want += (double)x[i] * x[i];
    }
    double block[4] = {0, 0, 0, 5};
    OC_REF32->op->sumsq(OC_REF32, x, 0, NULL, block);
    CHECK(block[0] == 0);
    OC_REF32->op->sumsq(OC_REF32, x, N, NULL, block);
    CHECK_NEAR(block[0] + block[1] + block[2], want, 1e-12, 0);
    CHECK(block[3] == 5);
}

TEST(ops_finite) {
    static const char *const kernels[] = {"scalar", "avx2", "avx512"};
    enum { N = 5003 };
    static float x[N];
    for (int k = 0; k < 4; k++) {
        tn_backend *b = k == 3 ? OC_REF32 : oc_backend("cpu", TN_F32, kernels[k], 2);
        if (!b) continue;
        for (int i = 0; i < N; i++) x[i] = i % 2 ? -3.4e38f : 1e-42f;
        CHECK(b->op->finite(b, x, N) && b->op->finite(b, x, 0));
        static const int at[] = {0, 1, 15, 16, 2500, 4999, N - 1};
        for (int i = 0; i < 7; i++)
            for (int bad = 0; bad < 3; bad++) {
                float old = x[at[i]];
                x[at[i]] = bad == 0 ? NAN : bad == 1 ? INFINITY : -INFINITY;
                CHECK(!b->op->finite(b, x, N));
                CHECK(b->op->finite(b, x, (size_t)at[i]));
                x[at[i]] = old;
            }
    }
}
