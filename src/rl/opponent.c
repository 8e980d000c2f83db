#include "rl/opponent.h"
#include <math.h>

#define AT(f) offsetof(tn_opposed_options, f)
const tn_opt_row tn_opposed_rows[] = {
    {"max-new-tokens", TN_OPT_INT, AT(max_new), "64", NULL, 1, 1 << 20, "max-completion-length", "N", "Longest response in tokens."},
    {"temperature", TN_OPT_REAL, TN_OPT_NOFIELD, "0.9", NULL, 1e-3, 100, NULL, "X",
     "Sampling temperature; log-probs are those of the distribution sampled from."},
    {"missing-eos-penalty", TN_OPT_REAL, AT(missing_eos), "0", NULL, 0, 1e9, NULL, "X",
     "Taken off the reward of responses that do not end within --max-new-tokens."},
    TN_OPT_LAST};

tn_status tn_opposed_totals(const void *opt, const tn_group_rewards *r, const double *kl, tn_metrics *m, tn_err *e) {
    const tn_opposed_options *o = opt;
    tn_metrics unseen = {0};
    TN_TRY(tn_group_totals(r, &unseen, e));
    for (int g = 0; g < r->n_group; g++) {
        int own = r->group_off[g], other = own + 1;
        for (int i = own; i <= other; i++)
            if (!r->ended[i]) r->advantage[i] -= o->missing_eos;
        double a = r->advantage[own], b = r->advantage[other];
        if (!isnan(r->total[own])) tn_metrics_mean(m, "reward", r->total[own], 1);
        tn_metrics_mean(m, "val/model_contain_eos_token", r->ended[own], 1);
        tn_metrics_mean(m, "val/ref_contain_eos_token", r->ended[other], 1);
        if (isnan(a) || isnan(b)) continue;
        tn_metrics_mean(m, "objective/model_scores", a, 1);
        tn_metrics_mean(m, "objective/ref_scores", b, 1);
        tn_metrics_mean(m, "objective/scores_margin", a - b, 1);
        tn_metrics_mean(m, "rewards/probabilities", tn_sigmoid(a - b), 1);
    }
    return TN_OK;
}

tn_status tn_nash_token_advantages(const void *opt, tn_rollouts *r, tn_err *e) {
    const tn_nash_opt *o = opt;
    for (int own = 0; own < r->n; own += 2) {
        int at = r->off[own], n = r->response[own].n;
        tn_nash_advantages(r->old_logp + at, r->ref_logp + at, n, tn_sigmoid(r->score[own] - r->score[own + 1]), o->beta,
                           r->advantage + at);
        for (int t = r->off[own + 1]; t < r->off[own + 2]; t++) r->advantage[t] = NAN;
    }
    return TN_OK;
}
