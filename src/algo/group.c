/* Group baselines and the advantages of critic-free methods; see group.h. */
#include "algo/group.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    case TN_BASE_LEAVE_ONE_OUT: return g->count > 1 ? d * g->count / (g->count - 1) : NAN;
    }
    return NAN;
}

/* NaN where a response has nothing to learn from: no reward, or no other to compare with. */
static tn_status compare(tn_baseline kind, const double *reward, int n_group, const int *group_off,
                         int ddof, double eps, double *advantage, tn_metrics *m, tn_err *e) {
    if (n_group < 1) return tn_fail(e, TN_ARG, "group advantages: no groups");
    int n = group_off[n_group];
    for (int i = 0; i < n; i++)
        if (isinf(reward[i]))
            return tn_fail(e, TN_NUMERIC,
                           "group advantages: reward of response %d is %g, expected a number", i,
                           reward[i]);
    tn_moments batch = moments_of(reward, n);
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
        for (int i = lo; i < hi; i++) {
            double d = advantage_of(kind, reward[i], &g, std, batch_std, eps);
            advantage[i] = flat && !isnan(d) ? 0 : d;
        }
        bool zero = kind == TN_BASE_BATCH_SCALE ? batch_std == 0 : flat;
        if (m && g.count > 1) tn_metrics_mean(m, "frac_reward_zero_std", zero, 1);
    }
    return TN_OK;
}

static void nan_to_zero(double *x, int n) {
    for (int i = 0; i < n; i++)
        if (isnan(x[i])) x[i] = 0;
}

tn_status tn_group_advantages(tn_baseline kind, const double *reward, int n_group,
                              const int *group_off, int ddof, double eps, double *advantage,
                              tn_metrics *m, tn_err *e) {
    TN_TRY(compare(kind, reward, n_group, group_off, ddof, eps, advantage, m, e));
    nan_to_zero(advantage, group_off[n_group]);
    return TN_OK;
}

tn_status tn_advantages_normalise(double *advantage, int n, int ddof, double eps, tn_err *e) {
    tn_moments m = moments_of(advantage, n);
    if (!(m.count > ddof))
        return tn_fail(e, TN_ARG, "advantages: %g value(s) with ddof %d; a larger batch is needed",
                       m.count, ddof);
    double std = std_of(&m, ddof);
    for (int i = 0; i < n; i++) advantage[i] = (advantage[i] - m.mean) / (std + eps);
    return TN_OK;
}

double tn_kl_shaped_reward(double reward, double beta, double sum_k1) {
    return reward - beta * sum_k1;
}

/* ---- rewards of several sources, in TRL 1.16's order ---- */

#define EPS 1e-4 /* TRL's, beside every std */

#define AT(f) offsetof(tn_grpo_advantage_opt, f)
const tn_opt_row tn_grpo_advantage_rows[] = {
    {"scale-rewards", TN_OPT_CHOICE, AT(scale), "group", "group|batch|none|true|false", 0, 0, NULL,
     NULL,
     "Divide advantages by the standard deviation of the rewards of the group, of the batch, or "
     "not at all (Dr. GRPO); true is group, false is none."},
    {"multi-objective-aggregation", TN_OPT_CHOICE, AT(aggregation), "sum_then_normalize",
     "sum_then_normalize|normalize_then_sum", 0, 0, NULL, NULL,
     "Several rewards: sum them before the comparison in the group, or compare each alone (GDPO)."},
    TN_OPT_LAST,
};
#undef AT
#define AT(f) offsetof(tn_rloo_advantage_opt, f)
const tn_opt_row tn_rloo_advantage_rows[] = {
    {"beta", TN_OPT_REAL, AT(beta), "0.05", NULL, 0, 1e9, NULL, "X",
     "Weight of the KL to the reference, which is taken off a response's reward."},
    {"normalize-advantages", TN_OPT_BOOL, AT(normalise), "false", NULL, 0, 0, NULL, NULL,
     "Give a batch's advantages mean 0 and standard deviation 1."},
    {"reward-clip-range", TN_OPT_LIST, AT(clip), NULL, NULL, 0, 0, NULL, "LOW HIGH",
     "Hold rewards between two numbers before the KL is taken off."},
    TN_OPT_LAST,
};

static int count(const tn_group_rewards *r) { return r->group_off[r->n_group]; }

static const double *cell(const tn_group_rewards *r, int i, int source) {
    return r->reward + (size_t)i * (size_t)r->n_source + (size_t)source;
}

/* total = sum of weight x reward over the sources that have an answer. */
static void weigh(const tn_group_rewards *r) {
    for (int i = 0; i < count(r); i++) {
        double sum = NAN;
        for (int k = 0; k < r->n_source; k++) {
            double v = *cell(r, i, k) * r->weight[k];
            if (!isnan(v)) sum = isnan(sum) ? v : sum + v;
        }
        r->total[i] = sum;
    }
}

