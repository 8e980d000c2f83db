/* A*-PO, least squares on the optimal advantage (Brantley et al. 2025, 2505.20686).
 *
 * What maximises E[r] - beta KL(pi|ref) has beta log(pi/ref) = r - V*, V*(x) = beta log E_ref e^(r/beta).
 *   V*   once, from n responses of the reference to a prompt: beta1 (log sum_k e^(r_k/beta1) - log n)
 *   L    then, on one response of the policy to each prompt, B responses in a step:
 *        (1/B) sum_i (beta2 (S_i - S_i^ref) - (r_i - V*_i))^2
 *   dL/dl_t = (2 beta2/B) (beta2 (S_i - S_i^ref) - (r_i - V*_i))
 * The reward is read as the advantage of a response's first token, V* as its baseline.            */
#include "algo/group.h"
#include "algo/losses.h"
#include "algo/obs.h"
#include <math.h>

#define AT(f) offsetof(tn_a2po_opt, f)
const tn_opt_row tn_a2po_rows[] = {
    {"beta2", TN_OPT_REAL, AT(beta2), "0.001", NULL, 1e-9, 1e9, NULL, "X",
     "KL temperature of the regression: larger stays closer to the reference."},
    TN_OPT_LAST};

double tn_optimal_value(const double *reward, int n, double beta) {
    double most = -HUGE_VAL, sum = 0, known = 0;
    for (int i = 0; i < n; i++)
        if (reward[i] > most) most = reward[i];
    for (int i = 0; i < n; i++)
        if (!isnan(reward[i])) sum += tn_exp((reward[i] - most) / beta), known++;
    return known > 0 ? most + beta * (tn_log(sum) - tn_log(known)) : NAN;
}

static tn_status step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_a2po_opt *o = opt;
    TN_TRY(tn_opt_between(o->beta2, 1e-9, HUGE_VAL, "a2po", "beta2", e));
    TN_TRY(tn_obs_check(x, TN_READ_TOKENS | TN_NEED_LOGP | TN_NEED_REF_LOGP | TN_NEED_ADVANTAGE, "a2po", e));
    TN_TRY(tn_total_check(x->total.seq, x->n_seq, "sequences", "a2po", e));
    if (!x->baseline) return tn_fail(e, TN_ARG, "a2po: needs the optimal values of the prompts, found none");
    double loss = 0;
    for (int s = 0; s < x->n_seq; s++) {
        double own = o->beta2 * (tn_obs_sum(x, x->logp, s) - tn_obs_sum(x, x->ref_logp, s)), v = x->baseline[s],
               target = x->advantage[x->off[s]] - v, gap = own - target;
        if (!isfinite(v)) return tn_fail(e, TN_NUMERIC, "a2po: V* of sequence %d is %g, expected a finite number", s, v);
        loss += gap * gap;
        for (int t = x->off[s]; g->logp && t < x->off[s + 1]; t++) g->logp[t] += 2 * o->beta2 * gap / x->total.seq;
        tn_metrics_mean(m, "implicit_reward", own, 1);
        tn_metrics_mean(m, "advantage", target, 1);
        tn_metrics_mean(m, "v_star", v, 1);
    }
    g->loss = loss / x->total.seq;
    tn_obs_token_metric(x, x->entropy, "entropy", m);
    return TN_OK;
}

const tn_algo tn_algo_a2po = {
    .name = "a2po", .summary = "regression on the optimal advantage (A*-PO)",
    .coupling = TN_COUPLE_SEQUENCE,
    .needs = TN_NEED_LOGP | TN_NEED_REF_LOGP | TN_NEED_ADVANTAGE | TN_NEED_STATS,
    .options = tn_a2po_rows, .opt_size = sizeof(tn_a2po_opt), .step = step,
};
