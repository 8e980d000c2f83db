/* Measures on preference pairs; see pick.h. */
#include "algo/pick.h"
#include "algo/group.h"
#include "algo/obs.h"
#include <math.h>

const tn_opt_row tn_strength_rows[] = {
    {"strength-border", TN_OPT_REAL, offsetof(tn_strength_opt, border), "0.1", NULL, 0, 1e9, NULL,
     "X",
     "Pairs whose mean margin over the reward models lies within X of 0 get a soft label, those "
     "below -X are turned round."},
    {"strength-ddof", TN_OPT_INT, offsetof(tn_strength_opt, ddof), "0", NULL, 0, 1, NULL, "N",
     "Variance over M reward models divided by M - N."},
    TN_OPT_LAST,
};

tn_status tn_pair_strength(const tn_strength_opt *o, const double *margin, int n_member,
                           tn_strength *s, tn_err *e) {
    tn_moments m = {0};
    TN_TRY(tn_opt_between(o->border, 0, HUGE_VAL, "strength", "strength-border", e));
    if (n_member < 1 || n_member <= o->ddof)
        return tn_fail(e, TN_ARG, "strength: %d reward model(s) with ddof %d", n_member,
                       (int)o->ddof);
    tn_moments_add(&m, margin, n_member);
    if (!isfinite(m.m2)) return tn_fail(e, TN_NUMERIC, "strength: margins are not finite");
    *s = (tn_strength){.mean = m.mean, .std = sqrt(tn_moments_var(&m, (int)o->ddof))};
    for (int i = 0; i < n_member; i++) {
        s->agree += (margin[i] > 0) / (double)n_member;
        s->soft += tn_sigmoid(margin[i]) / n_member;
    }
    s->action = m.mean > o->border    ? TN_PAIR_KEEP
                : m.mean < -o->border ? TN_PAIR_FLIP
                                      : TN_PAIR_SOFT;
    return TN_OK;
}

tn_status tn_west_of_n(const double *score, int n, double threshold, int *best, int *worst,
                       double *p, bool *keep, tn_err *e) {
    if (n < 2) return tn_fail(e, TN_ARG, "west of n: %d sample(s), expected at least 2", n);
    for (int i = 0; i < n; i++)
        if (!isfinite(score[i]))
            return tn_fail(e, TN_NUMERIC, "west of n: score %d is %g, expected a finite number", i,
                           score[i]);
    bool differ = tn_best_worst(score, n, best, worst);
    *p = tn_sigmoid(score[*best] - score[*worst]);
    *keep = differ && *p >= threshold;
    return TN_OK;
}

double tn_margin_entropy(double d) { /* -log s(d) s(d) - log s(-d) s(-d), from the unlikely side */
    d = fabs(d);
    return tn_softplus(-d) + d * tn_sigmoid(-d);
}

double tn_binary_entropy(double p) {
    return (p > 0 ? -p * tn_log(p) : 0) + (p < 1 ? -(1 - p) * tn_log1p(-p) : 0);
}

double tn_bald(const double *p, int n_member) {
    double mean = 0, entropy = 0;
    for (int i = 0; i < n_member; i++) {
        mean += p[i] / n_member;
        entropy += tn_binary_entropy(p[i]) / n_member;
    }
    return tn_binary_entropy(mean) - entropy;
}

double tn_label_smooth(double p, double d, double eta) {
    return (1 - eta) * p + eta * tn_sigmoid(d);
}
