/* Distributional preference alignment by optimal transport (Melnyk et al. 2024, 2406.05882): the
 * distribution of margins over the batch is pushed up as a whole, quantile against quantile.
 *
 *   aot            m_i = S_w - S_l and m^ref_i, each sorted; d_k = m_(k) - m^ref_(k)
 *   aot_unpaired   a_i = S_w - S_w^ref and b_i = S_l - S_l^ref, each sorted; d_k = a_(k) - b_(k)
 *   L = (1/B) sum_k (1-eps) sp(-beta d_k) + eps sp(beta d_k)
 *
 * The gradient goes to whoever holds rank k; equal values keep their order. Needs the whole batch
 * in one call.                                                                                 */
#include "algo/dpo.h"
#include "algo/obs.h"
#include <math.h>
#include <string.h>

/* Pairs by one of two values, in ascending order. */
typedef struct side {
    double *value; /* [n_pair] */
    int *order;    /* [n_pair] pair of rank k */
} side;

static void sort(side *h, int n) { /* stable; n is a batch of pairs */
    for (int i = 0; i < n; i++) {
        int j = i;
        for (; j > 0 && h->value[h->order[j - 1]] > h->value[i]; j--) h->order[j] = h->order[j - 1];
        h->order[j] = i;
    }
}

static tn_status check(const tn_dpo_opt *o, const tn_obs *x, tn_err *e) {
    const char *who = "dpo-aot";
    if (o->loss_type.n != 1 ||
        (strcmp(o->loss_type.v[0], "aot") && strcmp(o->loss_type.v[0], "aot_unpaired")))
        return tn_fail(e, TN_ARG, "%s: loss-type must be aot or aot_unpaired alone", who);
    if (strcmp(o->f_divergence, "reverse_kl") != 0 || o->weighting || !isnan(o->ld_alpha) ||
        !isnan(o->rpo_alpha))
        return tn_fail(
            e, TN_ARG,
            "%s: f-divergence-type, use-weighting, ld-alpha and rpo-alpha have no meaning here",
            who);
    if (!(o->beta > 0 && o->beta < HUGE_VAL))
        return tn_fail(e, TN_ARG, "%s: beta is %g, expected a number above 0", who, o->beta);
    TN_TRY(tn_opt_between(o->label_smoothing, 0, 0.5, who, "label-smoothing", e));
    TN_TRY(
        tn_obs_check(x, TN_READ_TOKENS | TN_READ_PAIRS | TN_NEED_LOGP | TN_NEED_REF_LOGP, who, e));
    if (!x->sort_value || !x->sort_order) return tn_fail(e, TN_BUG, "%s: no room to sort in", who);
    if (x->total.pair != x->n_pair)
        return tn_fail(e, TN_ARG, "%s: got %d of %g pairs; ranks need the whole batch in one call",
                       who, x->n_pair, x->total.pair);
    return TN_OK;
}

/* up is the side whose rise lowers the loss, down the other one. */
static void fill(const tn_obs *x, const tn_dpo_opt *o, bool paired, side *up, side *down,
                 tn_metrics *m) {
    for (int i = 0; i < x->n_pair; i++) {
        int c = x->chosen[i], r = x->rejected[i];
        double s_w = tn_obs_sum(x, x->logp, c), s_l = tn_obs_sum(x, x->logp, r);
        double r_w = tn_obs_sum(x, x->ref_logp, c), r_l = tn_obs_sum(x, x->ref_logp, r);
        up->value[i] = paired ? s_w - s_l : s_w - r_w;
        down->value[i] = paired ? r_w - r_l : s_l - r_l;
        tn_dpo_pair_metrics(x, i, o->beta, s_w, s_l, s_w - r_w, s_l - r_l, m);
    }
}

static void give(const tn_obs *x, int s, double d, double *grad) {
    for (int t = x->off[s]; t < x->off[s + 1]; t++) grad[t] += d;
}

static tn_status step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_dpo_opt *o = opt;
    TN_TRY(check(o, x, e));
    int n = x->n_pair;
    bool paired = strcmp(o->loss_type.v[0], "aot") == 0;
    side up = {x->sort_value, x->sort_order}, down = {x->sort_value + n, x->sort_order + n};
    fill(x, o, paired, &up, &down, m);
    sort(&up, n);
    sort(&down, n);
    double loss = 0, eps = o->label_smoothing;
    for (int k = 0; k < n; k++) {
        int i = up.order[k], j = down.order[k];
        double u = o->beta * (up.value[i] - down.value[j]);
        loss += (1 - eps) * tn_softplus(-u) + eps * tn_softplus(u);
        if (!g->logp) continue;
        double d = o->beta / n * (eps * tn_sigmoid(u) - (1 - eps) * tn_sigmoid(-u));
        give(x, x->chosen[i], d, g->logp);
        give(x, x->rejected[paired ? i : j], -d, g->logp);
    }
    g->loss = loss / n;
    return TN_OK;
}

const tn_algo tn_algo_dpo_aot = {
    .name = "dpo-aot", .summary = "preference alignment of whole distributions (AOT)",
    .coupling = TN_COUPLE_BATCH,
    .needs = TN_NEED_LOGP | TN_NEED_REF_LOGP | TN_NEED_ENTROPY | TN_NEED_STATS,
    .options = tn_dpo_rows, .opt_size = sizeof(tn_dpo_opt), .step = step,
};
