/* Pooled heads: gradients through head and loss to rows and parameters, independence of rows,
 * noise; latents. */
#include "algo/latent.h"
#include "algo_case.h"

#define TOL 2e-9
static problem P;
enum { W = 5, MAXW = 128 };

typedef struct whole { /* head, loss and penalty as one function of rows and parameters */
    const tn_pooled_head *h;
    const void *opt;
    double x[8 * W], w[MAXW], noise[8 * 16], dx[8 * W], dw[MAXW];
    bool train;
} whole;

static double whole_loss(whole *a) {
    tn_pooled rows = {8, W, a->x, a->w, a->train ? a->noise : NULL};
    a->h->forward(a->opt, &rows, P.score, P.extra);
    double loss = problem_loss(&P, a->h->algo, a->opt);
    tn_pooled_grad g = {P.g_score, P.g_extra, a->dx, a->dw};
    memset(a->dx, 0, sizeof a->dx), memset(a->dw, 0, sizeof a->dw);
    a->h->backward(a->opt, &rows, &g);
    if (a->h->penalty) loss += a->h->penalty(a->opt, W, a->w, a->dw);
    return loss;
}
static void whole_differences(whole *a, const char *what) {
    static const double c[] = {45.0 / 60, -9.0 / 60, 1.0 / 60};
    double dx[8 * W], dw[MAXW], size = 0;
    int n_w = (int)a->h->params(a->opt, W);
    whole_loss(a);
    memcpy(dx, a->dx, sizeof dx), memcpy(dw, a->dw, sizeof dw);
    for (int i = 0; i < 8 * W + n_w; i++) {
        double *v = i < 8 * W ? a->x + i : a->w + i - 8 * W,
               got = i < 8 * W ? dx[i] : dw[i - 8 * W];
        double v0 = *v, h = 1e-3, d = 0;
        for (int k = 1; k <= 3; k++) {
            *v = v0 + k * h;
            d += c[k - 1] * whole_loss(a);
            *v = v0 - k * h;
            d -= c[k - 1] * whole_loss(a);
        }
        *v = v0;
        d /= h;
        size += fabs(d);
        CHECK_MSG(fabs(got - d) <= TOL * (1 + fabs(d)),
                  "%s: number %d is %.12g, differences say %.12g", what, i, got, d);
    }
    CHECK_MSG(size > 1e-2, "%s: no gradient, nothing was tested", what);
}
static void whole_random(whole *a, const tn_pooled_head *h, const void *opt, uint64_t seed) {
    memset(a, 0, sizeof *a);
    a->h = h, a->opt = opt, a->train = true;
    problem_random(&P, 8, seed);
    CHECK(h->params(opt, W) <= MAXW);
    CHECK_OK(h->check(opt, W, e));
    tn_pooled_noise(seed, 99, MAXW, a->w);
    for (int i = 0; i < MAXW; i++) a->w[i] *= 0.4;
    for (int i = 0; i < 8; i++) {
        tn_pooled_noise(seed, 100 + (uint64_t)i, W, a->x + i * W);
        if (h->noise)
            tn_pooled_noise(seed, (uint64_t)i, h->noise(opt), a->noise + i * h->noise(opt));
    }
}

