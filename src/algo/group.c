/* Group baselines and the advantages of critic-free methods; see group.h. */
#include "algo/group.h"
#include <math.h>

/* Moments of the values that are not NaN. */
static tn_moments moments_of(const double *x, int n) {
    tn_moments m = {0};
    for (int i = 0; i < n; i++)
        if (!isnan(x[i])) tn_moments_add(&m, x + i, 1);
    return m;
}
static double std_of(const tn_moments *m, int ddof) {
    double v = tn_moments_var(m, ddof);
    return v > 0 ? sqrt(v) : 0;
}
static bool all_equal(const double *x, int n) {
    const double *first = NULL;
    for (int i = 0; i < n; i++) {
        if (isnan(x[i])) continue;
        if (first && *first != x[i]) return false;
        first = first ? first : x + i;
    }
    return true;
}

static double advantage_of(tn_baseline kind, double r, const tn_moments *g, double group_std,
                           double batch_std, double eps) {
    double d = r - g->mean;
    switch (kind) {
    case TN_BASE_GROUP_MEAN: return d;
    case TN_BASE_GROUP_ZSCORE: return d / (group_std + eps);
    case TN_BASE_BATCH_SCALE: return d / (batch_std + eps);
    case TN_BASE_LEAVE_ONE_OUT: return g->count > 1 ? d * g->count / (g->count - 1) : 0;
    }
    return 0;
}

tn_status tn_group_advantages(tn_baseline kind, const double *reward, int n_group,
                              const int *group_off, int ddof, double eps, double *advantage,
                              tn_metrics *m, tn_err *e) {
    if (n_group < 1) return tn_fail(e, TN_ARG, "group advantages: no groups");
    int n = group_off[n_group];
    for (int i = 0; i < n; i++)
        if (isinf(reward[i]))
            return tn_fail(e, TN_NUMERIC,
                           "group advantages: reward of response %d is %g, expected a number", i,
                           reward[i]);
    tn_moments batch = moments_of(reward, n);
    if (!(batch.count > 0))
        return tn_fail(e, TN_ARG, "group advantages: none of %d responses has a reward", n);
    double batch_std = std_of(&batch, ddof);
    for (int k = 0; k < n_group; k++) {
        int lo = group_off[k], hi = group_off[k + 1];
        if (hi - lo < 2)
            return tn_fail(e, TN_ARG,
                           "group advantages: group %d has %d member(s), expected at least 2", k,
                           hi - lo);
        tn_moments g = moments_of(reward + lo, hi - lo);
        bool flat =
            all_equal(reward + lo, hi - lo); /* exactly 0, whatever the rounding of the mean */
        double std = flat ? 0 : std_of(&g, ddof);
        for (int i = lo; i < hi; i++)
            advantage[i] = isnan(reward[i]) || flat
                               ? 0
                               : advantage_of(kind, reward[i], &g, std, batch_std, eps);
        if (m) tn_metrics_mean(m, "frac_reward_zero_std", flat, 1);
    }
    if (m) {
        tn_metrics_mean(m, "reward", batch.mean * batch.count, batch.count);
        tn_metrics_put(m, TN_METRIC_MEAN, "reward_std", std_of(&batch, 1));
    }
    return TN_OK;
}

tn_status tn_advantages_normalise(double *advantage, int n, int ddof, double eps, tn_err *e) {
    tn_moments m = moments_of(advantage, n);
    if (!(m.count > ddof))
        return tn_fail(e, TN_ARG, "advantages: %d value(s) with ddof %d; a larger batch is needed",
                       n, ddof);
    double std = std_of(&m, ddof);
    for (int i = 0; i < n; i++) advantage[i] = (advantage[i] - m.mean) / (std + eps);
    return TN_OK;
}

double tn_kl_shaped_reward(double reward, double beta, double sum_k1) {
    return reward - beta * sum_k1;
}

tn_status tn_reinforce_pp(int n_seq, const int *off, const double *logp, const double *ref_logp,
                          const double *score, double kl_coef, double gamma, double *reward,
                          double *to_go, double *advantage, tn_err *e) {
    tn_token_rewards(n_seq, off, logp, ref_logp, score, TN_KL_K1, kl_coef, reward, NULL);
    for (int s = 0; s < n_seq; s++) {
        double go = 0;
        for (int t = off[s + 1] - 1; t >= off[s]; t--)
            advantage[t] = to_go[t] = go = reward[t] + gamma * go;
    }
    return tn_whiten(advantage, off[n_seq], 0, true, e);
}

void tn_remax_advantages(const double *token_kl, int n, double reward, double greedy,
                         double kl_coef, double gamma, double *advantage) {
    double f = reward - greedy;
    for (int t = n - 1; t >= 0; t--, f *= gamma) advantage[t] = f - kl_coef * token_kl[t];
}

void tn_nash_advantages(const double *logp, const double *ref_logp, int n, double p, double beta,
                        double *advantage) {
    for (int t = 0; t < n; t++) advantage[t] = p - 0.5 - beta * (logp[t] - ref_logp[t]);
}

void tn_geometric_mixture(const double *policy, const double *ref, int n, double a, double *logp) {
    for (int i = 0; i < n; i++) logp[i] = (1 - a) * policy[i] + a * ref[i];
    double lse = tn_logsumexp(logp, n);
    for (int i = 0; i < n; i++) logp[i] -= lse;
}

double tn_soft_overlong(double length, double max, double cache) {
    double start = max - cache;
    return length <= start ? 0 : length >= max ? -1 : (start - length) / cache;
}

double tn_vapo_lambda(double alpha, double length) { return 1 - 1 / (alpha * length); }

double tn_dead_group(double p, int g) {
    double right = 1, wrong = 1;
    for (int i = 0; i < g; i++) right *= p, wrong *= 1 - p;
    return right + wrong;
}
