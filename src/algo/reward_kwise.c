/* K-wise reward model: every response of a prompt is run once, its pairs share one prompt's
 * weight (Ouyang et al. 2022, 2203.02155). One group = one prompt with its ranked responses.
 *
 *   L_g = (1/|P|) sum_{(w,l) in P} -log s(r_w - r_l),   P = pairs of the group with rank_w < rank_l
 *   L   = (1/G) sum_g L_g + c mean_s r_s^2
 *   dL_g/dr_w -= s(-(r_w - r_l)) / |P|,   dL_g/dr_l += the same
 *
 * Equal ranks: left out of P, or (`ties half`) in P with (1/2)[-log s(d) - log s(-d)].
 * A group without any ordered pair says nothing: it adds 0 and still counts in G.             */
#include "algo/obs.h"
#include "algo/reward.h"
#include <string.h>

static tn_status check(const tn_reward_opt *o, const tn_obs *x, tn_err *e) {
    TN_TRY(tn_reward_opt_check(o, "reward-kwise", e));
    if (o->center > 0)
        return tn_fail(e, TN_ARG, "reward-kwise: center-rewards-coefficient is for pairs; use reward-l2");
    TN_TRY(tn_obs_check(x, TN_READ_GROUPS | TN_NEED_SCORE, "reward-kwise", e));
    if (!x->rank) return tn_fail(e, TN_ARG, "reward-kwise: groups without ranks");
    return tn_total_check(x->total.seq, x->n_seq, "sequences", "reward-kwise", e);
}

/* P(i beats j) according to the ranks, for each pair once: 1, 1/2 for a tie that counts, else -1. */
static double target(const tn_reward_opt *o, const int *rank, int i, int j) {
    if (rank[i] < rank[j]) return 1;
    return i < j && rank[i] == rank[j] && strcmp(o->ties, "half") == 0 ? 0.5 : -1;
}

static double group_loss(const tn_reward_opt *o, const tn_obs *x, int lo, int hi, tn_grad *g, tn_metrics *m) {
    double pairs = 0, loss = 0;
    for (int i = lo; i < hi; i++)
        for (int j = lo; j < hi; j++) pairs += target(o, x->rank, i, j) > 0;
    for (int i = lo; i < hi; i++) {
        for (int j = lo; j < hi; j++) {
            double p = target(o, x->rank, i, j), d = x->score[i] - x->score[j];
            if (p < 0) continue;
            if (p == 1) {
                tn_metrics_mean(m, "accuracy", d > 0, 1);
                tn_metrics_mean(m, "margin", d, 1);
            }
            p = p * (1 - o->label_smoothing) + (1 - p) * o->label_smoothing;
            loss += (p * tn_softplus(-d) + (1 - p) * tn_softplus(d)) / pairs;
            if (!g->score) continue;
            double dd = ((1 - p) * tn_sigmoid(d) - p * tn_sigmoid(-d)) / (pairs * x->total.group);
            g->score[i] += dd;
            g->score[j] -= dd;
        }
    }
    return loss;
}

static tn_status step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_reward_opt *o = opt;
    TN_TRY(check(o, x, e));
    double loss = 0, sq = 0;
    for (int k = 0; k < x->n_group; k++)
        loss += group_loss(o, x, x->group_off[k], x->group_off[k + 1], g, m);
    for (int s = 0; s < x->n_seq; s++) {
        double r = x->score[s];
        sq += r * r;
        if (g->score) g->score[s] += 2 * o->l2 * r / x->total.seq;
        tn_reward_score_metrics(r, m);
    }
    g->loss = loss / x->total.group + o->l2 * sq / x->total.seq;
    return TN_OK;
}

const tn_algo tn_algo_reward_kwise = {
    .name = "reward-kwise", .summary = "reward model from rankings of several responses",
    .coupling = TN_COUPLE_GROUP, .needs = TN_NEED_SCORE,
    .options = tn_reward_rows, .opt_size = sizeof(tn_reward_opt), .step = step,
};