TEST(algo_pooled_gradients) {
    static whole a;
    static const char *const kl[] = {"sum", "mean_first"}, *const form[] = {"paper", "code"};
    for (int i = 0; i < 2; i++) {
        tn_inform_opt o = {4, 0.3, kl[i]};
        whole_random(&a, &tn_pooled_inform, &o, 7);
        whole_differences(&a, kl[i]);
        a.train = false;
        whole_differences(&a, "evaluation");
        tn_odin_opt q = {0.7, 0.4, form[i]};
        whole_random(&a, &tn_pooled_odin, &q, 8);
        whole_differences(&a, form[i]);
    }
}
TEST(algo_pooled_losses) {
    tn_inform_opt o = inform_defaults();
    static const char *const form[] = {"paper", "code"};
    problem_random(&P, 8, 21);
    problem_differences(&P, &tn_algo_inform, &o, NULL, NULL, TOL, "inform");
    problem_additive(&P, &tn_algo_inform, &o, 'p', "inform");
    for (int i = 0; i < 2; i++) {
        tn_odin_opt q = {0.6, 1, form[i]};
        problem_random(&P, 8, 22);
        problem_differences(&P, &tn_algo_odin, &q, NULL, NULL, TOL, form[i]);
        double rho = tn_metrics_find(&P.m, "length_correlation/quality");
        for (int s = 0; s < 8; s++) P.score[s] = -0.1 * P.score[s]; /* the other sign, and small */
        problem_differences(&P, &tn_algo_odin, &q, NULL, NULL, TOL, form[i]);
        CHECK_NEAR(tn_metrics_find(&P.m, "length_correlation/quality"), -rho, 1e-12, 0);
    }
}
/* Where the log-variance is clamped nothing flows back through it. */
TEST(algo_pooled_clamp) {
    static whole a;
    tn_inform_opt o = {1, 0.3, "sum"};
    whole_random(&a, &tn_pooled_inform, &o, 3);
    for (int j = 0; j < W; j++) a.w[W + j] = 0;
    a.w[W] = 1;
    for (int i = 0; i < 8; i++) a.x[i * W] = i % 2 ? 11 : -11;
    whole_differences(&a, "clamped");
    for (int j = 0; j < W; j++) CHECK(a.dw[W + j] == 0);
    CHECK(P.extra[1] > 1e4 && isfinite(P.extra[1]));
}
/* A row's numbers are its own; gradients are sums over rows in order. */
TEST(algo_pooled_rows) {
    static whole a;
    static const tn_pooled_head *const heads[] = {&tn_pooled_inform, &tn_pooled_odin};
    tn_inform_opt o = {4, 0.3, "mean_first"};
    tn_odin_opt q = odin_defaults();
    const void *const opts[] = {&o, &q};
    for (int h = 0; h < 2; h++) {
        double dw[MAXW] = {0}, dx[W];
        whole_random(&a, heads[h], opts[h], 5);
        int n_noise = heads[h]->noise ? heads[h]->noise(opts[h]) : 0;
        whole_loss(&a);
        double gs[8], ge[8], overlap[MAXW] = {0};
        memcpy(gs, P.g_score, sizeof gs), memcpy(ge, P.g_extra, sizeof ge);
        for (int i = 0; i < 8; i++) {
            double score, extra;
            tn_pooled one = {1, W, a.x + i * W, a.w, n_noise ? a.noise + i * n_noise : NULL};
            heads[h]->forward(opts[h], &one, &score, &extra);
            CHECK(score == P.score[i] && extra == P.extra[i]);
            tn_pooled_grad g = {gs + i, ge + i, dx, dw};
            memset(dx, 0, sizeof dx);
            heads[h]->backward(opts[h], &one, &g);
            CHECK(memcmp(dx, a.dx + i * W, sizeof dx) == 0);
            g.x = g.w = NULL; /* not wanted */
            heads[h]->backward(opts[h], &one, &g);
        }
        if (heads[h]->penalty) {
            heads[h]->penalty(opts[h], W, a.w, overlap);
            for (size_t j = 0; j < MAXW; j++) dw[j] += overlap[j];
        }
        CHECK(memcmp(dw, a.dw, sizeof dw) == 0);
        CHECK(tn_pooled_find(heads[h]->name) == heads[h]);
    }
    CHECK(tn_pooled_find("linear") == NULL && tn_pooled_find(NULL) == NULL);
}
/* Of normalised heads only the angle counts. */
TEST(algo_pooled_overlap) {
    double w[] = {3, 4, 0, 6, 0, 8}, small[6], dw[6] = {0};
    tn_odin_opt q = {1, 2, "code"};
    for (int j = 0; j < 6; j++) small[j] = w[j] * (j < 3 ? 0.1 : 0.01);
    CHECK_NEAR(tn_pooled_odin.penalty(&q, 3, w, NULL), 2 * 18 / 50.0, 1e-14, 0);
    CHECK_NEAR(tn_pooled_odin.penalty(&q, 3, small, dw), 2 * 18 / 50.0, 1e-14, 0);
    CHECK(fabs(tn_pooled_dot(dw, small, 3)) < 1e-15 &&
          fabs(dw[0]) > 0.1); /* along a head nothing changes */
    q.form = "paper";
    CHECK(tn_pooled_odin.penalty(&q, 3, w, NULL) == 36);
    memset(w, 0, sizeof w);
    q.form = "code";
    CHECK(tn_pooled_odin.penalty(&q, 3, w, dw) == 0 && isfinite(dw[5]));
}
TEST(algo_pooled_noise) {
    double a[2000], b[2000], mean = 0, sq = 0;
    tn_pooled_noise(3, 8, 2000, a);
    tn_pooled_noise(3, 8, 2000, b);
    CHECK(memcmp(a, b, sizeof a) == 0);
    for (int i = 0; i < 2000; i++) mean += a[i] / 2000, sq += a[i] * a[i] / 2000;
    CHECK(fabs(mean) < 0.1 && fabs(sq - 1) < 0.15);
    tn_pooled_noise(3, 9, 2000, b);
    CHECK(memcmp(a, b, sizeof a) != 0);
    tn_pooled_noise(4, 8, 2000, b);
    CHECK(memcmp(a, b, sizeof a) != 0);
}
TEST(algo_pooled_refuses) {
    tn_inform_opt o = inform_defaults();
    tn_odin_opt q = odin_defaults();
    problem_random(&P, 8, 3);
    P.g = (tn_grad){0};
    P.x.n_extra = 0;
    CHECK_FAIL(tn_algo_inform.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "needs 1 more number");
    P.x.n_extra = 1;
    P.extra[0] = INFINITY;
    CHECK_FAIL(tn_algo_inform.step(&o, &P.x, &P.g, &P.m, e), TN_NUMERIC, "for sequence 0 is inf");
    P.extra[0] = 0;
    P.extra[4] = NAN;
    CHECK_FAIL(tn_algo_inform.step(&o, &P.x, &P.g, &P.m, e), TN_NUMERIC, "for sequence 4 is nan");
    CHECK_FAIL(tn_algo_odin.step(&q, &P.x, &P.g, &P.m, e), TN_NUMERIC, "for sequence 4 is nan");
    P.extra[4] = 0;
    P.x.length = NULL;
    CHECK_FAIL(tn_algo_odin.step(&q, &P.x, &P.g, &P.m, e), TN_ARG, "'length'");
    P.x.length = P.length;
    P.x.n_pair = 3;
    CHECK_FAIL(tn_algo_odin.step(&q, &P.x, &P.g, &P.m, e), TN_ARG, "the whole batch");
    P.x.n_pair = 4;
    q.length = -1;
    CHECK_FAIL(tn_algo_odin.step(&q, &P.x, &P.g, &P.m, e), TN_ARG, "length-weight is -1");
    o.beta = NAN;
    CHECK_FAIL(tn_algo_inform.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "ib-weight is nan");
    o.latents = 0;
    CHECK_FAIL(tn_pooled_inform.check(&o, W, e), TN_ARG, "latents is 0");
    CHECK_FAIL(tn_pooled_odin.check(&q, 0, e), TN_ARG, "width 0");
}
/* Correlation with something constant is 0, without a gradient, and not a NaN. */
TEST(algo_odin_constant) {
    tn_odin_opt q = {1, 1, "code"};
    problem_random(&P, 8, 3);
    for (int s = 0; s < 8; s++) P.length[s] = 12;
    tn_reward_opt r = reward_defaults();
    double loss = problem_loss(&P, &tn_algo_odin, &q), g = P.g_score[0];
    CHECK(tn_metrics_find(&P.m, "length_correlation/quality") == 0);
    for (int s = 0; s < 8; s++) P.score[s] += P.extra[s];
    CHECK_NEAR(problem_loss(&P, &tn_algo_reward, &r) + 1, loss, 1e-14, 0);
    CHECK_NEAR(P.g_score[0], g, 1e-13, 0);
}

