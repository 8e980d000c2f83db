/* REINFORCE forms, B = responses of the batch.
 *
 *   reinforce   L = -(1/B) sum_i sum_t A_t l_t                      dL/dl_t = -A_t / B
 *               (Williams 1992; ReMax 2310.10505; Nash-MD 2312.00886: tn_nash_advantages)
 *   rloo        L = -(1/B) sum_i min(rho_i A_i, clip(rho_i) A_i),   rho_i = e^(S_i - S_i^old)
 *               (2402.14740)   dL/dl_t = -A_i rho_i / B for every token, 0 where clipped
 * rloo reads the advantage of a response at its first token.                                  */
#include "algo/losses.h"
#include "algo/obs.h"
#include "algo/rl.h"
#include <math.h>

#define AT(f) offsetof(tn_rloo_opt, f)
static const tn_opt_row no_rows[] = {TN_OPT_LAST};
const tn_opt_row tn_rloo_rows[] = {
    {"epsilon", TN_OPT_REAL, AT(epsilon), "0.2", NULL, 0, 1, "cliprange", "X",
     "The response ratio's gain is cut outside [1 - X, 1 + X]."},
    {"epsilon-high", TN_OPT_REAL, AT(epsilon_high), NULL, NULL, 0, 1e9, "cliprange-high", "X",
     "Upper side when it differs."},
    TN_OPT_LAST,
};

static tn_status reinforce_step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m,
                                tn_err *e) {
    TN_TRY(tn_obs_check(x, TN_READ_TOKENS | TN_NEED_LOGP | TN_NEED_ADVANTAGE, "reinforce", e));
    TN_TRY(tn_total_check(x->total.seq, x->n_seq, "sequences", "reinforce", e));
    double sum = 0;
    for (int t = 0; t < x->off[x->n_seq]; t++) {
        sum -= x->advantage[t] * x->logp[t];
        if (g->logp) g->logp[t] -= x->advantage[t] / x->total.seq;
    }
    g->loss = sum / x->total.seq;
    tn_obs_token_metric(x, x->entropy, "entropy", m);
    tn_obs_token_metric(x, x->logp, "mean_token_logp", m);
    return TN_OK;
}

static tn_status rloo_step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_rloo_opt *o = opt;
    TN_TRY(tn_opt_between(o->epsilon, 0, 1, "rloo", "epsilon", e));
    if (!isnan(o->epsilon_high))
        TN_TRY(tn_opt_between(o->epsilon_high, 0, HUGE_VAL, "rloo", "epsilon-high", e));
    TN_TRY(tn_obs_check(x, TN_READ_TOKENS | TN_NEED_LOGP | TN_NEED_OLD_LOGP | TN_NEED_ADVANTAGE,
                        "rloo", e));
    TN_TRY(tn_total_check(x->total.seq, x->n_seq, "sequences", "rloo", e));
    double lo = 1 - o->epsilon, hi = 1 + (isnan(o->epsilon_high) ? o->epsilon : o->epsilon_high),
           sum = 0;
    for (int s = 0; s < x->n_seq; s++) {
        bool flat;
        double adv = x->advantage[x->off[s]];
        double rho = tn_ratio(tn_obs_sum(x, x->logp, s), tn_obs_sum(x, x->old_logp, s), 20, &flat);
        bool low = adv < 0 && rho < lo, high = adv > 0 && rho > hi;
        sum -= adv * (low ? lo : high ? hi : rho);
        double d = low || high || flat ? 0 : -adv * rho / x->total.seq;
        for (int t = x->off[s]; g->logp && t < x->off[s + 1]; t++) g->logp[t] += d;
        tn_clip_metrics(low, high, 1, m);
        tn_metrics_mean(m, "val/ratio", rho, 1);
    }
    g->loss = sum / x->total.seq;
    tn_obs_token_metric(x, x->entropy, "entropy", m);
    return TN_OK;
}

const tn_algo tn_algo_reinforce = {
    .name = "reinforce", .summary = "plain policy gradient with given advantages",
    .coupling = TN_COUPLE_TOKEN, .needs = TN_NEED_LOGP | TN_NEED_ADVANTAGE,
    .options = no_rows, .opt_size = 0, .step = reinforce_step,
};
const tn_algo tn_algo_rloo = {
    .name = "rloo", .summary = "clipped policy gradient on whole responses (RLOO)",
    .coupling = TN_COUPLE_SEQUENCE,
    .needs = TN_NEED_LOGP | TN_NEED_OLD_LOGP | TN_NEED_ADVANTAGE | TN_NEED_STATS,
    .options = tn_rloo_rows, .opt_size = sizeof(tn_rloo_opt), .step = rloo_step,
};
