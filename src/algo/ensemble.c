/* Ensembles of reward models; see ensemble.h. */
#include "algo/ensemble.h"
#include "algo/obs.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_ensemble_opt, f)
const tn_opt_row tn_ensemble_rows[] = {
    {"ensemble", TN_OPT_CHOICE, AT(how), "mean", "mean|worst|uwo|std|median", 0, 0, NULL, NULL,
     "How several reward models' scores become one: their mean; the worst case; the mean less "
     "lambda times their variance (uwo) or standard deviation; the median."},
    {"ensemble-lambda", TN_OPT_REAL, AT(lambda), "0.5", NULL, 0, 1e9, NULL, "X",
     "Price of the members' disagreement (0.5 for best of n and 0.1 for PPO in Coste et al.)."},
    {"ensemble-ddof", TN_OPT_INT, AT(ddof), "0", NULL, 0, 1, NULL, "N",
     "Variance over k members divided by k - N."},
    TN_OPT_LAST,
};

static void mean_var(const double *r, int k, int ddof, double *mean, double *var) {
    *mean = *var = 0;
    for (int i = 0; i < k; i++) *mean += r[i];
    *mean /= k;
    for (int i = 0; i < k; i++) *var += (r[i] - *mean) * (r[i] - *mean);
    *var /= k - ddof;
}

static double worst(const double *r, int k, double *grad) {
    int at = 0;
    for (int i = 1; i < k; i++)
        if (r[i] < r[at]) at = i;
    for (int i = 0; grad && i < k; i++) grad[i] = i == at;
    return r[at];
}

static double median(const double *r, int k, double *grad) {
    int order[TN_ENSEMBLE_MAX] = {0}, lo = (k - 1) / 2, hi = k / 2;
    for (int i = 0; i < k; i++) { /* insertion */
        int j = i;
        for (; j > 0 && r[order[j - 1]] > r[i]; j--) order[j] = order[j - 1];
        order[j] = i;
    }
    for (int i = 0; grad && i < k; i++) grad[i] = 0.5 * ((i == order[lo]) + (i == order[hi]));
    return 0.5 * (r[order[lo]] + r[order[hi]]);
}

double tn_ensemble_combine(tn_ensemble how, double lambda, int ddof, const double *r, int k,
                           double *grad) {
    double mean, var, spread, d; /* d spread / d r_i = d (r_i - mean) */
    if (how == TN_ENSEMBLE_WORST) return worst(r, k, grad);
    if (how == TN_ENSEMBLE_MEDIAN) return median(r, k, grad);
    mean_var(r, k, how == TN_ENSEMBLE_MEAN ? 0 : ddof, &mean, &var);
    if (how == TN_ENSEMBLE_MEAN) lambda = 0;
    spread = how == TN_ENSEMBLE_STD ? sqrt(var) : var;
    d = how != TN_ENSEMBLE_STD ? 2.0 / (k - ddof) : spread > 0 ? 1 / (spread * (k - ddof)) : 0;
    for (int i = 0; grad && i < k; i++)
        grad[i] = 1.0 / k - (lambda > 0 ? lambda * d * (r[i] - mean) : 0);
    return mean - lambda * spread;
}

static tn_status parse(const tn_ensemble_opt *o, int k, tn_ensemble *how, tn_err *e) {
    static const char *const names[] = {"mean", "worst", "uwo", "std", "median"};
    int at = 0;
    while (at < 5 && strcmp(names[at], o->how ? o->how : "mean") != 0) at++;
    if (at == 5) return tn_fail(e, TN_ARG, "ensemble: no combination '%s'; see --help", o->how);
    *how = (tn_ensemble)at;
    TN_TRY(tn_opt_between(o->lambda, 0, HUGE_VAL, "ensemble", "ensemble-lambda", e));
    TN_TRY(tn_opt_between((double)o->ddof, 0, 1, "ensemble", "ensemble-ddof", e));
    if (k < 1 || k > TN_ENSEMBLE_MAX)
        return tn_fail(e, TN_ARG, "ensemble: %d members, expected 1 to %d", k, TN_ENSEMBLE_MAX);
    if ((*how == TN_ENSEMBLE_UWO || *how == TN_ENSEMBLE_STD) && k <= o->ddof)
        return tn_fail(e, TN_ARG,
                       "ensemble: %s of %d member with ensemble-ddof %d; take more members", o->how,
                       k, (int)o->ddof);
    return TN_OK;
}

tn_status tn_ensemble_scores(const tn_ensemble_opt *o, const double *member, int n, int k,
                             double *score, tn_metrics *m, tn_err *e) {
    tn_ensemble how = TN_ENSEMBLE_MEAN;
    double std = 0;
    TN_TRY(parse(o, k, &how, e));
    for (long i = 0; i < (long)n * k; i++)
        if (!isfinite(member[i]))
            return tn_fail(e, TN_NUMERIC,
                           "ensemble: score of response %ld by member %ld is %g, expected a finite "
                           "number",
                           i / k, i % k, member[i]);
    for (int i = 0; i < n; i++) {
        double mean, var;
        mean_var(member + (long)i * k, k, 0, &mean, &var);
        std += sqrt(var);
        score[i] = tn_ensemble_combine(how, o->lambda, (int)o->ddof, member + (long)i * k, k, NULL);
    }
    tn_metrics_mean(m, "ensemble/std", std, n);
    return TN_OK;
}

void tn_weights_mean(float *out, const float *const *member, int k, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (int m = 0; m < k; m++) sum += member[m][i];
        out[i] = (float)(sum / k);
    }
}

void tn_weights_ema(float *ema, const float *w, size_t n, double decay) {
    for (size_t i = 0; i < n; i++) ema[i] = (float)(decay * ema[i] + (1 - decay) * w[i]);
}
