/* What a judge is worth: positions, agreement, calibration. */
#include "algo/feedback.h"
#include "base/mathx.h"
#include <math.h>

static int sign(double x) { return (x > 0) - (x < 0); }

int tn_label_verdict(double p1, double p2) {
    int first = sign(p1 - 0.5), second = sign(0.5 - p2);
    return first == second ? first : 0;
}

tn_judge_orders tn_judge_orders_of(const double *p1, const double *p2, int n) {
    tn_judge_orders o = {0};
    for (int i = 0; i < n; i++) {
        o.consistency += (double)(sign(p1[i] - 0.5) == sign(0.5 - p2[i])) / n;
        o.first += 0.25 * (2 + sign(p1[i] - 0.5) + sign(p2[i] - 0.5)) / n;
        o.bias += tn_label_position_bias(p1[i], p2[i], TN_SWAP_PROBS) / n;
    }
    return o;
}

tn_judge_accuracy tn_judge_accuracy_of(const double *right1, const double *right2, int n) {
    tn_judge_accuracy a = {0};
    for (int i = 0; i < n; i++) {
        double p = 0.5 * (right1[i] + right2[i]);
        a.pooled += 0.25 * (2 + sign(right1[i] - 0.5) + sign(right2[i] - 0.5)) / n;
        a.both += (double)(right1[i] > 0.5 && right2[i] > 0.5) / n;
        a.mean += 0.5 * (1 + sign(p - 0.5)) / n;
        a.p += p / n;
    }
    return a;
}

/* Mean of softplus(-m b) over m = +-margin, and its derivatives by b = 1/T; convex in b. */
static double nll_at(const double *margin, const bool *first, int n, double b, double *d1, double *d2) {
    double f = 0;
    *d1 = *d2 = 0;
    for (int i = 0; i < n; i++) {
        double m = first[i] ? margin[i] : -margin[i], x = m * b, s = tn_sigmoid(-x);
        f += (x > 0 ? tn_log1p(tn_exp(-x)) : -x + tn_log1p(tn_exp(x))) / n;
        *d1 -= m * s / n;
        *d2 += m * m * s * (1 - s) / n;
    }
    return f;
}

tn_status tn_judge_temperature(const double *margin, const bool *first, int n, double *T, double *nll_1, double *nll, tn_err *e) {
    double d1, d2, lo = 0, hi = 1, b = 1;
    bool wrong = false;
    if (n < 1) return tn_fail(e, TN_ARG, "a temperature needs labelled margins, and there are none");
    for (int i = 0; i < n; i++) {
        if (!isfinite(margin[i])) return tn_fail(e, TN_ARG, "the margin of item %d is %g; a temperature needs finite ones", i + 1, margin[i]);
        wrong = wrong || (first[i] ? margin[i] : -margin[i]) < 0;
    }
    *nll_1 = nll_at(margin, first, n, 1, &d1, &d2);
    *nll = nll_at(margin, first, n, 0, &d1, &d2);
    *T = INFINITY;
    if (d1 >= 0) return TN_OK;
    if (!wrong) {
        *T = *nll = 0;
        for (int i = 0; i < n; i++) *nll += (margin[i] == 0) * tn_log(2) / n;
        return TN_OK;
    }
    for (nll_at(margin, first, n, hi, &d1, &d2); d1 < 0 && hi < 0x1p60; nll_at(margin, first, n, hi, &d1, &d2)) lo = hi, hi *= 2;
    for (int k = 0; k < 200 && hi - lo > 1e-15 * hi; k++) { /* Newton's step, or the middle when that leads out */
        nll_at(margin, first, n, b, &d1, &d2);
        if (d1 < 0) lo = b;
        else hi = b;
        double step = d2 > 0 ? b - d1 / d2 : lo;
        b = step > lo && step < hi ? step : 0.5 * (lo + hi);
    }
    *T = 1 / b;
    *nll = nll_at(margin, first, n, b, &d1, &d2);
    return TN_OK;
}

double tn_cohen_kappa(const bool *a, const bool *b, int n, double *observed) {
    double same = 0, in_a = 0, in_b = 0;
    for (int i = 0; i < n; i++) same += a[i] == b[i], in_a += a[i], in_b += b[i];
    double pa = in_a / n, pb = in_b / n, chance = pa * pb + (1 - pa) * (1 - pb);
    *observed = same / n;
    return chance < 1 ? (*observed - chance) / (1 - chance) : NAN;
}

double tn_pearson(const double *x, const double *y, int n) {
    double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
    for (int i = 0; i < n; i++) mx += x[i] / n, my += y[i] / n;
    for (int i = 0; i < n; i++) {
        double a = x[i] - mx, b = y[i] - my;
        xx += a * a, yy += b * b, xy += a * b;
    }
    bool varies = xx > 1e-24 * n * mx * mx && yy > 1e-24 * n * my * my; /* by more than the rounding of a mean */
    return varies ? xy / sqrt(xx * yy) : NAN;
}
