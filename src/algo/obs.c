/* Checks of algorithm inputs. The first bad number is named by array, sequence and token. */
#include "algo/obs.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

typedef struct array_row {
    unsigned bit;
    const char *name;
    size_t field;
    bool per_seq, from_model;
} array_row;

#define FIELD(f) offsetof(tn_obs, f)
static const array_row arrays[] = {
    {TN_NEED_LOGP, "logp", FIELD(logp), false, true},
    {TN_NEED_ENTROPY, "entropy", FIELD(entropy), false, true},
    {TN_NEED_VALUE, "value", FIELD(value), false, true},
    {TN_NEED_SCORE, "score", FIELD(score), true, true},
    {TN_NEED_SUM_SQ, "log_sum_sq_p", FIELD(log_sum_sq_p), false, true},
    {TN_NEED_KL, "kl", FIELD(kl), false, true},
    {TN_NEED_RKL, "rkl", FIELD(rkl), false, true},
    {TN_NEED_JSD, "jsd", FIELD(jsd), false, true},
    {TN_NEED_REF_LOGP, "ref_logp", FIELD(ref_logp), false, false},
    {TN_NEED_OLD_LOGP, "old_logp", FIELD(old_logp), false, false},
    {TN_NEED_ADVANTAGE, "advantage", FIELD(advantage), false, false},
    {TN_READ_OLD_VALUE, "old_value", FIELD(old_value), false, false},
    {TN_READ_RET, "ret", FIELD(ret), false, false},
    {TN_NEED_LENGTH, "length", FIELD(length), true, false},
};
#define N_ARRAYS ((int)(sizeof arrays / sizeof arrays[0]))

static const char *cause(const array_row *a) {
    return a->from_model
               ? "the model's output is broken: lower the learning rate, clip gradients, or"
                 " look for a damaged checkpoint"
               : "it was computed before this pass: look at the data or the reference model";
}

static tn_status check_array(const tn_obs *x, const array_row *a, const char *who, tn_err *e) {
    const double *v;
    memcpy(&v, (const char *)x + a->field, sizeof v);
    if (!v && (a->per_seq || x->off[x->n_seq] > 0))
        return tn_fail(e, TN_ARG, "%s: needs the array '%s', found none", who, a->name);
    for (int s = 0; s < x->n_seq; s++) {
        int lo = a->per_seq ? s : x->off[s], hi = a->per_seq ? s + 1 : x->off[s + 1];
        for (int t = lo; t < hi; t++) {
            if (isfinite(v[t])) continue;
            if (a->per_seq)
                return tn_fail(e, TN_NUMERIC,
                               "%s: %s of sequence %d is %g, expected a finite number; %s", who,
                               a->name, s, v[t], cause(a));
            return tn_fail(e, TN_NUMERIC,
                           "%s: %s of token %d of sequence %d is %g, expected a finite number; %s",
                           who, a->name, t - lo, s, v[t], cause(a));
        }
    }
    return TN_OK;
}

tn_status tn_total_check(double total, double here, const char *what, const char *who, tn_err *e) {
    if (total >= here && total > 0 && isfinite(total)) return TN_OK;
    return tn_fail(e, TN_ARG, "%s: the whole batch is said to have %g %s, this call alone has %g",
                   who, total, what, here);
}

static tn_status check_tokens(const tn_obs *x, const char *who, tn_err *e) {
    if (!x->off || x->off[0] != 0)
        return tn_fail(e, TN_ARG, "%s: sequence offsets must start at 0", who);
    for (int s = 0; s < x->n_seq; s++)
        if (tn_obs_len(x, s) <= 0)
            return tn_fail(e, TN_ARG,
                           "%s: sequence %d has no scored token (empty mask); drop rows whose"
                           " completion is empty or was truncated away", who, s);
    return TN_OK;
}

static tn_status check_pairs(const tn_obs *x, const char *who, tn_err *e) {
    if (x->n_pair <= 0) return tn_fail(e, TN_ARG, "%s: needs pairs, found none", who);
    if (!x->chosen || !x->rejected)
        return tn_fail(e, TN_ARG, "%s: pairs without chosen or rejected sequence numbers", who);
    TN_TRY(tn_total_check(x->total.pair, x->n_pair, "pairs", who, e));
    for (int p = 0; p < x->n_pair; p++) {
        int c = x->chosen[p], r = x->rejected[p];
        if (c < 0 || c >= x->n_seq || r < 0 || r >= x->n_seq || c == r)
            return tn_fail(
                e, TN_ARG,
                "%s: pair %d joins sequences %d and %d, expected two different ones of %d", who, p,
                c, r, x->n_seq);
        if (x->margin && !isfinite(x->margin[p]))
            return tn_fail(e, TN_NUMERIC, "%s: margin of pair %d is %g, expected a finite number",
                           who, p, x->margin[p]);
        if (x->p_chosen && !(x->p_chosen[p] >= 0 && x->p_chosen[p] <= 1))
            return tn_fail(e, TN_NUMERIC, "%s: label probability of pair %d is %g, expected 0 to 1",
                           who, p, x->p_chosen[p]);
    }
    return TN_OK;
}

static tn_status check_groups(const tn_obs *x, const char *who, tn_err *e) {
    if (x->n_group <= 0)
        return tn_fail(e, TN_ARG, "%s: needs groups of sequences, found none", who);
    if (!x->group_off || x->group_off[0] != 0 || x->group_off[x->n_group] > x->n_seq)
        return tn_fail(e, TN_ARG, "%s: group offsets must start at 0 and stay within %d sequences",
                       who, x->n_seq);
    TN_TRY(tn_total_check(x->total.group, x->n_group, "groups", who, e));
    for (int g = 0; g < x->n_group; g++)
        if (x->group_off[g + 1] - x->group_off[g] < 2)
            return tn_fail(e, TN_ARG, "%s: group %d has %d member(s), expected at least 2", who, g,
                           x->group_off[g + 1] - x->group_off[g]);
    return TN_OK;
}

tn_status tn_obs_check(const tn_obs *x, unsigned reads, const char *who, tn_err *e) {
    if (x->n_seq <= 0) return tn_fail(e, TN_ARG, "%s: called without sequences", who);
    bool tokens = (reads & TN_READ_TOKENS) != 0;
    if (tokens) TN_TRY(check_tokens(x, who, e));
    if (reads & TN_READ_PAIRS) TN_TRY(check_pairs(x, who, e));
    if (reads & TN_READ_GROUPS) TN_TRY(check_groups(x, who, e));
    for (int i = 0; i < N_ARRAYS; i++)
        if ((reads & arrays[i].bit) && (tokens || arrays[i].per_seq))
            TN_TRY(check_array(x, &arrays[i], who, e));
    return TN_OK;
}

tn_status tn_opt_between(double v, double lo, double hi, const char *who, const char *name,
                         tn_err *e) {
    if (v >= lo && v <= hi) return TN_OK;
    if (hi >= HUGE_VAL)
        return tn_fail(e, TN_ARG, "%s: %s is %g, expected a number of at least %g", who, name, v,
                       lo);
    return tn_fail(e, TN_ARG, "%s: %s is %g, expected a number from %g to %g", who, name, v, lo,
                   hi);
}

void tn_obs_token_metric(const tn_obs *x, const double *v, const char *name, tn_metrics *m) {
    if (!v) return;
    double sum = 0;
    for (int s = 0; s < x->n_seq; s++) sum += tn_obs_sum(x, v, s);
    tn_metrics_mean(m, name, sum, x->off[x->n_seq]);
}
