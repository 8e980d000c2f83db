/* Elo and length-controlled win rates; see winrate.h. */
#include "eval/winrate.h"
#include "algo/linear.h"
#include "algo/rl.h"
#include "base/mem.h"
#include <math.h>

double tn_elo_of_score(double difference) { return 400 / tn_log(10) * difference; }
double tn_elo_win_rate(double elo) { return tn_sigmoid(elo * tn_log(10) / 400); }

#define K_MAX 16 /* columns, the intercept's included */

typedef struct problem {
    const double *x, *y;
    int n, k;
    double l2;
} problem; /* k without the intercept */

static double logit(const problem *p, const double *w, int i) {
    double z = w[p->k];
    for (int j = 0; j < p->k; j++) z += w[j] * p->x[(long)i * p->k + j];
    return z;
}

static double objective(const problem *p, const double *w) {
    double sum = 0;
    for (int i = 0; i < p->n; i++) {
        double z = logit(p, w, i);
        sum += p->y[i] * tn_softplus(-z) + (1 - p->y[i]) * tn_softplus(z);
    }
    for (int j = 0; j < p->k; j++) sum += 0.5 * p->l2 * w[j] * w[j];
    return sum;
}

/* step <- H^-1 g. */
static tn_status newton(const problem *p, const double *w, double *step, tn_err *e) {
    int m = p->k + 1;
    double h[K_MAX * K_MAX] = {0}, row[K_MAX];
    for (int j = 0; j < m; j++) step[j] = j < p->k ? p->l2 * w[j] : 0;
    for (int j = 0; j < p->k; j++) h[j * m + j] = p->l2;
    for (int i = 0; i < p->n; i++) {
        double z = logit(p, w, i), d = tn_sigmoid(z) - p->y[i], v = tn_sigmoid(z) * tn_sigmoid(-z);
        for (int j = 0; j < m; j++) row[j] = j < p->k ? p->x[(long)i * p->k + j] : 1;
        for (int j = 0; j < m; j++) {
            step[j] += d * row[j];
            for (int l = 0; l < m; l++) h[j * m + l] += v * row[j] * row[l];
        }
    }
    TN_TRY(tn_cholesky(h, m, "logistic regression: the curvature", e));
    tn_cholesky_forward(h, m, step);
    tn_cholesky_back(h, m, step);
    return TN_OK;
}

tn_status tn_logistic_fit(const double *x, const double *y, int n, int k, double l2,
                          double *intercept, double *w, double *loss, tn_err *e) {
    problem p = {x, y, n, k, l2};
    double at[K_MAX] = {0}, step[K_MAX], next[K_MAX], size = HUGE_VAL;
    if (n < 1 || k < 0 || k >= K_MAX || !(l2 >= 0))
        return tn_fail(e, TN_ARG, "logistic regression: %d rows of %d numbers, l2 %g", n, k, l2);
    for (int i = 0; i < n; i++)
        if (!(y[i] >= 0 && y[i] <= 1))
            return tn_fail(e, TN_ARG, "logistic regression: label %d is %g, expected 0 to 1", i,
                           y[i]);
    *loss = objective(&p, at);
    /* Done when the step is small, not the gradient: that dies out on the way to infinity, too. */
    for (int round = 0; round < 100 && size > 1e-13; round++) {
        if (newton(&p, at, step, NULL) != TN_OK) break;
        double share = 2, better = HUGE_VAL; /* halve the step until the objective falls */
        while (!(better <= *loss) && share > 1e-3) {
            share /= 2;
            for (int j = 0; j <= k; j++) next[j] = at[j] - share * step[j];
            better = objective(&p, next);
        }
        size = 0;
        for (int j = 0; j <= k; j++) size = fmax(size, fabs(step[j]) / (1 + fabs(at[j])));
        if (!(better <= *loss)) break; /* no descent is left at this precision */
        for (int j = 0; j <= k; j++) at[j] = next[j];
        *loss = better;
    }
    if (!(size <= 1e-6))
        return tn_fail(
            e, TN_NUMERIC,
            "logistic regression: no minimum; the labels can be separated, or columns depend on "
            "each other: use l2");
    for (int j = 0; j < k; j++) w[j] = at[j];
    *intercept = at[k];
    return TN_OK;
}

void tn_lc_terms(const double *dlen, int n, double *term, double *std) {
    tn_moments m = {0};
    tn_moments_add(&m, dlen, n);
    *std = sqrt(tn_moments_var(&m, 0));
    for (int i = 0; i < n; i++) term[i] = *std > 0 ? tn_tanh(dlen[i] / *std) : 0;
}

tn_status tn_lc_fit(const double *term, const double *difficulty, const double *p, int n, double l2,
                    tn_lc *f, tn_err *e) {
    double w[2], *x = tn_malloc((size_t)(n > 0 ? n : 1) * 2 * sizeof *x);
    if (!x) return tn_fail(e, TN_NOMEM, "length-controlled win rate: no memory for %d prompts", n);
    for (int i = 0; i < n; i++) x[2 * i] = term[i], x[2 * i + 1] = difficulty[i];
    tn_status st = tn_logistic_fit(x, p, n, 2, l2, &f->theta, w, &f->loss, e);
    f->phi = w[0], f->psi = w[1];
    tn_free(x);
    return st;
}

double tn_lc_predict(const tn_lc *f, double term, double difficulty) {
    return tn_sigmoid(f->theta + f->phi * term + f->psi * difficulty);
}

double tn_lc_win_rate(const tn_lc *f, const double *difficulty, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += tn_lc_predict(f, 0, difficulty[i]);
    return sum / n;
}