static void reward_metrics(const double *total, int n, tn_metrics *m) {
    tn_moments all = {0};
    for (int i = 0; i < n; i++)
        if (!isnan(total[i])) tn_moments_add(&all, total + i, 1);
    if (!m || all.count == 0) return;
    tn_metrics_mean(m, "reward", all.mean * all.count, all.count);
    if (all.count > 1)
        tn_metrics_put(m, TN_METRIC_MEAN, "reward_std", sqrt(tn_moments_var(&all, 1)));
}

/* z-score over the batch; equal values give 0, not the mean's rounding over eps. */
static tn_status standardise(double *x, int n, tn_err *e) {
    if (!all_equal(x, n)) return tn_advantages_normalise(x, n, 1, EPS, e);
    for (int i = 0; i < n; i++) x[i] = isnan(x[i]) ? NAN : 0;
    return TN_OK;
}

/* z-score of every source in its group, weighted and summed; then the sum's z-score in the batch. */
static tn_status normalise_then_sum(const tn_group_rewards *r, tn_metrics *m, tn_err *e) {
    int n = count(r);
    double *sum = r->advantage, *one = r->scratch, *column = r->total;
    for (int i = 0; i < n; i++) sum[i] = isnan(r->total[i]) ? NAN : 0;
    for (int k = 0; k < r->n_source; k++) {
        for (int i = 0; i < n; i++) column[i] = *cell(r, i, k);
        TN_TRY(tn_group_advantages(TN_BASE_GROUP_ZSCORE, column, r->n_group, r->group_off, 1, EPS,
                                   one, NULL, e));
        for (int i = 0; i < n; i++) sum[i] += r->weight[k] * one[i];
    }
    weigh(r); /* the total again, which lent its place to the columns */
    if (m) tn_metrics_mean(m, "frac_reward_zero_std", all_equal(sum, n), 1);
    TN_TRY(standardise(sum, n, e));
    nan_to_zero(sum, n);
    return TN_OK;
}

tn_baseline tn_grpo_baseline(const tn_grpo_advantage_opt *o) {
    bool group = strcmp(o->scale, "group") == 0 || strcmp(o->scale, "true") == 0;
    return group                            ? TN_BASE_GROUP_ZSCORE
           : strcmp(o->scale, "batch") == 0 ? TN_BASE_BATCH_SCALE
                                            : TN_BASE_GROUP_MEAN;
}

tn_status tn_grpo_advantages(const tn_grpo_advantage_opt *o, const tn_group_rewards *r,
                             tn_metrics *m, tn_err *e) {
    weigh(r);
    reward_metrics(r->total, count(r), m);
    if (strcmp(o->aggregation, "normalize_then_sum") == 0) return normalise_then_sum(r, m, e);
    return tn_group_advantages(tn_grpo_baseline(o), r->total, r->n_group, r->group_off, 1, EPS, r->advantage, m,
                               e);
}

static tn_status clip_range(const tn_opt_list *l, double *low, double *high, tn_err *e) {
    *low = -HUGE_VAL, *high = HUGE_VAL;
    if (l->n == 0) return TN_OK;
    char *end[2] = {NULL, NULL};
    if (l->n == 2) *low = strtod(l->v[0], &end[0]), *high = strtod(l->v[1], &end[1]);
    if (l->n == 2 && end[0] != l->v[0] && !*end[0] && end[1] != l->v[1] && !*end[1] && *low < *high)
        return TN_OK;
    return tn_fail(e, TN_ARG, "--reward-clip-range takes two numbers, the lower one first, e.g. "
                              "--reward-clip-range -5 5");
}

tn_status tn_rloo_advantage_check(const tn_rloo_advantage_opt *o, tn_err *e) {
    double low, high;
    return clip_range(&o->clip, &low, &high, e);
}

tn_status tn_rloo_advantages(const tn_rloo_advantage_opt *o, const tn_group_rewards *r,
                             const double *kl, tn_metrics *m, tn_err *e) {
    int n = count(r);
    double low, high, *shaped = r->scratch;
    TN_TRY(clip_range(&o->clip, &low, &high, e));
    weigh(r);
    reward_metrics(r->total, n, m);
    for (int i = 0; i < n; i++) {
        double v = r->total[i];
        v = v < low ? low : v > high ? high : v;
        shaped[i] = o->beta != 0 ? tn_kl_shaped_reward(v, o->beta, kl[i]) : v;
    }
    TN_TRY(compare(TN_BASE_LEAVE_ONE_OUT, shaped, r->n_group, r->group_off, 1, EPS, r->advantage, m,
                   e));
    if (o->normalise) TN_TRY(standardise(r->advantage, n, e));
    nan_to_zero(r->advantage, n);
    return TN_OK;
}

tn_status tn_group_totals(const tn_group_rewards *r, tn_metrics *m, tn_err *e) {
    weigh(r);
    reward_metrics(r->total, count(r), m);
    for (int i = 0; i < count(r); i++) r->advantage[i] = r->total[i];
    return TN_OK;
}

/* ---- other critic-free methods ---- */

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
