/* The Gaussian of latents and distances from it; see latent.h. */
#include "algo/latent.h"
#include "algo/linear.h"
#include "base/mem.h"
#include <math.h>
#include <string.h>

tn_status tn_latent_check(const double *x, int n, int dim, const char *who, tn_err *e) {
    if (n < 1 || dim < 1) return tn_fail(e, TN_ARG, "%s: %d rows of %d numbers", who, n, dim);
    for (size_t i = 0; i < (size_t)n * (size_t)dim; i++)
        if (!isfinite(x[i]))
            return tn_fail(e, TN_NUMERIC, "%s: number %zu of row %zu is %g, expected a finite one",
                           who, i % (size_t)dim, i / (size_t)dim, x[i]);
    return TN_OK;
}

static void moments(const tn_latent_fit *f, const double *x, int n, int ddof) {
    int d = f->dim;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < d; j++) f->mean[j] += x[(size_t)i * (size_t)d + (size_t)j] / n;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < d; j++)
            for (int k = 0; k < d; k++)
                f->cov[(size_t)j * (size_t)d + (size_t)k] +=
                    (x[(size_t)i * (size_t)d + (size_t)j] - f->mean[j]) *
                    (x[(size_t)i * (size_t)d + (size_t)k] - f->mean[k]) / (n - ddof);
}

/* S <- (1 - a) S + a m I with m = tr S / p, a = min(1, b/d), d = |S - m I|^2, b = sum_i |x_i x_i^T
 * - S|^2 / n^2; the sum is sum_i |x_i|^4 - n |S|^2 for centred rows. */
static double shrink(const tn_latent_fit *f, const double *x, int n) {
    size_t p = (size_t)f->dim;
    double trace = 0, norm = 0, fourth = 0;
    for (size_t j = 0; j < p; j++) trace += f->cov[j * p + j];
    for (size_t j = 0; j < p * p; j++) norm += f->cov[j] * f->cov[j];
    for (int i = 0; i < n; i++) {
        double sq = 0;
        for (int j = 0; j < f->dim; j++) {
            double v = x[(size_t)i * p + (size_t)j] - f->mean[j];
            sq += v * v;
        }
        fourth += sq * sq;
    }
    double m = trace / f->dim, d = norm - trace * m, b = (fourth / n - norm) / n;
    double a = b >= d ? 1 : b > 0 ? b / d : 0; /* b >= d = 0: nothing to shrink */
    for (size_t j = 0; j < p * p; j++) f->cov[j] *= 1 - a;
    for (size_t j = 0; j < p; j++) f->cov[j * p + j] += a * m;
    return a;
}

tn_status tn_latent_fit_new(tn_latent_fit *f, const double *x, int n, int dim, int ddof,
                            double ridge, bool shrinking, tn_err *e) {
    memset(f, 0, sizeof *f);
    TN_TRY(tn_latent_check(x, n, dim, "latents", e));
    if (n <= ddof || !(ridge >= 0))
        return tn_fail(e, TN_ARG, "latents: covariance of %d rows with ddof %d and ridge %g", n,
                       ddof, ridge);
    size_t d = (size_t)dim;
    f->dim = dim;
    f->mean = tn_calloc(2 * d + 2 * d * d, sizeof *f->mean);
    if (!f->mean)
        return tn_fail(e, TN_NOMEM, "latents: no memory for a covariance of %d numbers", dim);
    f->work = f->mean + d, f->cov = f->work + d, f->chol = f->cov + d * d;
    moments(f, x, n, shrinking ? 0 : ddof);
    if (shrinking) f->shrinkage = shrink(f, x, n);
    for (size_t j = 0; j < d; j++) f->cov[j * d + j] += ridge;
    memcpy(f->chol, f->cov, d * d * sizeof *f->cov);
    tn_status st = tn_cholesky(f->chol, dim, "latents: the covariance", e);
    if (st != TN_OK) tn_latent_free(f);
    return st;
}

void tn_latent_free(tn_latent_fit *f) {
    tn_free(f->mean);
    memset(f, 0, sizeof *f);
}

double tn_latent_distance2(const tn_latent_fit *f, const double *x) {
    double sum = 0;
    for (int j = 0; j < f->dim; j++) f->work[j] = x[j] - f->mean[j];
    tn_cholesky_forward(f->chol, f->dim, f->work); /* D^2 = |L^-1 (x - mean)|^2 */
    for (int j = 0; j < f->dim; j++) sum += f->work[j] * f->work[j];
    return sum;
}

/* Q(k + 2) = Q(k) + (x/2)^(k/2) e^(-x/2) / Gamma(k/2 + 1), from Q(2) = e^(-x/2) or Q(1) = 1 -
 * erf(sqrt(x/2)); terms by their logarithms, so that many degrees of freedom do not overflow. */
double tn_chi2_tail(double x, int dof) {
    if (!(x > 0)) return 1;
    double h = x / 2, q = dof % 2 ? 1 - tn_erf(sqrt(h)) : 0, log_gamma = 0;
    if (dof % 2) log_gamma = 0.5 * tn_log(3.14159265358979323846); /* of 1/2 */
    for (int k = dof % 2 ? 1 : 0; k < dof; k += 2) {
        if (k > 0) log_gamma += tn_log(0.5 * k); /* Gamma(k/2 + 1) = k/2 Gamma(k/2) */
        q += tn_exp(0.5 * k * tn_log(h) - h - log_gamma);
    }
    return q < 1 ? q : 1;
}

double tn_latent_outliers(const tn_latent_fit *f, const double *x, int n, double alpha) {
    int out = 0;
    for (int i = 0; i < n; i++)
        out += tn_chi2_tail(tn_latent_distance2(f, x + (size_t)i * (size_t)f->dim), f->dim) < alpha;
    return n > 0 ? (double)out / n : NAN;
}

double tn_latent_reward(double reward, double distance2_, double eta, bool squared) {
    return reward - eta * (squared ? distance2_ : sqrt(distance2_));
}
