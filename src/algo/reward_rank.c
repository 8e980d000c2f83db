/* Reward model from rankings: one group = one prompt with its responses, each run once, so that
 * a prompt has one weight however many responses it has (Ouyang et al. 2022, 2203.02155).
 *
 *   L = (1/G) sum_g L_g + c mean_s r_s^2,   L_g one of
 *   pairs          (1/|P|) sum_{(w,l) in P} -log s(r_w - r_l),  P = pairs with rank_w < rank_l
 *   plackett_luce  -sum_k [r_(k) - lse(r_(k), ..., r_(K))],  r_(1) the best
 *   best           -[r_(1) - lse(all)]                        (Ziegler et al. 2019, 1909.08593)
 *
 * Equal ranks in pairs: left out of P, or (`ties half`) in P with (1/2)[-log s(d) - log s(-d)].
 * A group without any ordered pair says nothing: it adds 0 and still counts in G.             */
#include "algo/obs.h"
#include "algo/reward.h"
#include <string.h>

static bool is(const tn_reward_opt *o, const char *ranking) {
    return strcmp(o->ranking, ranking) == 0;
}

/* plackett_luce needs distinct ranks, best one rank below all others. */
static tn_status check_ranks(const tn_reward_opt *o, const tn_obs *x, tn_err *e) {
    for (int k = 0; k < x->n_group; k++)
        for (int lo = x->group_off[k], hi = x->group_off[k + 1], i = lo; i < hi; i++) {
            bool first = true;
            for (int j = lo; j < hi; j++) first = first && x->rank[j] >= x->rank[i];
            for (int j = i + 1; j < hi; j++)
                if (x->rank[i] == x->rank[j] && (is(o, "plackett_luce") || first))
                    return tn_fail(e, TN_ARG,
                                   "reward-rank: group %d has rank %d twice, which ranking-loss %s"
                                   " has no meaning for; use pairs",
                                   k, x->rank[i], o->ranking);
        }
    return TN_OK;
}

static tn_status check(const tn_reward_opt *o, const tn_obs *x, tn_err *e) {
    const char *who = "reward-rank";
    TN_TRY(tn_reward_opt_check(o, who, e));
    if (o->center > 0)
        return tn_fail(e, TN_ARG, "%s: center-rewards-coefficient is for pairs; use reward-l2",
                       who);
    if (o->label_smoothing > 0 && !is(o, "pairs"))
        return tn_fail(e, TN_ARG, "%s: label-smoothing needs ranking-loss pairs", who);
    TN_TRY(tn_obs_check(x, TN_READ_GROUPS | TN_NEED_SCORE, who, e));
    if (!x->rank) return tn_fail(e, TN_ARG, "%s: groups without ranks", who);
    if (!is(o, "pairs")) TN_TRY(check_ranks(o, x, e));
    return tn_total_check(x->total.seq, x->n_seq, "sequences", who, e);
}

/* P(i beats j) by the ranks, for each pair once: 1, 1/2 for a tie that counts, else -1. */
static double target(const tn_reward_opt *o, const int *rank, int i, int j) {
    if (rank[i] < rank[j]) return 1;
    return i < j && rank[i] == rank[j] && strcmp(o->ties, "half") == 0 ? 0.5 : -1;
}

/* The three group losses: value returned, scale times the gradient added to grad (NULL: not). */
static double group_pairs(const tn_reward_opt *o, const tn_obs *x, int lo, int hi, double scale,
                          double *grad) {
    double pairs = 0, loss = 0;
    for (int i = lo; i < hi; i++)
        for (int j = lo; j < hi; j++) pairs += target(o, x->rank, i, j) > 0;
    for (int i = lo; i < hi; i++) {
        for (int j = lo; j < hi; j++) {
            double p = target(o, x->rank, i, j), d = x->score[i] - x->score[j];
            if (p < 0) continue;
            p = p * (1 - o->label_smoothing) + (1 - p) * o->label_smoothing;
            loss += (p * tn_softplus(-d) + (1 - p) * tn_softplus(d)) / pairs;
            if (!grad) continue;
            double dd = scale * ((1 - p) * tn_sigmoid(d) - p * tn_sigmoid(-d)) / pairs;
            grad[i] += dd;
            grad[j] -= dd;
        }
    }
    return loss;
}

/* One choice: `pick` out of all members ranked no better than it. */
static double choice(const tn_obs *x, int lo, int hi, int pick, double scale, double *grad) {
    double top = x->score[pick], sum = 0;
    for (int i = lo; i < hi; i++)
        if (x->rank[i] >= x->rank[pick] && x->score[i] > top) top = x->score[i];
    for (int i = lo; i < hi; i++)
        if (x->rank[i] >= x->rank[pick]) sum += tn_exp(x->score[i] - top);
    for (int i = lo; grad && i < hi; i++)
        if (x->rank[i] >= x->rank[pick]) grad[i] += scale * tn_exp(x->score[i] - top) / sum;
    if (grad) grad[pick] -= scale;
    return tn_log(sum) - (x->score[pick] - top);
}

static double group_choices(const tn_reward_opt *o, const tn_obs *x, int lo, int hi, double scale,
                            double *grad) {
    double loss = 0;
    for (int i = lo; i < hi; i++) {
        bool first = true;
        for (int j = lo; j < hi; j++) first = first && x->rank[j] >= x->rank[i];
        if (first || is(o, "plackett_luce")) loss += choice(x, lo, hi, i, scale, grad);
    }
    return loss;
}

static void group_metrics(const tn_obs *x, int lo, int hi, tn_metrics *m) {
    for (int i = lo; i < hi; i++) {
        for (int j = lo; j < hi; j++) {
            if (x->rank[i] >= x->rank[j]) continue;
            tn_metrics_mean(m, "accuracy", x->score[i] > x->score[j], 1);
            tn_metrics_mean(m, "margin", x->score[i] - x->score[j], 1);
        }
        tn_reward_score_metrics(x->score[i], m);
    }
}

static tn_status step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_reward_opt *o = opt;
    TN_TRY(check(o, x, e));
    double loss = 0, sq = 0;
    for (int k = 0; k < x->n_group; k++) {
        int lo = x->group_off[k], hi = x->group_off[k + 1];
        loss += (is(o, "pairs") ? group_pairs : group_choices)(o, x, lo, hi, 1 / x->total.group,
                                                               g->score);
        group_metrics(x, lo, hi, m);
    }
    for (int s = 0; s < x->n_seq; s++) {
        sq += x->score[s] * x->score[s];
        if (g->score) g->score[s] += 2 * o->l2 * x->score[s] / x->total.seq;
    }
    g->loss = loss / x->total.group + o->l2 * sq / x->total.seq;
    return TN_OK;
}

const tn_algo tn_algo_reward_rank = {
    .name = "reward-rank", .summary = "reward model from rankings of several responses",
    .coupling = TN_COUPLE_GROUP, .needs = TN_NEED_SCORE,
    .options = tn_reward_rows, .opt_size = sizeof(tn_reward_opt), .step = step,
};
