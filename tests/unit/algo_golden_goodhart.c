/* Over-optimisation in one dimension: quality q and nuisance l are N(0, 1), the proxy is q + b l,
 * gold is q - c (l^2 - 1). Policies are distributions of the proxy x on a grid, since gold depends
 * on a policy through x alone: E[gold | x] = x/s^2 - c ((b/s^2)^2 x^2 - (b/s)^2), s^2 = 1 + b^2.
 * Best of n, KL-optimal tilting and shaping are those of the library, and its fit must find the
 * law. */
#include "algo/group.h"
#include "algo_case.h"
#include "base/mathx.h"
#include "eval/overopt.h"

enum { N = 4000 };
typedef struct toy {
    double b, c, s2, step, x[N], log_p[N];
} toy;
static toy T;

static void grid(const kase *k, double sigmas) {
    T.b = hp(k, "b", 0), T.c = hp(k, "c", 0);
    T.s2 = 1 + T.b * T.b;
    T.step = 2 * sigmas * sqrt(T.s2) / N;
    for (int i = 0; i < N; i++) {
        T.x[i] = (i + 0.5 - N / 2) * T.step;
        T.log_p[i] = -0.5 * T.x[i] * T.x[i] / T.s2 -
                     0.5 * tn_log(2 * 3.14159265358979323846 * T.s2) + tn_log(T.step);
    }
}
static double gold(double x) {
    return x / T.s2 - T.c * (T.b * T.b / (T.s2 * T.s2) * x * x - T.b * T.b / T.s2);
}
static void expect(const double *q, double *proxy, double *truth) {
    *proxy = *truth = 0;
    for (int i = 0; i < N; i++) *proxy += q[i] * T.x[i], *truth += q[i] * gold(T.x[i]);
}

static void bon_curve(kase *k) {
    static double p[N], q[N];
    vec n = in_vec(k, "n"), d = {.n = n.n}, proxy = {.n = n.n}, truth = {.n = n.n};
    grid(k, 9);
    for (int i = 0; i < N; i++) { /* of a cell, exactly: best of n raises it to a power */
        double h = T.step / 2, r = sqrt(2 * T.s2);
        p[i] = 0.5 * (tn_erf((T.x[i] + h) / r) - tn_erf((T.x[i] - h) / r));
    }
    for (int i = 0; i < n.n; i++) {
        d.v[i] = sqrt(tn_bon_kl(n.v[i]));
        tn_bon_exact(p, N, (int)n.v[i], q);
        expect(q, &proxy.v[i], &truth.v[i]);
    }
    want_metrics(k, "d", d.v, d.n);
    want_metrics(k, "proxy", proxy.v, proxy.n);
    want_metrics(k, "gold", truth.v, truth.n);
    tn_overopt f;
    double peak = 0, top = 0;
    CHECK_OK(tn_overopt_fit(TN_OVEROPT_BON, d.v, truth.v, n.n, 0, &f, e));
    CHECK(tn_overopt_peak(&f, &peak, &top) && f.points == n.n - 1);
    want_metric(k, "fit_alpha", f.alpha);
    want_metric(k, "fit_beta", f.beta);
    want_metric(k, "fit_d_peak", peak);
    want_metric(k, "fit_R_peak", top);
}

/* pi proportional to base exp(reward/beta), the optimum of E[reward] - beta KL; d = sqrt(KL(pi ||
 * base)). */
static double tilt(const double *reward, double beta, double *q) {
    double kl = 0, lse;
    for (int i = 0; i < N; i++) q[i] = T.log_p[i] + reward[i] / beta;
    lse = tn_logsumexp(q, N);
    for (int i = 0; i < N; i++) {
        double l = q[i] - lse;
        q[i] = tn_exp(l);
        kl += q[i] * (l - T.log_p[i]);
    }
    return sqrt(kl);
}
static void rl_curve(kase *k) {
    static double q[N];
    vec d = in_vec(k, "d"), proxy = {.n = d.n}, truth = {.n = d.n};
    grid(k, 16);
    for (int i = 0; i < d.n; i++) { /* d = s/(sqrt(2) beta) */
        double at = tilt(T.x, sqrt(T.s2 / 2) / d.v[i], q);
        CHECK_NEAR(at, d.v[i], 1e-10, 0);
        expect(q, &proxy.v[i], &truth.v[i]);
    }
    want_metrics(k, "gold", truth.v, truth.n);
    want_metrics(k, "proxy", proxy.v, proxy.n);
    tn_overopt f;
    double peak = 0, top = 0;
    CHECK_OK(tn_overopt_fit(TN_OVEROPT_BON, d.v, truth.v, d.n, 0, &f, e));
    CHECK(tn_overopt_peak(&f, &peak, &top) && f.rmse < 1e-9);
    want_metric(k, "alpha", f.alpha);
    want_metric(k, "beta", f.beta);
    want_metric(k, "d_peak", peak);
    want_metric(k, "R_peak", top);
    want_metric(k, "kl_coef_at_peak", sqrt(T.s2 / 2) / peak);
}

static void par_vs_raw(kase *k) {
    static double q[N], reward[N], ref[N];
    vec beta = in_vec(k, "beta_kl"), rows[2] = {{0}, {0}};
    static const char *const shapes[] = {"none", "par"};
    tn_shape_opt o = shape_defaults();
    o.k = hp(k, "k", 0);
    grid(k, 75);
    for (int i = 0; i < N; i++) ref[i] = hp(k, "reference_reward", 0);
    for (int w = 0; w < 2; w++) {
        tn_shape_state st = {0};
        memcpy(reward, T.x, sizeof reward);
        o.shape = shapes[w];
        CHECK_OK(tn_shape_rewards(&o, &st, ref, 1, NULL, reward, N, NULL, e));
        for (int i = 0; i < beta.n; i++) {
            double *row = rows[w].v + 3 * i;
            row[0] = tilt(reward, beta.v[i], q);
            expect(q, &row[1], &row[2]);
            rows[w].n += 3;
        }
    }
    want_metrics(k, "raw_d_proxy_gold", rows[0].v, rows[0].n);
    want_metrics(k, "par_d_proxy_gold", rows[1].v, rows[1].n);
}

const runner goodhart_runners[] = {
    {"gaussian_goodhart_bon", bon_curve},
    {"gaussian_goodhart_kl_optimum", rl_curve},
    {"gaussian_goodhart_par", par_vs_raw},
    {NULL, NULL},
};
