/* Distillation from a teacher's full distributions (GKD: Agarwal et al. 2023, 2306.13649; TRL's GKDTrainer).
 *
 *   D_t = KL(q_t || p_t)                                  beta = 0   p_t: the student's distribution at token t
 *         KL(p_t || q_t)                                  beta = 1   q_t: the teacher's
 *         beta KL(q_t || M_t) + (1 - beta) KL(p_t || M_t) else       M_t = beta q_t + (1 - beta) p_t
 *   L = (1/N) sum_t D_t                                   N = scored tokens of the whole optimisation batch
 *   dL/dD_t = 1/N
 *   sequence mean (TRL's SDFT):  L = (1/B) sum_b (1/N_b) sum_t D_t     over its B sequences of N_b scored tokens
 *
 * The divergences are exact, over the whole vocabulary. The temperature that answers are sampled at is not theirs,
 * as in TRL. Near its ends the mixture's divergence is beta or 1 - beta times one of the KLs, so the loss jumps at
 * 0 and 1. */
#include "algo/losses.h"
#include "algo/obs.h"
#include <stddef.h>
#include <string.h>

#define AT(f) offsetof(tn_gkd_opt, f)
const tn_opt_row tn_gkd_rows[] = {
    {"beta", TN_OPT_REAL, AT(beta), "0.5", NULL, 0, 1, NULL, "X",
     "Divergence: 0 KL(teacher|student), covering all that the teacher says; 1 KL(student|teacher), keeping to what "
     "the teacher would say; between them the generalised Jensen-Shannon divergence."},
    {"loss-reduction", TN_OPT_CHOICE, AT(reduction), "token_mean", "token_mean|sequence_mean", 0, 0, NULL, NULL,
     "token_mean: every scored token of the batch counts alike; sequence_mean: every answer does."},
    TN_OPT_LAST};
const tn_opt_row tn_sdft_rows[] = {
    {"distillation-alpha", TN_OPT_REAL, AT(beta), "0.5", NULL, 0, 1, "beta", "X",
     "Divergence: 0 KL(teacher|student), 1 KL(student|teacher), between them the generalised Jensen-Shannon divergence."},
    {"loss-reduction", TN_OPT_CHOICE, AT(reduction), "sequence_mean", "token_mean|sequence_mean", 0, 0, NULL, NULL,
     "sequence_mean: every answer counts alike; token_mean: every token of the batch does."},
    TN_OPT_LAST};

static bool by_sequence(const tn_gkd_opt *o) { return o->reduction && strcmp(o->reduction, "sequence_mean") == 0; }
static bool mixes(const tn_gkd_opt *o) { return o->beta > 0 && o->beta < 1; }

static tn_status step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_gkd_opt *o = opt;
    TN_TRY(tn_opt_between(o->beta, 0, 1, "gkd", "beta", e));
    TN_TRY(tn_obs_check(x, TN_READ_TOKENS | TN_NEED_KL | TN_NEED_RKL | (mixes(o) ? TN_NEED_JSD : 0), "gkd", e));
    int n = x->off[x->n_seq];
    TN_TRY(tn_total_check(x->total.tok, n, "tokens", "gkd", e));
    const double *d = mixes(o) ? x->jsd : o->beta == 0 ? x->rkl : x->kl;
    double *grad = mixes(o) ? g->jsd : o->beta == 0 ? g->rkl : g->kl, sum = 0;
    if (by_sequence(o)) TN_TRY(tn_total_check(x->total.seq, x->n_seq, "sequences", "gkd", e));
    for (int s = 0; s < x->n_seq; s++) {
        int len = tn_obs_len(x, s);
        double scale = by_sequence(o) ? 1 / (x->total.seq * (len ? len : 1)) : 1 / x->total.tok, own = 0;
        for (int t = x->off[s]; t < x->off[s + 1]; t++) {
            *(by_sequence(o) ? &own : &sum) += d[t];
            if (grad) grad[t] += scale;
        }
        sum += own * scale;
    }
    g->loss = by_sequence(o) ? sum : sum / x->total.tok;
    tn_obs_token_metric(x, x->rkl, "kl_teacher_student", m);
    tn_obs_token_metric(x, x->kl, "kl_student_teacher", m);
    tn_obs_token_metric(x, x->top1, "mean_token_accuracy", m);
    tn_obs_token_metric(x, x->entropy, "entropy", m);
    tn_metrics_put(m, TN_METRIC_SUM, "num_target_tokens", n);
    return TN_OK;
}

static unsigned more_needs(const void *opt) { return mixes(opt) ? TN_NEED_JSD : 0; }

const tn_algo tn_algo_gkd = {
    .name = "gkd", .summary = "distillation from a teacher's distributions",
    .coupling = TN_COUPLE_TOKEN,
    .needs = TN_NEED_LOGP | TN_NEED_ENTROPY | TN_NEED_STATS | TN_NEED_KL | TN_NEED_RKL,
    .options = tn_gkd_rows, .opt_size = sizeof(tn_gkd_opt), .step = step, .more_needs = more_needs,
};
