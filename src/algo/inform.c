/* Reward model with an information bottleneck (InfoRM, Miao et al. 2024, 2402.09345): Bradley-Terry
 * (reward.c, with its margins and label probabilities) on the head's noisy scores, and the KL that
 * the head gives:
 *
 *   sum         L = BT + (beta/B)  sum_pairs (KL_c + KL_r)
 *   mean_first  L = BT + (beta/2B) sum_pairs (KL_c + KL_r)   the authors' code: the mean of 2B
 * B pairs in the whole batch; KL is extra[0] of the head (pooled_inform.c). */
#include "algo/losses.h"
#include "algo/obs.h"
#include "algo/pooled.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_inform_opt, f)
const tn_opt_row tn_inform_rows[] = {
    {"latents", TN_OPT_INT, AT(latents), "128", NULL, 1, 1 << 16, "latent-dim", "N",
     "Size of the bottleneck that the reward is read from."},
    {"ib-weight", TN_OPT_REAL, AT(beta), "0.1", NULL, 0, 1e9, "kl-loss-coef", "X",
     "Price of the information that the latents keep. It does not carry over between the two "
     "reductions; too large, and all rewards become equal."},
    {"kl-reduction", TN_OPT_CHOICE, AT(kl), "sum", "sum|mean_first", 0, 0, NULL, NULL,
     "KL of a response: summed over the latents (the paper), or that of the means over the latents "
     "(the authors' code; far weaker at the same weight)."},
    TN_OPT_LAST,
};

static tn_status step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    static const tn_reward_opt plain = {0, 0, 0, 1, "pairs", "drop"};
    const tn_inform_opt *o = opt;
    TN_TRY(tn_opt_between(o->beta, 0, HUGE_VAL, "inform", "ib-weight", e));
    TN_TRY(tn_obs_check(x, TN_READ_PAIRS | TN_NEED_SCORE, "inform", e));
    TN_TRY(tn_extra_check(x, 1, "inform", e));
    TN_TRY(tn_algo_reward.step(&plain, x, g, m, e));
    double each = o->beta / x->total.pair, kl = 0;
    if (o->kl && strcmp(o->kl, "mean_first") == 0) each /= 2;
    for (int i = 0; i < x->n_pair; i++) {
        int c = x->chosen[i], r = x->rejected[i];
        kl += x->extra[c] + x->extra[r];
        if (g->extra) g->extra[c] += each, g->extra[r] += each;
    }
    g->loss += each * kl;
    tn_metrics_mean(m, "latent_kl", kl, 2.0 * x->n_pair);
    return TN_OK;
}

const tn_algo tn_algo_inform = {
    .name = "inform",
    .summary = "reward model with an information bottleneck (InfoRM)",
    .coupling = TN_COUPLE_PAIR,
    .needs = TN_NEED_SCORE | TN_NEED_EXTRA,
    .options = tn_inform_rows,
    .opt_size = sizeof(tn_inform_opt),
    .step = step,
};