TEST(algo_latent_clusters) {
    /* a chain of cores with a border row at its end, and one row too far away */
    static const double x[] = {0, 0.9, 1.8, 2.7, 3.6, 5.5};
    int label[6], n;
    CHECK_OK(tn_dbscan(x, 6, 1, 1, 3, label, &n, e));
    CHECK(n == 1 && label[0] == 0 && label[4] == 0 && label[5] == -1);
    CHECK_OK(tn_dbscan(x, 6, 1, 1, 4, label, &n, e));
    CHECK(n == 0 && label[2] == -1);
    CHECK_OK(tn_dbscan(x, 6, 1, 0.5, 1, label, &n, e));
    CHECK(n == 6 && label[5] == 5);
    double eps;
    CHECK_OK(tn_latent_eps(x, 6, 1, 0.95, &eps, e));
    CHECK_NEAR(eps, 1.9, 1e-14, 0);
    CHECK_OK(tn_latent_eps(x, 6, 1, 0.5, &eps, e));
    CHECK_NEAR(eps, 0.9, 1e-14, 0);
    static const double far[] = {-7, 1, 0};
    CHECK_OK(tn_latent_eps(far, 3, 1, 1, &eps, e));
    CHECK(eps == 7);
    CHECK_OK(tn_latent_eps(far, 2, 1, 1, &eps, e));
    CHECK(eps == 8);
    CHECK_FAIL(tn_latent_eps(x, 1, 1, 0.5, &eps, e), TN_ARG, "quantile");
    CHECK_FAIL(tn_dbscan(x, 6, 1, 0, 1, label, &n, e), TN_ARG, "eps is 0");
    double bad[] = {0, NAN};
    CHECK_FAIL(tn_dbscan(bad, 2, 1, 1, 1, label, &n, e), TN_NUMERIC, "row 1 is nan");
}
/* The distance does not depend on the axes' units; tails as in tables. */
TEST(algo_latent_distance) {
    double x[60], y[60], q[] = {1, -0.5, 2}, p[3];
    static const double mix[] = {2, 0.3, -1, 0, 5, 0.7, 0.1, 0, -3};
    tn_latent_fit f, g;
    tn_pooled_noise(1, 1, 60, x);
    for (int i = 0; i <= 20; i++) {
        const double *from = i < 20 ? x + 3 * i : q;
        double *to = i < 20 ? y + 3 * i : p;
        for (int j = 0; j < 3; j++) to[j] = 7 + tn_pooled_dot(mix + 3 * j, from, 3);
    }
    CHECK_OK(tn_latent_fit_new(&f, x, 20, 3, 1, 0, false, e));
    CHECK_OK(tn_latent_fit_new(&g, y, 20, 3, 1, 0, false, e));
    CHECK_NEAR(tn_latent_distance2(&g, p), tn_latent_distance2(&f, q), 1e-11, 0);
    CHECK(tn_latent_distance2(&f, f.mean) == 0);
    tn_latent_free(&f), tn_latent_free(&g);
    CHECK_FAIL(tn_latent_fit_new(&f, x, 3, 3, 1, 0, false, e), TN_NUMERIC, "not positive definite");
    CHECK_OK(tn_latent_fit_new(&f, x, 3, 3, 1, 1e-3, false, e));
    tn_latent_free(&f);
    CHECK_FAIL(tn_latent_fit_new(&f, x, 1, 3, 1, 1, false, e), TN_ARG, "ddof");
    static const struct {
        int dof;
        double x;
    } at5[] = {{1, 3.841458820694124},   {2, 5.991464547107979},   {3, 7.814727903251179},
               {10, 18.307038053275146}, {99, 123.22522145336181}, {512, 565.74758}};
    for (size_t i = 0; i < 6; i++)
        CHECK_NEAR(tn_chi2_tail(at5[i].x, at5[i].dof), 0.05, i < 5 ? 1e-12 : 1e-6, 0);
    CHECK(tn_chi2_tail(0, 3) == 1 && tn_chi2_tail(1e4, 512) < 1e-300);
}

