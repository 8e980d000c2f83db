/* Clusters of latents and how far they are from the SFT model's; see latent.h. */
#include "algo/latent.h"
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

typedef struct scan {
    const double *x;
    int n, dim;
    double eps2;
    int min, *label, *queue;
} scan;

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
            if (s->label[j] < 0 &&
                distance2(row(s->x, s->dim, at), row(s->x, s->dim, j), s->dim) <= s->eps2)
                s->label[s->queue[tail++] = j] = cluster;
    }
}

tn_status tn_dbscan(const double *x, int n, int dim, double eps, int min_samples, int *label,
                    int *n_cluster, tn_err *e) {
    TN_TRY(tn_latent_check(x, n, dim, "dbscan", e));
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
    TN_TRY(tn_latent_check(x, n, dim, "latents", e));
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
    TN_TRY(tn_latent_check(sft, n_sft, dim, "cluster separation, SFT latents", e));
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
