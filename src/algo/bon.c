/* Best of n and selection among samples; see group.h. */
#include "algo/group.h"
#include "base/mem.h"
#include <math.h>

double tn_bon_kl(double n) { return tn_log(n) - (n - 1) / n; }

double tn_bon_exact(const double *p, int k, int n, double *q) {
    double below = 0, kl = 0;
    for (int i = 0; i < k; i++) {
        double up = below + p[i], lo_n = 1, up_n = 1;
        for (int j = 0; j < n; j++) lo_n *= below, up_n *= up;
        q[i] = up_n - lo_n;
        if (q[i] > 0) kl += q[i] * tn_log(q[i] / p[i]);
        below = up;
    }
    return kl;
}

/* Better first: larger reward, then smaller index. */
static bool before(const double *r, int a, int b) { return r[a] > r[b] || (r[a] == r[b] && a < b); }

static tn_status order_of(const double *r, int n, int k, int *order, const char *who, tn_err *e) {
    if (k < 1 || k > n) return tn_fail(e, TN_ARG, "%s: %d of %d samples", who, k, n);
    int kept = 0;
    for (int i = 0; i < n; i++) {
        if (isnan(r[i])) return tn_fail(e, TN_NUMERIC, "%s: reward %d is not a number", who, i);
        int at = kept < k ? kept++ : k;
        for (; at > 0 && before(r, i, order[at - 1]); at--)
            if (at < k) order[at] = order[at - 1];
        if (at < k) order[at] = i;
    }
    return TN_OK;
}

tn_status tn_top(const double *reward, int n, int k, int *order, tn_err *e) {
    return order_of(reward, n, k, order, "top", e);
}

tn_status tn_bon_estimate(const double *proxy, const double *value, int N, int n, double *out,
                          tn_err *e) {
    if (n < 1 || n > N)
        return tn_fail(e, TN_ARG, "best of n: n is %d, expected 1 to %d samples", n, N);
    int *order = tn_malloc((size_t)N * sizeof *order);
    if (!order) return tn_fail(e, TN_NOMEM, "best of n: no memory for %d samples", N);
    tn_status st = order_of(proxy, N, N, order, "best of n", e);
    /* Weight of rank i = N-1-k, from the best down: w_0 = n/N, w_{k+1} = w_k (N-n-k)/(N-1-k). */
    double sum = 0, w = (double)n / N;
    for (int k = 0; st == TN_OK && k <= N - n; k++) {
        sum += w * value[order[k]];
        if (k < N - 1) w *= (double)(N - n - k) / (N - 1 - k);
    }
    *out = sum;
    tn_free(order);
    return st;
}

bool tn_best_worst(const double *reward, int n, int *best, int *worst) {
    *best = *worst = 0;
    for (int i = 1; i < n; i++) {
        if (reward[i] > reward[*best]) *best = i;
        if (reward[i] < reward[*worst]) *worst = i;
    }
    return reward[*best] > reward[*worst];
}

void tn_win_probabilities(const double *score, int n, double *p) {
    for (int i = 0; i < n; i++) {
        p[i] = 0;
        for (int j = 0; j < n; j++) p[i] += tn_sigmoid(score[i] - score[j]) / n;
    }
}
