/* Pairwise reward model (Bradley-Terry; Stiennon et al. 2020, 2009.01325) on scalar scores.
 *
 *   d = r_c - r_r - margin                       margin: Llama 2, 2307.09288
 *   L = (1/B) sum [ -p log s(d) - (1-p) log s(-d)                 p: soft label
 *                   + eta (r_c + r_r)^2                           centring: 2312.09244
 *                   + (c/2) (r_c^2 + r_r^2) ]                     mean square of the 2B scores
 *   dL/dr_c = [ (s(d) - p) + 2 eta (r_c + r_r) + c r_c ] / B
 *   dL/dr_r = [ (p - s(d)) + 2 eta (r_c + r_r) + c r_r ] / B
 *
 * Ties (Rao & Kupper 1967), theta > 1, b = log theta; a tie is a label probability of 1/2:
 *   P(win) = s(d - b), P(loss) = s(-d - b), P(tie) = (theta^2 - 1) P(win) P(loss)
 * p = P(label is right) (1 - eps) + (1 - P) eps, eps the label smoothing. Metrics as TRL's:
 * accuracy counts r_c > r_r strictly, without the margin.                                     */
#include "algo/losses.h"
#include "algo/obs.h"
#include "algo/reward.h"
#include <math.h>

#define AT(f) offsetof(tn_reward_opt, f)
const tn_opt_row tn_reward_rows[] = {
    {"center-rewards-coefficient", TN_OPT_REAL, AT(center), "0", NULL, 0, 1e9, NULL, "X",
     "Adds X (r_chosen + r_rejected)^2 per pair, which keeps scores around 0 (0.01 is usual)."},
    {"reward-l2", TN_OPT_REAL, AT(l2), "0", NULL, 0, 1e9, "regularization", "X",
     "Adds X times the mean squared score (safe-rlhf uses 0.001)."},
    {"label-smoothing", TN_OPT_REAL, AT(label_smoothing), "0", NULL, 0, 0.5, NULL, "X",
     "Share of labels taken to be flipped."},
    {"tie-theta", TN_OPT_REAL, AT(tie_theta), "1", NULL, 1, 1e9, NULL, "X",
     "Above 1: pairs labelled with probability 1/2 are ties of a model with this threshold."},
    {"ranking-loss", TN_OPT_CHOICE, AT(ranking), "pairs", "pairs|plackett_luce|best", 0, 0, NULL,
     NULL,
     "Ranked data: mean over the ordered pairs of a prompt, likelihood of the whole order, or of"
     " the best response only."},
    {"ties", TN_OPT_CHOICE, AT(ties), "drop", "drop|half", 0, 0, NULL, NULL,
     "Equal ranks in ranked data: leave the pair out, or count it half in either direction."},
    TN_OPT_LAST,
};

tn_status tn_reward_opt_check(const tn_reward_opt *o, const char *who, tn_err *e) {
    TN_TRY(tn_opt_between(o->center, 0, HUGE_VAL, who, "center-rewards-coefficient", e));
    TN_TRY(tn_opt_between(o->l2, 0, HUGE_VAL, who, "reward-l2", e));
    TN_TRY(tn_opt_between(o->tie_theta, 1, HUGE_VAL, who, "tie-theta", e));
    if (o->tie_theta > 1 && o->label_smoothing > 0)
        return tn_fail(e, TN_ARG, "%s: tie-theta and label-smoothing exclude each other", who);
    return tn_opt_between(o->label_smoothing, 0, 0.5, who, "label-smoothing", e);
}

void tn_reward_score_metrics(double score, tn_metrics *m) {
    tn_metrics_put(m, TN_METRIC_MIN, "min_reward", score);
    tn_metrics_mean(m, "mean_reward", score, 1);
    tn_metrics_put(m, TN_METRIC_MAX, "max_reward", score);
}

/* Loss of one comparison and its derivative with respect to d. s(d) - p is written as a sum of
 * products so that d >> 0 with p = 1 keeps its digits. */
static double compare(const tn_reward_opt *o, double d, double p, double *dd) {
    if (o->tie_theta > 1) {
        double b = tn_log(o->tie_theta), win = tn_softplus(b - d), lose = tn_softplus(d + b);
        bool tie = p == 0.5;
        *dd = (tie || p > 0.5 ? -tn_sigmoid(b - d) : 0) + (tie || p < 0.5 ? tn_sigmoid(d + b) : 0);
        if (tie) return win + lose - tn_log(o->tie_theta * o->tie_theta - 1);
        return p > 0.5 ? win : lose;
    }
    p = p * (1 - o->label_smoothing) + (1 - p) * o->label_smoothing;
    *dd = (1 - p) * tn_sigmoid(d) - p * tn_sigmoid(-d);
    return p * tn_softplus(-d) + (1 - p) * tn_softplus(d);
}

static tn_status step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_reward_opt *o = opt;
    TN_TRY(tn_reward_opt_check(o, "reward", e));
    TN_TRY(tn_obs_check(x, TN_READ_PAIRS | TN_NEED_SCORE, "reward", e));

    double loss = 0;
    for (int i = 0; i < x->n_pair; i++) {
        int c = x->chosen[i], r = x->rejected[i];
        double rc = x->score[c], rr = x->score[r], sum = rc + rr;
        double d = rc - rr - (x->margin ? x->margin[i] : 0), dd;
        loss += compare(o, d, x->p_chosen ? x->p_chosen[i] : 1, &dd);
        loss += o->center * sum * sum + 0.5 * o->l2 * (rc * rc + rr * rr);
        if (g->score) {
            double mid = 2 * o->center * sum;
            g->score[c] += (dd + mid + o->l2 * rc) / x->total.pair;
            g->score[r] += (-dd + mid + o->l2 * rr) / x->total.pair;
        }
        tn_metrics_mean(m, "accuracy", rc > rr, 1);
        tn_metrics_mean(m, "margin", rc - rr, 1);
        tn_reward_score_metrics(rc, m);
        tn_reward_score_metrics(rr, m);
    }
    g->loss = loss / x->total.pair;
    return TN_OK;
}

const tn_algo tn_algo_reward = {
    .name = "reward", .summary = "reward model from pairs (Bradley-Terry)",
    .coupling = TN_COUPLE_PAIR, .needs = TN_NEED_SCORE,
    .options = tn_reward_rows, .opt_size = sizeof(tn_reward_opt), .step = step,
};
