/* PPO's losses with one action a macro, as MA-RLHF's paper writes them (Chai et al. 2024,
 * 2410.02743); M macros in the whole batch, t over the tokens of macro k:
 *
 *   policy   rho_k = exp(sum_t (l_t - old_t))
 *            L = -(1/M) sum_k min(rho_k A_k, clip(rho_k) A_k) - c_H (1/N) sum H
 *            dL/dl_t = what ppo.c gives for the sum, for every t of the macro
 *   value    V_k = sum_i sigma_i V_{t+i},  L = coef (1/2M) sum_k (V_k - G_k)^2, clipped as in ppo.c
 *            dL/dV_{t+i} = sigma_i dL/dV_k
 * A_k and G_k are the advantage and the return of the macro's first token: tn_macro_gae gave all of
 * its tokens the same. A joint ratio leaves the clip range sooner than a token's: by n tokens'
 * log-ratios. */
#include "algo/macro.h"
#include "algo/ppo.h"
#include <string.h>

#define AT(f) offsetof(tn_macro_value_opt, f)
const tn_opt_row tn_macro_value_rows[] = {
    {"cliprange-value", TN_OPT_REAL, AT(value.clip), "0.2", NULL, 0, 1e9, "clip-value", "X",
     "Values of macros are held within X of those of the rollout; 0 is off."},
    {"vf-coef", TN_OPT_REAL, AT(value.coef), "0.1", NULL, 0, 1e9, NULL, "X",
     "Weight of the value loss."},
    {"macro-value", TN_OPT_CHOICE, AT(weight), "equal", "equal|unit|position", 0, 0,
     "value-function", NULL, "Weights of a macro's tokens in its value, as in the rollout."},
    TN_OPT_LAST,
};

static tn_status macros_check(const tn_obs *x, const char *who, tn_err *e) {
    if (x->n_macro < 1 || !x->macro_off)
        return tn_fail(e, TN_ARG, "%s: needs macro actions, found none", who);
    for (int k = 0, s = 0; k < x->n_macro; k++) {
        int t = x->macro_off[k], end = x->macro_off[k + 1];
        while (s < x->n_seq && x->off[s + 1] <= t) s++;
        if (t < 0 || end <= t || s == x->n_seq || end > x->off[s + 1])
            return tn_fail(e, TN_ARG,
                           "%s: macro %d has tokens %d to %d, expected at least one, of one "
                           "sequence",
                           who, k, t, end);
    }
    if (x->macro_off[0] != 0 || x->macro_off[x->n_macro] != x->off[x->n_seq])
        return tn_fail(e, TN_ARG, "%s: macros cover tokens %d to %d of %d, expected all", who,
                       x->macro_off[0], x->macro_off[x->n_macro], x->off[x->n_seq]);
    return tn_total_check(x->total.macro, x->n_macro, "macros", who, e);
}

static double sum_of(const double *v, int first, int end) {
    double sum = 0;
    for (int t = first; t < end; t++) sum += v[t];
    return sum;
}

static tn_status policy_step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m,
                             tn_err *e) {
    const tn_ppo_policy_opt *o = opt;
    double sum = 0, n = x->total.macro;
    TN_TRY(tn_ppo_policy_check(o, x, 0, "macro-policy", e));
    TN_TRY(macros_check(x, "macro-policy", e));
    if (o->reduction && strcmp(o->reduction, "token_mean") != 0)
        return tn_fail(e, TN_ARG,
                       "macro-policy: policy-reduction %s is for losses on tokens; this one is the "
                       "mean over macros",
                       o->reduction);
    for (int k = 0; k < x->n_macro; k++) {
        int first = x->macro_off[k], end = x->macro_off[k + 1];
        double d, l = sum_of(x->logp, first, end), old = sum_of(x->old_logp, first, end);
        sum += tn_ppo_policy_term(o, l, old, x->advantage[first], &d, m);
        for (int t = first; g->logp && t < end; t++) g->logp[t] += d / n;
    }
    g->loss = sum / n + tn_ppo_entropy_bonus(o, x, g, m);
    return TN_OK;
}

static tn_status value_step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m,
                            tn_err *e) {
    const tn_macro_value_opt *o = opt;
    tn_macro_weight w;
    double sum = 0, n = x->total.macro;
    TN_TRY(tn_macro_weight_parse(o->weight, &w, e));
    TN_TRY(tn_ppo_value_check(&o->value, x, 0, "macro-value", e));
    TN_TRY(macros_check(x, "macro-value", e));
    for (int k = 0; k < x->n_macro; k++) {
        int first = x->macro_off[k], len = x->macro_off[k + 1] - first;
        double v = tn_macro_mean(w, x->value + first, len), d;
        double old = o->value.clip > 0 ? tn_macro_mean(w, x->old_value + first, len) : 0;
        sum += tn_ppo_value_term(&o->value, v, old, x->ret[first], &d, m);
        double each = o->value.coef * d / n / tn_macro_norm(w, len);
        for (int i = 0; g->value && i < len; i++)
            g->value[first + i] += each * tn_macro_share(w, i, len);
    }
    g->loss = o->value.coef * sum / n;
    return TN_OK;
}

const tn_algo tn_algo_macro_policy = {
    .name = "macro-policy",
    .summary = "clipped policy loss with one ratio a macro action (MA-RLHF)",
    .coupling = TN_COUPLE_SEQUENCE,
    .needs = TN_NEED_LOGP | TN_NEED_OLD_LOGP | TN_NEED_ADVANTAGE | TN_NEED_STATS | TN_NEED_MACRO,
    .options = tn_ppo_policy_rows,
    .opt_size = sizeof(tn_ppo_policy_opt),
    .step = policy_step,
    .more_needs = tn_ppo_policy_more_needs,
};
const tn_algo tn_algo_macro_value = {
    .name = "macro-value",
    .summary = "value loss with one value a macro action (MA-RLHF)",
    .coupling = TN_COUPLE_SEQUENCE,
    .needs = TN_NEED_VALUE | TN_NEED_MACRO,
    .options = tn_macro_value_rows,
    .opt_size = sizeof(tn_macro_value_opt),
    .step = value_step,
};
