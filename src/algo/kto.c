/* Losses on single responses labelled desirable or not; a = S - S_ref, B = responses of the batch.
 *
 *   kto   2402.01306   desirable  w_d (1 - s(beta (a - z)))  undesirable  w_u (1 - s(beta (z - a)))
 *         z = baseline = max(0, mean over the mismatched pairs of its batch of S - S_ref), no gradient
 *   apo_zero_unpaired  2408.06266: the same with z = 0
 *   bco   2404.04656   desirable  w_d sp(-(beta a - z))      undesirable  w_u sp(beta a - z)
 *         z = baseline = running mean of beta a over all responses, no gradient
 *   L = (1/B) sum;   with u = beta (a - z):  kto dL/dS = -+ w beta s(u) s(-u) / B             */
#include "algo/losses.h"
#include "algo/obs.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_kto_opt, f)
const tn_opt_row tn_kto_rows[] = {
    {"beta", TN_OPT_REAL, AT(beta), "0.1", NULL, 0, 1e9, NULL, "X",
     "Strength of the pull to the reference: larger stays closer."},
    {"loss-type", TN_OPT_CHOICE, AT(loss_type), "kto", "kto|apo_zero_unpaired|bco", 0, 0, NULL,
     NULL, "Loss on labelled single responses."},
    {"desirable-weight", TN_OPT_REAL, AT(desirable), "1", NULL, 0, 1e9, NULL, "X",
     "Weight of desirable responses; with the counts, weight ratios of 1 to 1.5 work best."},
    {"undesirable-weight", TN_OPT_REAL, AT(undesirable), "1", NULL, 0, 1e9, NULL, "X",
     "Weight of undesirable responses."},
    TN_OPT_LAST,
};

double tn_kto_baseline(const double *logp, const double *ref_logp, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += logp[i] - ref_logp[i];
    return n > 0 && sum > 0 ? sum / n : 0;
}

double tn_bco_baseline(tn_bco_state *st, double beta, const double *logp, const double *ref_logp,
                       int n) {
    for (int i = 0; i < n; i++) st->sum += beta * (logp[i] - ref_logp[i]);
    st->count += n;
    return st->count > 0 ? st->sum / st->count : 0;
}

double tn_kto_balance(double n_desirable, double n_undesirable, double undesirable, double ratio) {
    return ratio * undesirable * n_undesirable / n_desirable;
}

static tn_status check(const tn_kto_opt *o, const tn_obs *x, tn_err *e) {
    if (!(o->beta > 0 && o->beta < HUGE_VAL))
        return tn_fail(e, TN_ARG, "kto: beta is %g, expected a number above 0", o->beta);
    TN_TRY(tn_opt_between(o->desirable, 0, HUGE_VAL, "kto", "desirable-weight", e));
    TN_TRY(tn_opt_between(o->undesirable, 0, HUGE_VAL, "kto", "undesirable-weight", e));
    TN_TRY(tn_obs_check(x, TN_READ_TOKENS | TN_NEED_LOGP | TN_NEED_REF_LOGP, "kto", e));
    if (!x->label) return tn_fail(e, TN_ARG, "kto: responses without labels");
    if (!x->baseline) return tn_fail(e, TN_ARG, "kto: responses without reference points");
    for (int s = 0; s < x->n_seq; s++)
        if (!isfinite(x->baseline[s]))
            return tn_fail(e, TN_NUMERIC, "kto: the reference point is %g, expected a finite number",
                           x->baseline[s]);
    return tn_total_check(x->total.seq, x->n_seq, "sequences", "kto", e);
}

static void metrics(const tn_obs *x, int s, double reward, double logp, tn_metrics *m) {
    bool good = x->label[s] != 0;
    tn_metrics_mean(m, good ? "rewards/chosen" : "rewards/rejected", reward, 1);
    tn_metrics_mean(m, good ? "logps/chosen" : "logps/rejected", logp, 1);
    if (x->mean_logit)
        tn_metrics_mean(m, good ? "logits/chosen" : "logits/rejected",
                        tn_obs_sum(x, x->mean_logit, s), tn_obs_len(x, s));
}

static tn_status step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_kto_opt *o = opt;
    TN_TRY(check(o, x, e));
    bool bco = strcmp(o->loss_type, "bco") == 0, kto = strcmp(o->loss_type, "kto") == 0;
    double loss = 0;
    for (int s = 0; s < x->n_seq; s++) {
        double logp = tn_obs_sum(x, x->logp, s), a = logp - tn_obs_sum(x, x->ref_logp, s);
        double z = kto || bco ? x->baseline[s] : 0, u = bco ? o->beta * a - z : o->beta * (a - z);
        double side = x->label[s] ? 1 : -1, w = x->label[s] ? o->desirable : o->undesirable;
        loss += w * (bco ? tn_softplus(-side * u) : tn_sigmoid(-side * u));
        if (g->logp) {
            double d = -side * w * o->beta / x->total.seq * tn_sigmoid(-side * u) *
                       (bco ? 1 : tn_sigmoid(side * u));
            for (int t = x->off[s]; t < x->off[s + 1]; t++) g->logp[t] += d;
        }
        metrics(x, s, o->beta * a, logp, m);
        tn_metrics_mean(m, bco ? "delta" : "kl", z, 1);
    }
    g->loss = loss / x->total.seq;
    tn_obs_token_metric(x, x->entropy, "entropy", m);
    return TN_OK;
}

const tn_algo tn_algo_kto = {
    .name = "kto",
    .summary = "preference losses on single labelled responses (KTO, BCO)",
    .coupling = TN_COUPLE_SEQUENCE,
    .needs = TN_NEED_LOGP | TN_NEED_REF_LOGP | TN_NEED_ENTROPY | TN_NEED_STATS,
    .options = tn_kto_rows,
    .opt_size = sizeof(tn_kto_opt),
    .step = step,
};
