/* Several linear heads on one trunk, each trained on a bootstrap resample of the pairs: what an ensemble of reward
 * models says, at the price of one forward (Eisenstein et al. 2023, 2312.09244, on how little heads alone vary;
 * resamples as in Osband et al. 2016, 1602.04621).
 *
 *   w = [K x width];  extra[k] = w_k . e,  score = mean_k extra[k]
 *   L = (1/(K B)) sum_pairs sum_k b_ik softplus(-(r_k^c - r_k^r - margin)),   b_ik ~ Poisson(1)
 *   dL/dr_k^c = -b_ik s(-d_k) / (K B),   dL/dr_k^r the opposite
 * b_ik is a function of (seed, row i, k): a head sees the same resample in every epoch. Without rows (evaluation) it
 * is 1. */
#include "algo/losses.h"
#include "algo/obs.h"
#include "algo/pooled.h"
#include "base/rng.h"
#include <math.h>

#define AT(f) offsetof(tn_many_opt, f)
const tn_opt_row tn_many_rows[] = {
    {"heads", TN_OPT_INT, AT(heads), "4", NULL, 2, 64, NULL, "K",
     "Heads of an ensemble on one trunk, each trained on its own bootstrap resample of the rows."},
    TN_OPT_LAST,
};

static int heads(const void *opt) { return (int)((const tn_many_opt *)opt)->heads; }

static void forward(const void *opt, const tn_pooled *p, double *score, double *extra) {
    int K = heads(opt);
    for (int i = 0; i < p->n; i++) {
        score[i] = 0;
        for (int k = 0; k < K; k++) {
            double r = tn_pooled_dot(p->w + (size_t)k * (size_t)p->width, p->x + (size_t)i * (size_t)p->width, p->width);
            extra[i * K + k] = r;
            score[i] += r / K;
        }
    }
}

static void backward(const void *opt, const tn_pooled *p, const tn_pooled_grad *g) {
    size_t K = (size_t)heads(opt), width = (size_t)p->width;
    for (size_t i = 0; i < (size_t)p->n; i++)
        for (size_t k = 0; k < K; k++) {
            double c = g->extra[i * K + k] + g->score[i] / (double)K;
            for (size_t j = 0; j < width; j++) {
                if (g->x) g->x[i * width + j] += c * p->w[k * width + j];
                if (g->w) g->w[k * width + j] += c * p->x[i * width + j];
            }
        }
}

static void fold(const void *opt, int width, const double *w, double *to) {
    for (int j = 0; j < width; j++) {
        to[j] = 0;
        for (int k = 0; k < heads(opt); k++) to[j] += w[k * width + j] / heads(opt);
    }
}

static int parts(const void *opt, tn_pooled_part part[TN_POOLED_PARTS]) {
    part[0] = (tn_pooled_part){"member", heads(opt), 0};
    return 1;
}
static size_t params(const void *opt, int width) { return (size_t)heads(opt) * (size_t)width; }
static tn_status check(const void *opt, int width, tn_err *e) {
    if (width < 1) return tn_fail(e, TN_ARG, "ensemble: rows of width %d", width);
    return tn_opt_between(heads(opt), 2, 64, "ensemble", "heads", e);
}

/* How often head k's resample has the row: Poisson(1), by inversion. */
static int times(const tn_many_opt *o, const tn_obs *x, int seq, int k) {
    if (!x->origin) return 1;
    tn_rng r = tn_rng_stream(o->seed, TN_RNG_RESAMPLE, tn_mix(x->origin[seq]) + (uint64_t)k);
    double u = tn_rng_unit(&r), p = 0.36787944117144233, sum = p;
    int n = 0;
    while (u >= sum && n < 12) p /= ++n, sum += p;
    return n;
}

static void spread(const tn_obs *x, int K, int s, tn_metrics *m) {
    double var = 0;
    for (int k = 0; k < K; k++) var += (x->extra[s * K + k] - x->score[s]) * (x->extra[s * K + k] - x->score[s]) / K;
    tn_metrics_mean(m, "heads_std", sqrt(var), 1);
    tn_metrics_put(m, TN_METRIC_MIN, "min_reward", x->score[s]);
    tn_metrics_mean(m, "mean_reward", x->score[s], 1);
    tn_metrics_put(m, TN_METRIC_MAX, "max_reward", x->score[s]);
}

static tn_status step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_many_opt *o = opt;
    int K = heads(o);
    double loss = 0, each = 1 / (K * x->total.pair);
    TN_TRY(tn_obs_check(x, TN_READ_PAIRS | TN_NEED_SCORE, "ensemble", e));
    TN_TRY(tn_extra_check(x, K, "ensemble", e));
    for (int i = 0; i < x->n_pair; i++) {
        int c = x->chosen[i], r = x->rejected[i];
        for (int k = 0; k < K; k++) {
            double d = x->extra[c * K + k] - x->extra[r * K + k] - (x->margin ? x->margin[i] : 0);
            double b = times(o, x, c, k) * each, push = b * tn_sigmoid(-d);
            loss += b * tn_softplus(-d);
            if (g->extra) g->extra[c * K + k] -= push, g->extra[r * K + k] += push;
        }
        tn_metrics_mean(m, "accuracy", x->score[c] > x->score[r], 1);
        tn_metrics_mean(m, "margin", x->score[c] - x->score[r], 1);
        spread(x, K, c, m);
        spread(x, K, r, m);
    }
    g->loss = loss;
    return TN_OK;
}

const tn_algo tn_algo_many = {
    .name = "reward-heads",
    .summary = "several reward heads on bootstrap resamples",
    .coupling = TN_COUPLE_PAIR,
    .needs = TN_NEED_SCORE | TN_NEED_EXTRA,
    .options = tn_many_rows,
    .opt_size = sizeof(tn_many_opt),
    .step = step,
};

const tn_pooled_head tn_pooled_many = {
    .name = "ensemble",
    .summary = "several heads on bootstrap resamples",
    .algo = &tn_algo_many,
    .extras = heads,
    .check = check,
    .params = params,
    .forward = forward,
    .backward = backward,
    .fold = fold,
    .parts = parts,
};
