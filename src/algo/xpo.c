/* XPO, exploratory preference optimisation (Xie et al. 2024, 2405.21046), as in TRL.
 *
 * A pair is one response of the policy and one of the reference to a prompt, ordered by reward; a, b: log-ratios S - S^ref
 * of the better and the worse one, h = a - b.
 *   L = (1/B) sum_pairs [ f(h) + alpha S(y_ref) ]     f: sigmoid sp(-beta h) · ipo (h - 1/(2 beta))^2
 *   dL/dl_t = +-f'(h)/B for tokens of the better and the worse response, + alpha/B for those of the reference's.
 * The second term pushes what the reference says down everywhere, which is the bonus for exploring. A response's label says
 * whose it is: 1, the policy's; 0, the reference's.                                              */
#include "algo/dpo.h"
#include "algo/obs.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_xpo_opt, f)
const tn_opt_row tn_xpo_rows[] = {
    {"beta", TN_OPT_REAL, AT(beta), "0.1", NULL, 0, 1e9, NULL, "X",
     "Strength of the pull to the reference: larger stays closer (tau of ipo)."},
    {"loss-type", TN_OPT_CHOICE, AT(loss_type), "sigmoid", "sigmoid|ipo", 0, 0, NULL, NULL,
     "Loss on the pair: DPO's, or IPO's on summed log-probs."},
    {"alpha", TN_OPT_REAL, AT(alpha), "0.00001", NULL, 0, 1e9, NULL, "X",
     "Weight of the exploration bonus, the log-prob of the reference's response; 0 is online DPO against the reference."},
    TN_OPT_LAST};

static tn_status check(const tn_xpo_opt *o, const tn_obs *x, tn_err *e) {
    if (!(o->beta > 0 && o->beta < HUGE_VAL))
        return tn_fail(e, TN_ARG, "xpo: beta is %g, expected a number above 0", o->beta);
    TN_TRY(tn_opt_between(o->alpha, 0, HUGE_VAL, "xpo", "alpha", e));
    TN_TRY(tn_obs_check(x, TN_READ_TOKENS | TN_READ_PAIRS | TN_NEED_LOGP | TN_NEED_REF_LOGP, "xpo", e));
    for (int i = 0; x->label && i < x->n_pair; i++)
        if (x->label[x->chosen[i]] == x->label[x->rejected[i]])
            return tn_fail(e, TN_ARG, "xpo: pair %d has two responses of %s; one must be the policy's, one the reference's", i,
                           x->label[x->chosen[i]] ? "the policy" : "the reference");
    return x->label ? TN_OK : tn_fail(e, TN_ARG, "xpo: needs to know whose the responses are, found no labels");
}

static void spread(const tn_obs *x, int s, double d, double *grad) {
    for (int t = x->off[s]; grad && t < x->off[s + 1]; t++) grad[t] += d;
}

static tn_status step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_xpo_opt *o = opt;
    TN_TRY(check(o, x, e));
    bool ipo = strcmp(o->loss_type, "ipo") == 0;
    double loss = 0, B = x->total.pair;
    for (int i = 0; i < x->n_pair; i++) {
        int c = x->chosen[i], r = x->rejected[i], theirs = x->label[c] ? r : c;
        double s_w = tn_obs_sum(x, x->logp, c), s_l = tn_obs_sum(x, x->logp, r), a = s_w - tn_obs_sum(x, x->ref_logp, c),
               b = s_l - tn_obs_sum(x, x->ref_logp, r), u = o->beta * (a - b), d = a - b - 0.5 / o->beta;
        double pair = ipo ? d * d : tn_softplus(-u), slope = ipo ? 2 * d : -o->beta * tn_sigmoid(-u);
        double bonus = o->alpha * (theirs == c ? s_w : s_l);
        loss += (pair + bonus) / B;
        spread(x, c, slope / B, g->logp);
        spread(x, r, -slope / B, g->logp);
        spread(x, theirs, o->alpha / B, g->logp);
        tn_metrics_mean(m, "loss/dpo", pair, 1);
        tn_metrics_mean(m, "loss/xpo", bonus, 1);
        tn_dpo_pair_metrics(x, i, o->beta, s_w, s_l, a, b, m);
    }
    g->loss = loss;
    return TN_OK;
}

const tn_algo tn_algo_xpo = {
    .name = "xpo", .summary = "preferences between the policy's and the reference's responses, with a bonus for exploring",
    .coupling = TN_COUPLE_PAIR,
    .needs = TN_NEED_LOGP | TN_NEED_REF_LOGP | TN_NEED_ENTROPY | TN_NEED_STATS,
    .options = tn_xpo_rows, .opt_size = sizeof(tn_xpo_opt), .step = step,
};
