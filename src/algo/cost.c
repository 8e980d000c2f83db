/* Cost model of Safe RLHF (Dai et al. 2023, 2310.12773) on scalar scores C: the more harmful
 * response h (rejected) costs more than the safer one l (chosen), and 0 is the border of safety: s
 * = +1 for an unsafe response, -1 for a safe one.
 *
 *   L = (1/B) sum [ -log s(C_h - C_l) - log s(s_h C_h) - log s(s_l C_l) + (c/2) (C_h^2 + C_l^2) ]
 *   dL/dC_h = [ -s(C_l - C_h) - s_h s(-s_h C_h) + c C_h ] / B
 *   dL/dC_l = [ +s(C_l - C_h) - s_l s(-s_l C_l) + c C_l ] / B
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
    TN_TRY(tn_obs_check(x, TN_READ_PAIRS | TN_NEED_SCORE, "cost", e));
    if (x->label) return TN_OK;
    return tn_fail(e, TN_ARG, "cost: needs for every response whether it is safe, found no labels");
}

static tn_status step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_cost_opt *o = opt;
    TN_TRY(check(o, x, e));
    double loss = 0, n = x->total.pair;
    for (int i = 0; i < x->n_pair; i++) {
        int l = x->chosen[i], h = x->rejected[i];
        double d = x->score[h] - x->score[l], push = tn_sigmoid(-d);
        side harm = sign_of(x->score[h], x->label[h], o->l2);
        side safe = sign_of(x->score[l], x->label[l], o->l2);
        loss += tn_softplus(-d) + harm.loss + safe.loss;
        if (g->score) {
            g->score[h] += (harm.grad - push) / n;
            g->score[l] += (safe.grad + push) / n;
        }
        tn_metrics_mean(m, "accuracy", d > 0, 1);
        tn_metrics_mean(m, "accuracy_sign", harm.right + safe.right, 2);
        tn_metrics_mean(m, "margin", d, 1);
        tn_metrics_mean(m, "mean_cost", x->score[h] + x->score[l], 2);
    }
    g->loss = loss / n;
    return TN_OK;
}

const tn_algo tn_algo_cost = {
    .name = "cost",
    .summary = "cost model from pairs and safety labels (Safe RLHF)",
    .coupling = TN_COUPLE_PAIR,
    .needs = TN_NEED_SCORE,
    .options = tn_cost_rows,
    .opt_size = sizeof(tn_cost_opt),
    .step = step,
};
