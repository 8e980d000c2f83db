#include "eval/bon.h"
#include "algo/group.h"
#include "base/mem.h"
#include "base/rng.h"
#include <math.h>
#include <stdlib.h>

static int points_of(int n_sample, tn_bon_point *p) {
    int k = 0;
    for (int n = 1; n < n_sample && k < TN_BON_POINTS - 1; n *= 2) p[k++].n = n;
    p[k++].n = n_sample;
    for (int i = 0; i < k; i++) p[i].kl = tn_bon_kl(p[i].n), p[i].d = sqrt(p[i].kl > 0 ? p[i].kl : 0);
    return k;
}

/* Means over strata of gain[.][prompt], prompts taken `weight` times. */
static double weighted(const double *gain, const int *weight, const int *stratum, int n, int n_strata, double *sum, int *many) {
    double mean = 0;
    int present = 0;
    for (int f = 0; f < n_strata; f++) sum[f] = 0, many[f] = 0;
    for (int i = 0; i < n; i++) sum[stratum[i]] += weight[i] * gain[i], many[stratum[i]] += weight[i];
    for (int f = 0; f < n_strata; f++)
        if (many[f]) mean += sum[f] / many[f], present++;
    return present ? mean / present : 0;
}

/* As many prompts of every stratum as there are, with replacement. */
static void resample(tn_rng *r, const int *stratum, int n, int n_strata, int *weight, int *list) {
    for (int i = 0; i < n; i++) weight[i] = 0;
    for (int f = 0; f < n_strata; f++) {
        int m = 0;
        for (int i = 0; i < n; i++)
            if (stratum[i] == f) list[m++] = i;
        for (int i = 0; i < m; i++) weight[list[tn_rng_below(r, (uint32_t)m)]]++;
    }
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* gain [points][n_prompt] */
static tn_status intervals(const double *gain, const int *stratum, int n, int n_strata, uint64_t seed, tn_bon_curve *c,
                           tn_err *e) {
    double d[TN_BON_POINTS], g[TN_BON_POINTS], alpha[TN_BON_RESAMPLES], beta[TN_BON_RESAMPLES];
    int *weight = tn_calloc((size_t)n, sizeof *weight), *list = tn_calloc((size_t)n, sizeof *list),
        *many = tn_calloc((size_t)n_strata, sizeof *many);
    double *sum = tn_calloc((size_t)n_strata, sizeof *sum);
    tn_status st = weight && list && many && sum ? TN_OK : tn_fail(e, TN_NOMEM, "best of n: no memory for %d prompts", n);
    for (int b = 0; b < TN_BON_RESAMPLES && st == TN_OK; b++) {
        tn_overopt fit;
        tn_rng r = tn_rng_stream(seed, TN_RNG_BOOTSTRAP, (uint64_t)b);
        resample(&r, stratum, n, n_strata, weight, list);
        for (int k = 0; k < c->n_point; k++) {
            d[k] = c->point[k].d;
            g[k] = weighted(gain + (size_t)k * (size_t)n, weight, stratum, n, n_strata, sum, many);
        }
        st = tn_overopt_fit(TN_OVEROPT_BON, d, g, c->n_point, 0, &fit, e);
        alpha[b] = fit.alpha, beta[b] = fit.beta;
    }
    if (st == TN_OK) {
        int lo = (int)(0.025 * TN_BON_RESAMPLES), hi = TN_BON_RESAMPLES - 1 - lo;
        qsort(alpha, TN_BON_RESAMPLES, sizeof *alpha, ascending);
        qsort(beta, TN_BON_RESAMPLES, sizeof *beta, ascending);
        c->alpha_lo = alpha[lo], c->alpha_hi = alpha[hi], c->beta_lo = beta[lo], c->beta_hi = beta[hi];
    }
    tn_free(weight), tn_free(list), tn_free(many), tn_free(sum);
    return st;
}

static tn_status measure(const double *gold, const double *proxy, int n, int N, const int *stratum, int n_strata,
                         tn_bon_curve *c, double *value, double *gain, tn_err *e) {
    for (int k = 0; k < c->n_point; k++) {
        tn_bon_point *p = &c->point[k];
        double *v[2] = {gain + (size_t)k * (size_t)n, value};
        for (int i = 0; i < n; i++) {
            const double *by = proxy + (size_t)i * (size_t)N, *of[2] = {gold + (size_t)i * (size_t)N, by};
            for (int w = 0; w < 2; w++) TN_TRY(tn_bon_estimate(by, of[w], N, p->n, &v[w][i], e));
        }
        p->gold = tn_stat_stratified(v[0], stratum, n, n_strata);
        p->proxy = tn_stat_stratified(value, stratum, n, n_strata);
        for (int i = 0; k && i < n; i++) v[0][i] -= gain[i]; /* those of n = 1 are kept whole until the end */
        if (k) p->gain = tn_stat_stratified(v[0], stratum, n, n_strata);
    }
    for (int i = 0; i < n; i++) gain[i] = 0;
    return TN_OK;
}

tn_status tn_bon_curve_of(const double *gold, const double *proxy, int n_prompt, int n_sample, const int *stratum,
                          int n_strata, uint64_t seed, tn_bon_curve *c, tn_err *e) {
    *c = (tn_bon_curve){0};
    if (n_prompt < 1 || n_sample < 2)
        return tn_fail(e, TN_ARG, "best of n: %d prompts with %d samples each; one prompt and two samples are the least", n_prompt,
                       n_sample);
    c->n_point = points_of(n_sample, c->point);
    size_t n = (size_t)n_prompt;
    double *value = tn_calloc(n, sizeof *value), *gain = tn_calloc(n * (size_t)c->n_point, sizeof *gain);
    tn_status st = value && gain ? TN_OK : tn_fail(e, TN_NOMEM, "best of n: no memory for %d prompts", n_prompt);
    if (st == TN_OK) st = measure(gold, proxy, n_prompt, n_sample, stratum, n_strata, c, value, gain, e);
    c->fitted = c->n_point > 3;
    if (st == TN_OK && c->fitted) {
        double d[TN_BON_POINTS], g[TN_BON_POINTS];
        for (int k = 0; k < c->n_point; k++) d[k] = c->point[k].d, g[k] = c->point[k].gain.mean;
        st = tn_overopt_fit(TN_OVEROPT_BON, d, g, c->n_point, 0, &c->fit, e);
        if (st == TN_OK) st = intervals(gain, stratum, n_prompt, n_strata, seed, c, e);
    }
    tn_free(value), tn_free(gain);
    return st;
}
