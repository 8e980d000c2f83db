/* Supervised fine-tuning: maximum likelihood on scored tokens (Ouyang et al. 2022, 2203.02155).
 *
 *   token mean      L = -(1/N) sum_t l_t                 N = tokens of the whole optimisation batch
 *   sequence mean   L = -(1/B) sum_b (1/N_b) sum_t l_t   B = its sequences
 *   dft             the same with every l_t weighted by sg[pi(y_t)] (Wu et al. 2025, 2508.05629)
 *
 *   dL/dl_t = -w_t / N   or   -w_t / (B N_b),   w_t = 1 (nll) or pi(y_t) (dft)                  */
#include "algo/losses.h"
#include "algo/obs.h"
#include <string.h>

#define AT(f) offsetof(tn_sft_opt, f)
const tn_opt_row tn_sft_rows[] = {
    {"loss-type", TN_OPT_CHOICE, AT(loss_type), "nll", "nll|dft|chunked_nll", 0, 0, NULL, NULL,
     "nll: negative log-likelihood; dft: the same, each token weighted by its own probability."},
    {"loss-reduction", TN_OPT_CHOICE, AT(reduction), "token_mean", "token_mean|sequence_mean", 0, 0,
     NULL, NULL,
     "token_mean: every scored token of the batch counts alike; sequence_mean: every sequence "
     "does."},
    TN_OPT_LAST,
};

static tn_status step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_sft_opt *o = opt;
    bool by_seq = strcmp(o->reduction, "sequence_mean") == 0,
         dft = strcmp(o->loss_type, "dft") == 0;
    TN_TRY(tn_obs_check(x, TN_READ_TOKENS | TN_NEED_LOGP, "sft", e));
    if (by_seq) TN_TRY(tn_total_check(x->total.seq, x->n_seq, "sequences", "sft", e));
    else TN_TRY(tn_total_check(x->total.tok, x->off[x->n_seq], "tokens", "sft", e));

    double loss = 0;
    for (int s = 0; s < x->n_seq; s++) {
        double scale = by_seq ? 1 / (x->total.seq * tn_obs_len(x, s)) : 1 / x->total.tok, sum = 0;
        for (int t = x->off[s]; t < x->off[s + 1]; t++) {
            double w = dft ? tn_exp(x->logp[t]) : 1;
            sum += w * x->logp[t];
            if (g->logp) g->logp[t] -= w * scale;
        }
        loss -= sum * scale;
    }
    g->loss = loss;

    tn_obs_token_metric(x, x->top1, "mean_token_accuracy", m);
    tn_obs_token_metric(x, x->entropy, "entropy", m);
    tn_metrics_put(m, TN_METRIC_SUM, "num_target_tokens", x->off[x->n_seq]);
    return TN_OK;
}

const tn_algo tn_algo_sft = {
    .name = "sft", .summary = "supervised fine-tuning on demonstrations",
    .coupling = TN_COUPLE_TOKEN, .needs = TN_NEED_LOGP | TN_NEED_ENTROPY | TN_NEED_STATS,
    .options = tn_sft_rows, .opt_size = sizeof(tn_sft_opt), .step = step,
};
