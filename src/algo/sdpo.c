/* SDPO's loss on a sampled answer y, in TRL's form. l_t: log-prob of y_t under the policy; q_t: under the teacher, which reads
 * another prompt; rho_t = min(c, exp(l_t - l_old_t)), a constant; m: 1 for answers with a teacher, else 0:
 *
 *   sampled_token  D_t = (l_t - q_t) l_t, the bracket a constant: dD_t/dl_t = l_t - q_t, the sampled KL(policy || teacher)
 *   full_logits    D_t = the exact divergence of gkd.c
 *   L = (1 - w) L_policy + w (1/B) sum_b m_b (1/N_b) sum_t rho_t D_t      B: answers of the step, with a teacher or without
 *
 * L_policy is GRPO's (grpo.c). */
#include "algo/sdpo.h"
#include "algo/obs.h"
#include "algo/rl.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

#define AT(f) offsetof(tn_sdpo_opt, f)
const tn_opt_row tn_sdpo_rows[] = {
    {"distillation-mode", TN_OPT_CHOICE, AT(mode), "sampled_token", "sampled_token|full_logits", 0, 0, NULL, NULL,
     "sampled_token: KL(student|teacher) as the sampled tokens tell it. full_logits: the divergence over the whole vocabulary."},
    {"distillation-alpha", TN_OPT_REAL, AT(alpha), "1", NULL, 0, 1, NULL, "X",
     "Of full_logits: 0 KL(teacher|student), 1 KL(student|teacher), between them the generalised Jensen-Shannon divergence."},
    {"distillation-is-clip", TN_OPT_REAL, AT(is_clip), "2", NULL, 0, 1e9, NULL, "X",
     "Most of the ratio of the policy to the one that sampled, which weighs a token's distillation; 0: it does not."},
    {"distillation-weight", TN_OPT_REAL, AT(weight), "1", NULL, 0, 1, NULL, "W",
     "Share of the distillation in the loss; the rest is that of GRPO's policy loss."},
    TN_OPT_LAST};

static bool samples(const tn_sdpo_opt *o) { return strcmp(o->mode, "sampled_token") == 0; }
static bool mixes(const tn_sdpo_opt *o) { return !samples(o) && o->alpha > 0 && o->alpha < 1; }

tn_status tn_sdpo_check(const tn_sdpo_opt *o, tn_err *e) {
    if (samples(o) && o->alpha != 1)
        return tn_fail(e, TN_ARG, "--distillation-mode sampled_token knows KL(student|teacher) alone; --distillation-alpha %g needs full_logits",
                       o->alpha);
    return TN_OK;
}

/* What is there of the policy loss and its gradient, times 1 - w. */
static tn_status policy_part(const tn_sdpo_opt *o, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    g->loss = 0;
    if (o->weight == 1) return TN_OK;
    TN_TRY(tn_algo_grpo.step(&o->policy, x, g, m, e));
    g->loss *= 1 - o->weight;
    for (int t = 0; t < x->off[x->n_seq]; t++) {
        if (g->logp) g->logp[t] *= 1 - o->weight;
        if (g->entropy) g->entropy[t] *= 1 - o->weight;
    }
    return TN_OK;
}

static double ratio_of(const tn_sdpo_opt *o, const tn_obs *x, int t) {
    bool flat;
    if (!(o->is_clip > 0)) return 1;
    double r = tn_ratio(x->logp[t], x->old_logp[t], 20, &flat);
    return r < o->is_clip ? r : o->is_clip;
}

static unsigned more_needs(const void *opt) {
    const tn_sdpo_opt *o = opt;
    return (mixes(o) ? TN_NEED_JSD : !samples(o) && o->alpha == 0 ? TN_NEED_RKL : 0) |
           (o->weight < 1 ? tn_algo_needs(&tn_algo_grpo, &o->policy) | TN_NEED_ADVANTAGE : 0);
}

static tn_status step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_sdpo_opt *o = opt;
    TN_TRY(tn_sdpo_check(o, e));
    TN_TRY(tn_obs_check(x, tn_algo_sdpo.needs | more_needs(o) | TN_READ_TOKENS | TN_READ_RET, "sdpo", e));
    TN_TRY(tn_total_check(x->total.seq, x->n_seq, "sequences", "sdpo", e));
    TN_TRY(policy_part(o, x, g, m, e));
    const double *d = samples(o) ? NULL : mixes(o) ? x->jsd : o->alpha == 0 ? x->rkl : x->kl;
    double *to = samples(o) ? g->logp : mixes(o) ? g->jsd : o->alpha == 0 ? g->rkl : g->kl, all = 0, tokens = 0;
    for (int s = 0; s < x->n_seq; s++) {
        int len = tn_obs_len(x, s);
        if (len == 0 || x->ret[x->off[s]] == 0) continue; /* nobody teaches it */
        double scale = o->weight / (x->total.seq * len), sum = 0;
        for (int t = x->off[s]; t < x->off[s + 1]; t++) {
            double rho = ratio_of(o, x, t), gap = x->logp[t] - x->ref_logp[t];
            sum += rho * (d ? d[t] : gap * x->logp[t]);
            if (to) to[t] += scale * rho * (d ? 1 : gap);
        }
        g->loss += scale * sum;
        all += sum, tokens += len;
    }
    tn_metrics_mean(m, "self_distillation/distillation_loss", all, tokens);
    tn_obs_token_metric(x, x->kl, "kl_student_teacher", m);
    if (o->weight == 1) tn_obs_token_metric(x, x->entropy, "entropy", m); /* else the policy loss has said it */
    return TN_OK;
}

const tn_algo tn_algo_sdpo = {
    .name = "sdpo", .summary = "self-distillation from feedback on the policy's own answers",
    .coupling = TN_COUPLE_SEQUENCE,
    .needs = TN_NEED_LOGP | TN_NEED_OLD_LOGP | TN_NEED_REF_LOGP | TN_NEED_ENTROPY | TN_NEED_STATS | TN_NEED_KL,
    .options = tn_sdpo_rows, .opt_size = sizeof(tn_sdpo_opt), .step = step, .more_needs = more_needs,
};
