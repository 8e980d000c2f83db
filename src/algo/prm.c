/* Process reward model (Lightman et al. 2023, 2305.20050): one logit z per labelled step, read at
 * the step's last token; here the scored tokens are exactly those, `value` is z and `ret` the label
 * y in [0, 1] (soft labels: share of rollouts from the step that reach the answer, 2312.08935).
 *
 *   L = (1/N) sum [ y sp(-z) + (1-y) sp(z) ],   dL/dz = (s(z) - y)/N,   N = steps of the batch  */
#include "algo/obs.h"
#include "algo/reward.h"

static const tn_opt_row rows[] = {TN_OPT_LAST};

static tn_status step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    TN_TRY(tn_obs_check(x, TN_READ_TOKENS | TN_NEED_VALUE | TN_READ_RET, "prm", e));
    int n = x->off[x->n_seq];
    TN_TRY(tn_total_check(x->total.tok, n, "labelled steps", "prm", e));
    double loss = 0, right = 0;
    for (int t = 0; t < n; t++) {
        double z = x->value[t], y = x->ret[t];
        TN_TRY(tn_opt_between(y, 0, 1, "prm", "a step's label", e));
        loss += y * tn_softplus(-z) + (1 - y) * tn_softplus(z);
        if (g->value) g->value[t] += ((1 - y) * tn_sigmoid(z) - y * tn_sigmoid(-z)) / x->total.tok;
        right += (z > 0) == (y > 0.5);
    }
    g->loss = loss / x->total.tok;
    tn_metrics_mean(m, "accuracy", right, n);
    return TN_OK;
}

double tn_prm_score(const double *logit, int n, bool product) {
    double all = 1, least = 1;
    for (int i = 0; i < n; i++) {
        double p = tn_sigmoid(logit[i]);
        all *= p;
        least = p < least ? p : least;
    }
    return product ? all : least;
}

const tn_algo tn_algo_prm = {
    .name = "prm",
    .summary = "process reward model on labelled steps",
    .coupling = TN_COUPLE_TOKEN,
    .needs = TN_NEED_VALUE,
    .options = rows,
    .opt_size = 0,
    .step = step,
};
