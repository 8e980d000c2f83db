/* Newton's method on sum theta = 0, and resampled prompts. */
#include "eval/ratings.h"
#include "algo/linear.h"
#include "algo/rl.h"
#include "base/mem.h"
#include "base/rng.h"
#include "eval/winrate.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { M = TN_RATED };

/* Has everybody beaten everybody, directly or through others? */
static bool connected(const double *w, int k) {
    bool reach[M][M];
    for (int i = 0; i < k; i++)
        for (int j = 0; j < k; j++) reach[i][j] = i == j || w[i * k + j] > 0;
    for (int m = 0; m < k; m++)
        for (int i = 0; i < k; i++)
            for (int j = 0; j < k; j++) reach[i][j] = reach[i][j] || (reach[i][m] && reach[m][j]);
    for (int i = 0; i < k; i++)
        for (int j = 0; j < k; j++)
            if (!reach[i][j]) return false;
    return true;
}

static double likelihood(const double *w, int k, const double *theta) {
    double l = 0;
    for (int i = 0; i < k; i++)
        for (int j = 0; j < k; j++)
            if (w[i * k + j] > 0) l -= w[i * k + j] * tn_softplus(theta[j] - theta[i]);
    return l;
}

/* Cholesky factor of the information plus 1/k everywhere: that takes the direction (1, ..., 1) out. */
static tn_status information(const double *w, int k, const double *theta, double *h, tn_err *e) {
    for (int i = 0; i < k * k; i++) h[i] = 1.0 / k;
    for (int i = 0; i < k; i++)
        for (int j = 0; j < k; j++) {
            double d = theta[i] - theta[j], v = (w[i * k + j] + w[j * k + i]) * tn_sigmoid(d) * tn_sigmoid(-d);
            if (i != j) h[i * k + i] += v, h[i * k + j] -= v;
        }
    return tn_cholesky(h, k, "ratings: the information", e);
}

static tn_status newton(const double *w, int k, double *theta, tn_err *e) {
    double h[M * M], step[M], next[M], at = likelihood(w, k, theta), size = 1;
    for (int round = 0; round < 100 && size > 1e-13; round++) {
        memset(step, 0, sizeof step);
        for (int i = 0; i < k; i++)
            for (int j = 0; j < k; j++) step[i] += w[i * k + j] * tn_sigmoid(theta[j] - theta[i]) - w[j * k + i] * tn_sigmoid(theta[i] - theta[j]);
        TN_TRY(information(w, k, theta, h, e));
        tn_cholesky_forward(h, k, step);
        tn_cholesky_back(h, k, step);
        double share = 2, better = -HUGE_VAL;
        while (!(better >= at) && share > 1e-3) {
            share /= 2;
            for (int i = 0; i < k; i++) next[i] = theta[i] + share * step[i];
            better = likelihood(w, k, next);
        }
        size = 0;
        for (int i = 0; i < k; i++) size = fmax(size, fabs(step[i]));
        if (!(better >= at)) break; /* nothing is left at this precision */
        memcpy(theta, next, sizeof next);
        at = better;
    }
    return size < 1e-6 ? TN_OK : tn_fail(e, TN_NUMERIC, "ratings: no maximum was found");
}

tn_status tn_ratings_fit(const double *w, int k, double *theta, double *loglik, double *cov, tn_err *e) {
    if (k < 2 || k > M) return tn_fail(e, TN_ARG, "ratings of %d players; 2 to %d can be rated", k, (int)M);
    if (!connected(w, k)) return tn_fail(e, TN_NUMERIC, "ratings: some players have never won against others, not even through others");
    double t[M] = {0}, h[M * M], column[M];
    TN_TRY(newton(w, k, t, e));
    memcpy(theta, t, (size_t)k * sizeof *theta);
    if (loglik) *loglik = likelihood(w, k, t);
    if (!cov) return TN_OK;
    TN_TRY(information(w, k, t, h, e));
    for (int j = 0; j < k; j++) {
        memset(column, 0, sizeof column);
        column[j] = 1;
        tn_cholesky_forward(h, k, column);
        tn_cholesky_back(h, k, column);
        for (int i = 0; i < k; i++) cov[i * k + j] = column[i] - 1.0 / k;
    }
    return TN_OK;
}

/* ---- from scores ---- */

static void count(const double *score, int k, int n, const int *weight, double *w) {
    memset(w, 0, (size_t)(k * k) * sizeof *w);
    for (int x = 0; x < n; x++) {
        if (weight && !weight[x]) continue;
        double m = weight ? weight[x] : 1;
        for (int i = 0; i < k; i++)
            for (int j = 0; j < k; j++) {
                double a = score[(size_t)i * (size_t)n + (size_t)x], b = score[(size_t)j * (size_t)n + (size_t)x];
                if (i != j && (a > b || a == b)) w[i * k + j] += a > b ? m : m / 2;
            }
    }
}

/* Elo above the first player; *prior becomes true where half a win each had to be added. */
static tn_status elo_of(double *w, int k, double *elo, bool *prior, tn_err *e) {
    double theta[M];
    if (!connected(w, k)) {
        *prior = true;
        for (int i = 0; i < k; i++)
            for (int j = 0; j < k; j++) w[i * k + j] += i == j ? 0 : 0.5;
    }
    TN_TRY(tn_ratings_fit(w, k, theta, NULL, NULL, e));
    for (int i = 0; i < k; i++) elo[i] = tn_elo_of_score(theta[i] - theta[0]);
    return TN_OK;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

tn_status tn_ratings_of(const double *score, int k, int n, uint64_t seed, tn_rated *r, tn_err *e) {
    double elo[M], w[M * M];
    bool prior = false;
    *r = (tn_rated){0};
    if (k < 2 || k > M) return tn_fail(e, TN_ARG, "ratings of %d players; 2 to %d can be rated", k, (int)M);
    if (n < 1) return tn_fail(e, TN_ARG, "ratings of players who met on no prompt");
    int *weight = tn_calloc((size_t)n, sizeof *weight);
    double *all = tn_calloc(TN_RATING_RESAMPLES * (size_t)k, sizeof *all); /* [player][resample] */
    tn_status st = weight && all ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory for %d prompts", n);
    if (st == TN_OK) {
        count(score, k, n, NULL, r->wins);
        memcpy(w, r->wins, sizeof w);
        st = elo_of(w, k, elo, &r->prior, e);
    }
    for (int b = 0; b < TN_RATING_RESAMPLES && st == TN_OK; b++) {
        double at[M];
        tn_rng g = tn_rng_stream(seed, TN_RNG_BOOTSTRAP, (uint64_t)b);
        memset(weight, 0, (size_t)n * sizeof *weight);
        for (int i = 0; i < n; i++) weight[tn_rng_below(&g, (uint32_t)n)]++;
        count(score, k, n, weight, w);
        st = elo_of(w, k, at, &prior, e);
        for (int i = 0; i < k; i++) all[(size_t)i * TN_RATING_RESAMPLES + (size_t)b] = at[i];
    }
    for (int i = 0; i < k && st == TN_OK; i++) {
        double *of = all + (size_t)i * TN_RATING_RESAMPLES;
        int lo = (int)(0.025 * TN_RATING_RESAMPLES);
        qsort(of, TN_RATING_RESAMPLES, sizeof *of, ascending);
        r->rating[i] = (tn_rating){elo[i], of[lo], of[TN_RATING_RESAMPLES - 1 - lo]};
    }
    tn_free(weight), tn_free(all);
    return st;
}
