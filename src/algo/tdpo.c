/* Token-level DPO (Zeng et al. 2024, 2404.11999): DPO's margin less the difference of what the
 * sequences' tokens cost in KL. a, b as in dpo.c; K = sum over a response's tokens of
 * KL(pi_ref || pi).
 *
 *   TDPO-1   u = beta (a - b - (K_l - K_w))             gradient through both K
 *   TDPO-2   u = beta (a - b - alpha (K_l - K_w))       none through K_w
 *   L = (1/B) sum sp(-u);   with g = beta s(-u) / B:
 *   dL/dl_w = -g, dL/dl_l = g, dL/dK_l = alpha g, dL/dK_w = -g or 0 */
#include "algo/dpo.h"
#include "algo/obs.h"
#include <math.h>

#define AT(f) offsetof(tn_tdpo_opt, f)
const tn_opt_row tn_tdpo_rows[] = {
    {"beta", TN_OPT_REAL, AT(beta), "0.1", NULL, 0, 1e9, NULL, "X",
     "Strength of the pull to the reference: larger stays closer."},
    {"tdpo-alpha", TN_OPT_REAL, AT(alpha), NULL, NULL, 0, 1e9, NULL, "X",
     "Weight of the KL difference in TDPO-2 (its paper: 0.5); TDPO-1 when absent."},
    TN_OPT_LAST,
};

static void give(const tn_obs *x, int s, double d, double *grad) {
    for (int t = x->off[s]; grad && t < x->off[s + 1]; t++) grad[t] += d;
}

static tn_status step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_tdpo_opt *o = opt;
    if (!(o->beta > 0 && o->beta < HUGE_VAL))
        return tn_fail(e, TN_ARG, "tdpo: beta is %g, expected a number above 0", o->beta);
    if (!isnan(o->alpha)) TN_TRY(tn_opt_between(o->alpha, 0, HUGE_VAL, "tdpo", "tdpo-alpha", e));
    unsigned reads =
        TN_READ_TOKENS | TN_READ_PAIRS | TN_NEED_LOGP | TN_NEED_REF_LOGP | TN_NEED_REF_KL;
    TN_TRY(tn_obs_check(x, reads, "tdpo", e));
    double alpha = isnan(o->alpha) ? 1 : o->alpha, loss = 0;
    for (int i = 0; i < x->n_pair; i++) {
        int c = x->chosen[i], r = x->rejected[i];
        double s_w = tn_obs_sum(x, x->logp, c), s_l = tn_obs_sum(x, x->logp, r);
        double a = s_w - tn_obs_sum(x, x->ref_logp, c), b = s_l - tn_obs_sum(x, x->ref_logp, r);
        double k_w = tn_obs_sum(x, x->ref_kl, c), k_l = tn_obs_sum(x, x->ref_kl, r);
        double u = o->beta * (a - b - alpha * (k_l - k_w)),
               d = o->beta * tn_sigmoid(-u) / x->total.pair;
        loss += tn_softplus(-u);
        give(x, c, -d, g->logp);
        give(x, r, d, g->logp);
        give(x, r, alpha * d, g->ref_kl);
        if (isnan(o->alpha)) give(x, c, -d, g->ref_kl);
        tn_dpo_pair_metrics(x, i, o->beta, s_w, s_l, a, b, m);
        tn_metrics_mean(m, "kl/chosen", k_w, 1);
        tn_metrics_mean(m, "kl/rejected", k_l, 1);
    }
    g->loss = loss / x->total.pair;
    return TN_OK;
}

const tn_algo tn_algo_tdpo = {
    .name = "tdpo",
    .summary = "DPO with a constraint on every token's KL (TDPO)",
    .coupling = TN_COUPLE_PAIR,
    .needs = TN_NEED_LOGP | TN_NEED_REF_LOGP | TN_NEED_REF_KL | TN_NEED_ENTROPY | TN_NEED_STATS,
    .options = tn_tdpo_rows,
    .opt_size = sizeof(tn_tdpo_opt),
    .step = step,
};
