/* Whitening and running moments. Means and variances in two passes, in double. */
#include "algo/rl.h"
#include <math.h>

static void mean_m2(const double *x, int n, double *mean, double *m2) {
    double mu = 0, sq = 0;
    for (int i = 0; i < n; i++) mu += x[i];
    mu /= n;
    for (int i = 0; i < n; i++) sq += (x[i] - mu) * (x[i] - mu);
    *mean = mu;
    *m2 = sq;
}

tn_status tn_whiten(double *x, int n, int ddof, bool shift_mean, tn_err *e) {
    if (n <= ddof || n < 1)
        return tn_fail(e, TN_ARG, "whitening: %d value(s) with ddof %d; a larger batch is needed",
                       n, ddof);
    double mu, sq;
    mean_m2(x, n, &mu, &sq);
    double inv = 1 / sqrt(sq / (n - ddof) + 1e-8), back = shift_mean ? 0 : mu;
    if (!isfinite(mu) || !isfinite(inv))
        return tn_fail(e, TN_NUMERIC,
                       "whitening: the mean of %d values is %g, expected finite numbers", n, mu);
    for (int i = 0; i < n; i++) x[i] = (x[i] - mu) * inv + back;
    return TN_OK;
}

void tn_moments_merge(tn_moments *into, const tn_moments *from) {
    double n = into->count + from->count, d = from->mean - into->mean;
    if (!(from->count > 0)) return;
    into->mean += d * from->count / n;
    into->m2 += from->m2 + d * d * into->count * from->count / n;
    into->count = n;
}

void tn_moments_add(tn_moments *m, const double *x, int n) {
    tn_moments batch = {n, 0, 0};
    if (n < 1) return;
    mean_m2(x, n, &batch.mean, &batch.m2);
    tn_moments_merge(m, &batch);
}

double tn_moments_var(const tn_moments *m, int ddof) {
    return m->count > ddof ? m->m2 / (m->count - ddof) : NAN;
}

double tn_explained_variance(const double *value, const double *ret, int n) {
    tn_moments left = {0}, all = {0};
    for (int i = 0; i < n; i++) {
        double d = ret[i] - value[i];
        tn_moments_add(&left, &d, 1);
    }
    tn_moments_add(&all, ret, n);
    return all.m2 > 0 ? 1 - left.m2 / all.m2 : NAN;
}
