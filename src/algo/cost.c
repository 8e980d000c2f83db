/* Cost model of Safe RLHF (Dai et al. 2023, 2310.12773) on scalar scores C: the more harmful
 * response h (rejected) of each of P pairs costs more than the safer one l (chosen), and 0 is the border of
 * safety for each of N responses: s = +1 for an unsafe response, -1 for a safe one.
 *
 *   L = (1/P) sum_pairs -log s(C_h - C_l) + (2/N) sum_i [ -log s(s_i C_i) + (c/2) C_i^2 ]
 *   dL/dC_i = (2/N) [ -s_i s(-s_i C_i) + c C_i ] - (1/P) s(C_l - C_h) for i = h, + the same for i = l
 *
 * That is the paper's mean over pairs where all responses come in pairs (N = 2P); single responses with a label
 * (P = 0) say where the border is and nothing else.
 *
 * To normalise a cost model scale it only: a shift moves the border. */
#include "algo/lagrange.h"
#include "algo/obs.h"
#include <math.h>

#define AT(f) offsetof(tn_cost_opt, f)
const tn_opt_row tn_cost_rows[] = {
    {"cost-l2", TN_OPT_REAL, AT(l2), "0.001", NULL, 0, 1e9, "regularization", "X",
     "Adds X times the mean squared cost."},
    TN_OPT_LAST,
};

typedef struct side {
    double loss, grad;
    bool right;
} side;

/* -log s(s C) + (c/2) C^2 of one response. */
static side sign_of(double cost, int safe, double l2) {
    double s = safe ? -1 : 1;
    return (side){tn_softplus(-s * cost) + 0.5 * l2 * cost * cost,
                  -s * tn_sigmoid(-s * cost) + l2 * cost, s * cost > 0};
}

static tn_status check(const tn_cost_opt *o, const tn_obs *x, tn_err *e) {
    TN_TRY(tn_opt_between(o->l2, 0, HUGE_VAL, "cost", "cost-l2", e));
    TN_TRY(tn_obs_check(x, (x->n_pair ? TN_READ_PAIRS : 0) | TN_NEED_SCORE, "cost", e));
    TN_TRY(tn_total_check(x->total.seq, x->n_seq, "responses", "cost", e));
    if (x->label) return TN_OK;
    return tn_fail(e, TN_ARG, "cost: needs for every response whether it is safe, found no labels");
}

static double comparisons(const tn_obs *x, tn_grad *g, tn_metrics *m) {
    double loss = 0;
    for (int i = 0; i < x->n_pair; i++) {
        int l = x->chosen[i], h = x->rejected[i];
        double d = x->score[h] - x->score[l], push = tn_sigmoid(-d) / x->total.pair;
        loss += tn_softplus(-d);
        if (g->score) g->score[h] -= push, g->score[l] += push;
        tn_metrics_mean(m, "accuracy", d > 0, 1);
        tn_metrics_mean(m, "margin", d, 1);
    }
    return x->n_pair ? loss / x->total.pair : 0;
}

static tn_status step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_cost_opt *o = opt;
    TN_TRY(check(o, x, e));
    double loss = 0, share = 2 / x->total.seq;
    for (int i = 0; i < x->n_seq; i++) {
        side s = sign_of(x->score[i], x->label[i], o->l2);
        loss += s.loss;
        if (g->score) g->score[i] += share * s.grad;
        tn_metrics_mean(m, "accuracy_sign", s.right, 1);
        tn_metrics_mean(m, "mean_cost", x->score[i], 1);
    }
    g->loss = share * loss + comparisons(x, g, m);
    return TN_OK;
}

const tn_algo tn_algo_cost = {
    .name = "cost",
    .summary = "cost model from safety labels, of pairs or single responses (Safe RLHF)",
    .coupling = TN_COUPLE_PAIR,
    .needs = TN_NEED_SCORE,
    .options = tn_cost_rows,
    .opt_size = sizeof(tn_cost_opt),
    .step = step,
};