/* Ledoit and Wolf's intensity from its definition; what it is for: few rows, many dimensions. */
TEST(algo_latent_shrinkage) {
    enum { N = 12, D = 20 };
    static double x[N * D], far[N * D];
    double s[D * D], m = 0, d = 0, b = 0;
    tn_latent_fit f, g;
    tn_pooled_noise(2, 1, N * D, x);
    for (int i = 0; i < N * D; i++) x[i] *= 1 + i % D % 3, far[i] = x[i] + (i / D % 2 ? 9 : 0);
    CHECK_FAIL(tn_latent_fit_new(&f, x, N, D, 0, 0, false, e), TN_NUMERIC, "not positive definite");
    CHECK_OK(tn_latent_fit_new(&f, x, N, D, 0, 0, true, e));
    CHECK_OK(tn_latent_fit_new(&g, x, N, D, 0, 1e-9, false, e));
    memcpy(s, g.cov, sizeof s);
    for (int j = 0; j < D; j++) m += s[j * D + j] / D;
    for (int j = 0; j < D * D; j++) d += pow(s[j] - (j % (D + 1) ? 0 : m), 2);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < D * D; j++) {
            double p = (x[i * D + j / D] - f.mean[j / D]) * (x[i * D + j % D] - f.mean[j % D]);
            b += pow(p - s[j], 2) / (N * N);
        }
    CHECK(b < d && f.shrinkage > 0.1);
    CHECK_NEAR(f.shrinkage, b / d, 1e-7, 0);
    CHECK_NEAR(f.cov[1], (1 - b / d) * s[1], 1e-7, 0);
    CHECK_NEAR(f.cov[D * D - 2], (1 - b / d) * s[D * D - 2], 1e-7, 0);
    CHECK_NEAR(f.cov[0], (1 - b / d) * s[0] + b / d * m, 1e-7, 0);
    CHECK(tn_latent_outliers(&f, x, N, 0.01) == 0 && tn_latent_outliers(&f, far, N, 0.01) == 0.5);
    tn_latent_free(&f), tn_latent_free(&g);
}
