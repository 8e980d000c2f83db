/* Clusters and distances of latents; see latent.h. */
#include "algo/latent.h"
#include "algo/linear.h"
#include "base/mem.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double distance2(const double *a, const double *b, int dim) {
    double sum = 0;
    for (int j = 0; j < dim; j++) sum += (a[j] - b[j]) * (a[j] - b[j]);
    return sum;
}
static const double *row(const double *x, int dim, int i) { return x + (size_t)i * (size_t)dim; }

static tn_status check(const double *x, int n, int dim, const char *who, tn_err *e) {
    if (n < 1 || dim < 1) return tn_fail(e, TN_ARG, "%s: %d rows of %d numbers", who, n, dim);
    for (size_t i = 0; i < (size_t)n * (size_t)dim; i++)
        if (!isfinite(x[i]))
            return tn_fail(e, TN_NUMERIC, "%s: number %zu of row %zu is %g, expected a finite one", who,
                           i % (size_t)dim, i / (size_t)dim, x[i]);
    return TN_OK;
}

typedef struct scan { const double *x; int n, dim; double eps2; int min, *label, *queue; } scan;

static bool core(const scan *s, int i) {
    int near = 0;
    for (int j = 0; j < s->n && near < s->min; j++)
        near += distance2(row(s->x, s->dim, i), row(s->x, s->dim, j), s->dim) <= s->eps2;
    return near >= s->min;
}

/* Everything within reach of core i through cores, breadth first. */
static void spread(const scan *s, int i, int cluster) {
    int head = 0, tail = 0;
    s->label[s->queue[tail++] = i] = cluster;
    while (head < tail) {
        int at = s->queue[head++];
        if (!core(s, at)) continue;
        for (int j = 0; j < s->n; j++)
            if (s->label[j] < 0 && distance2(row(s->x, s->dim, at), row(s->x, s->dim, j), s->dim) <= s->eps2)
                s->label[s->queue[tail++] = j] = cluster;
    }
}

tn_status tn_dbscan(const double *x, int n, int dim, double eps, int min_samples, int *label,
                    int *n_cluster, tn_err *e) {
    TN_TRY(check(x, n, dim, "dbscan", e));
    if (!(eps > 0) || min_samples < 1)
        return tn_fail(e, TN_ARG, "dbscan: eps is %g and min_samples %d, expected more than 0", eps,
                       min_samples);
    scan s = {x, n, dim, eps * eps, min_samples, label, tn_malloc((size_t)n * sizeof(int))};
    if (!s.queue) return tn_fail(e, TN_NOMEM, "dbscan: no memory for %d rows", n);
    for (int i = 0; i < n; i++) label[i] = -1;
    *n_cluster = 0;
    for (int i = 0; i < n; i++)
        if (label[i] < 0 && core(&s, i)) spread(&s, i, (*n_cluster)++);
    tn_free(s.queue);
    return TN_OK;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

tn_status tn_latent_eps(const double *x, int n, int dim, double q, double *eps, tn_err *e) {
    TN_TRY(check(x, n, dim, "latents", e));
    if (n < 2 || !(q > 0 && q <= 1))
        return tn_fail(e, TN_ARG, "latents: quantile %g of the distances between %d rows", q, n);
    double *near = tn_malloc((size_t)n * sizeof *near);
    if (!near) return tn_fail(e, TN_NOMEM, "latents: no memory for %d rows", n);
    for (int i = 0; i < n; i++) {
        near[i] = HUGE_VAL;
        for (int j = 0; j < n; j++)
            if (j != i) near[i] = fmin(near[i], distance2(row(x, dim, i), row(x, dim, j), dim));
    }
    qsort(near, (size_t)n, sizeof *near, ascending);
    *eps = sqrt(near[(int)ceil(q * n) - 1]);
    tn_free(near);
    return TN_OK;
}

tn_status tn_cluster_separation(const double *x, int n, const double *sft, int n_sft, int dim,
                                double eps, int min_samples, tn_separation *out, tn_err *e) {
    TN_TRY(check(sft, n_sft, dim, "cluster separation, SFT latents", e));
    TN_TRY(tn_dbscan(x, n, dim, eps, min_samples, out->label, &out->n_cluster, e));
    double *centre = tn_malloc((size_t)dim * sizeof *centre);
    if (!centre) return tn_fail(e, TN_NOMEM, "cluster separation: no memory for %d numbers", dim);
    out->csi = 0;
    for (int c = 0; c < out->n_cluster; c++) {
        double near = HUGE_VAL;
        int size = 0;
        memset(centre, 0, (size_t)dim * sizeof *centre);
        for (int i = 0; i < n; i++) {
            if (out->label[i] != c) continue;
            size++;
            for (int j = 0; j < dim; j++) centre[j] += row(x, dim, i)[j];
        }
        for (int j = 0; j < dim; j++) centre[j] /= size;
        for (int i = 0; i < n_sft; i++) near = fmin(near, distance2(centre, row(sft, dim, i), dim));
        out->size[c] = size;
        out->distance[c] = sqrt(near);
        out->csi += size * out->distance[c];
    }
    tn_free(centre);
    return TN_OK;
}

static void moments(const tn_latent_fit *f, const double *x, int n, int ddof, double ridge) {
    int d = f->dim;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < d; j++) f->mean[j] += row(x, d, i)[j] / n;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < d; j++)
            for (int k = 0; k < d; k++)
                f->cov[(size_t)j * (size_t)d + (size_t)k] +=
                    (row(x, d, i)[j] - f->mean[j]) * (row(x, d, i)[k] - f->mean[k]) / (n - ddof);
    for (int j = 0; j < d; j++) f->cov[(size_t)j * (size_t)d + (size_t)j] += ridge;
}

tn_status tn_latent_fit_new(tn_latent_fit *f, const double *x, int n, int dim, int ddof,
                            double ridge, tn_err *e) {
    memset(f, 0, sizeof *f);
    TN_TRY(check(x, n, dim, "latents", e));
    if (n <= ddof || !(ridge >= 0))
        return tn_fail(e, TN_ARG, "latents: covariance of %d rows with ddof %d and ridge %g", n, ddof, ridge);
    size_t d = (size_t)dim;
    f->dim = dim;
    f->mean = tn_calloc(2 * d + 2 * d * d, sizeof *f->mean);
    if (!f->mean) return tn_fail(e, TN_NOMEM, "latents: no memory for a covariance of %d numbers", dim);
    f->work = f->mean + d, f->cov = f->work + d, f->chol = f->cov + d * d;
    moments(f, x, n, ddof, ridge);
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

/* Q(k + 2) = Q(k) + (x/2)^(k/2) e^(-x/2) / Gamma(k/2 + 1), from Q(2) = e^(-x/2) or Q(1) = 1 - erf(sqrt(x/2)); terms
 * by their logarithms, so that many degrees of freedom do not overflow. */
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

double tn_latent_reward(double reward, double distance2_, double eta, bool squared) {
    return reward - eta * (squared ? distance2_ : sqrt(distance2_));
}
