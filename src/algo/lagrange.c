/* The multiplier of constrained RLHF and what it mixes; see lagrange.h. In log lambda the step is
 * proportional to lambda: a lambda near 0 comes back slowly, so it starts at 1. The KL enters the
 * reward and the cost with opposite signs; the same sign in both would cancel at lambda = 1. */
#include "algo/lagrange.h"
#include "algo/obs.h"
#include <math.h>

#define AT(f) offsetof(tn_lagrange_opt, f)
const tn_opt_row tn_lagrange_rows[] = {
    {"cost-threshold", TN_OPT_REAL, AT(threshold), "0", NULL, 0, 0, "threshold", "X",
     "Expected cost that is allowed; negative is stricter. A policy below it is pushed by reward "
     "alone."},
    {"lambda-init", TN_OPT_REAL, AT(init), "1", NULL, 1e-9, 1e9, NULL, "X",
     "Price of one unit of cost at the start."},
    {"lambda-lr", TN_OPT_REAL, AT(lr), "0.1", NULL, 0, 1e9, NULL, "X",
     "Step of log lambda per unit of cost above the threshold, times lambda; 0 keeps it fixed."},
    {"lambda-max", TN_OPT_REAL, AT(max), "5", NULL, 1e-9, 1e9, NULL, "X", "Upper bound of lambda."},
    {"lambda-window", TN_OPT_INT, AT(window), "128", NULL, 1, TN_LAGRANGE_WINDOW,
     "episode-cost-window-size", "N",
     "Episodes whose mean cost decides; with few of them lambda swings."},
    {"lambda-delay", TN_OPT_INT, AT(delay), "0", NULL, 0, 1e9, "lambda-update-delay-steps", "N",
     "Updates before lambda moves."},
    {"clip-range-score", TN_OPT_REAL, AT(clip), "50", NULL, 1e-9, 1e9, NULL, "X",
     "Token rewards and costs, KL included, are cut to [-X, X]."},
    TN_OPT_LAST,
};

tn_status tn_lagrange_start(tn_lagrange *l, const tn_lagrange_opt *o, tn_err *e) {
    const char *who = "lagrange";
    TN_TRY(tn_opt_between(o->init, 1e-300, HUGE_VAL, who, "lambda-init", e));
    TN_TRY(tn_opt_between(o->max, o->init, HUGE_VAL, who, "lambda-max", e));
    TN_TRY(tn_opt_between(o->lr, 0, HUGE_VAL, who, "lambda-lr", e));
    TN_TRY(tn_opt_between((double)o->window, 1, TN_LAGRANGE_WINDOW, who, "lambda-window", e));
    TN_TRY(tn_opt_between(o->clip, 0, HUGE_VAL, who, "clip-range-score", e));
    *l = (tn_lagrange){.log_lambda = tn_log(o->init)};
    return TN_OK;
}

double tn_lagrange_lambda(const tn_lagrange *l) { return tn_exp(l->log_lambda); }

static double window_mean(const tn_lagrange *l, int64_t window) {
    int64_t n = l->costs < window ? l->costs : window;
    double sum = 0;
    for (int64_t i = l->costs - n; i < l->costs; i++) sum += l->cost[i % TN_LAGRANGE_WINDOW];
    return sum / (double)n;
}

tn_status tn_lagrange_update(tn_lagrange *l, const tn_lagrange_opt *o, const double *cost, int n,
                             tn_metrics *m, tn_err *e) {
    int unsafe = 0;
    if (n < 1) return tn_fail(e, TN_ARG, "lagrange: no episodes");
    for (int i = 0; i < n; i++)
        if (!isfinite(cost[i]))
            return tn_fail(
                e, TN_NUMERIC,
                "lagrange: cost of response %d is %g, expected a finite number; look at the cost "
                "model",
                i, cost[i]);
    for (int i = 0; i < n; i++) {
        l->cost[l->costs++ % TN_LAGRANGE_WINDOW] = cost[i];
        unsafe += cost[i] > 0;
    }
    double mean = window_mean(l, o->window), top = tn_log(o->max);
    if (l->steps++ >= o->delay)
        l->log_lambda += o->lr * tn_lagrange_lambda(l) * (mean - o->threshold);
    if (l->log_lambda > top) l->log_lambda = top;
    tn_metrics_put(m, TN_METRIC_MEAN, "safe/lambda", tn_lagrange_lambda(l));
    tn_metrics_put(m, TN_METRIC_MEAN, "safe/episode_cost", mean);
    tn_metrics_mean(m, "safe/unsafe", unsafe, n);
    return TN_OK;
}

static void cut(double *v, int n, double clip) {
    for (int t = 0; t < n; t++) v[t] = v[t] > clip ? clip : v[t] < -clip ? -clip : v[t];
}

void tn_lagrange_token_scores(const tn_lagrange_opt *o, int n_seq, const int *off,
                              const double *logp, const double *ref_logp, const double *reward,
                              const double *cost, tn_kl k, double kl_coef, double *token_reward,
                              double *token_cost, double *seq_kl) {
    tn_token_rewards(n_seq, off, logp, ref_logp, reward, k, kl_coef, token_reward, seq_kl);
    tn_token_rewards(n_seq, off, logp, ref_logp, cost, k, -kl_coef, token_cost, NULL);
    cut(token_reward, off[n_seq], o->clip);
    cut(token_cost, off[n_seq], o->clip);
}

void tn_lagrange_mix(double lambda, const double *reward_adv, const double *cost_adv, int n,
                     double *out) {
    for (int t = 0; t < n; t++) out[t] = (reward_adv[t] - lambda * cost_adv[t]) / (1 + lambda);
}
