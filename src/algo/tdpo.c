/* Token-level DPO: the margin less the difference of the sequences' exact divergences (Zeng et al. 2024, 2404.11999).
 *
 *   a = S_w - S_w^ref, b = S_l - S_l^ref          log-ratios of the chosen and the rejected response
 *   K = sum_t KL(ref_t || pi_t)                   over the response's tokens, each over the whole vocabulary
 *   tdpo1   u = beta (a - b - (K_l - K_w))
 *   tdpo2   u = beta (a - b - alpha (K_l - sg[K_w]))
 *   L = -(1/B) sum_pairs log s(u)                 s = logistic, sg: no gradient
 *
 * With d = beta s(-u)/B:  dL/dl_t = -d in the chosen response, d in the rejected one;
 * dL/dKL_t = alpha d in the rejected one, and -d in the chosen one for tdpo1, whose alpha is 1. */
#include "algo/dpo.h"
#include "algo/obs.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

#define AT(f) offsetof(tn_tdpo_opt, f)
const tn_opt_row tn_tdpo_rows[] = {
    {"beta", TN_OPT_REAL, AT(beta), "0.1", NULL, 0, 1e9, NULL, "X",
     "Strength of the pull to the reference: larger stays closer."},
    {"loss-type", TN_OPT_CHOICE, AT(loss_type), "tdpo2", "tdpo1|tdpo2", 0, 0, NULL, NULL,
     "tdpo1: both responses' divergences move; tdpo2: the chosen one's has no gradient, and --alpha weighs "
     "them."},
    {"alpha", TN_OPT_REAL, AT(alpha), "0.5", NULL, 0, 1e9, NULL, "X", "Weight of the divergences' difference in tdpo2."},
    TN_OPT_LAST};

static void give(const tn_obs *x, int s, double d, double *grad) {
    for (int t = x->off[s]; grad && t < x->off[s + 1]; t++) grad[t] += d;
}

static tn_status step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_tdpo_opt *o = opt;
    bool both = strcmp(o->loss_type, "tdpo1") == 0;
    double alpha = both ? 1 : o->alpha, loss = 0;
    if (!(o->beta > 0 && o->beta < HUGE_VAL))
        return tn_fail(e, TN_ARG, "tdpo: beta is %g, expected a number above 0", o->beta);
    TN_TRY(tn_opt_between(alpha, 0, HUGE_VAL, "tdpo", "alpha", e));
    TN_TRY(tn_obs_check(x, TN_READ_TOKENS | TN_READ_PAIRS | TN_NEED_LOGP | TN_NEED_REF_LOGP | TN_NEED_RKL, "tdpo", e));
    for (int i = 0; i < x->n_pair; i++) {
        int c = x->chosen[i], r = x->rejected[i];
        double s_w = tn_obs_sum(x, x->logp, c), s_l = tn_obs_sum(x, x->logp, r);
        double a = s_w - tn_obs_sum(x, x->ref_logp, c), b = s_l - tn_obs_sum(x, x->ref_logp, r);
        double k_w = tn_obs_sum(x, x->rkl, c), k_l = tn_obs_sum(x, x->rkl, r);
        double u = o->beta * (a - b - alpha * (k_l - k_w)), d = o->beta * tn_sigmoid(-u) / x->total.pair;
        loss += tn_softplus(-u);
        give(x, c, -d, g->logp);
        give(x, r, d, g->logp);
        give(x, r, alpha * d, g->rkl);
        if (both) give(x, c, -d, g->rkl);
        tn_dpo_pair_metrics(x, i, o->beta, s_w, s_l, a, b, m);
        tn_metrics_mean(m, "kl/chosen", k_w, 1);
        tn_metrics_mean(m, "kl/rejected", k_l, 1);
        tn_metrics_mean(m, "kl/margins", k_l - k_w, 1);
    }
    g->loss = loss / x->total.pair;
    return TN_OK;
}

const tn_algo tn_algo_tdpo = {
    .name = "tdpo", .summary = "direct preference optimisation with exact per-token divergences",
    .coupling = TN_COUPLE_PAIR,
    .needs = TN_NEED_LOGP | TN_NEED_REF_LOGP | TN_NEED_ENTROPY | TN_NEED_STATS | TN_NEED_RKL,
    .options = tn_tdpo_rows, .opt_size = sizeof(tn_tdpo_opt), .step = step,
};
