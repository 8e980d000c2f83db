/* Exponentials and logarithms. Trigonometry is in mathx_trig.c, erf in mathx_erf.c, pow in
 * mathx_pow.c.
 *
 *   exp:  x = k ln2 + r, |r| <= ln2/2; e^r from its Taylor series to r^13 (remainder 2^-57)
 *   log:  x = 2^k (1+f), 1+f in [sqrt(1/2), sqrt 2); with s = f/(2+f),
 *         log(1+f) = 2 atanh s = 2s + s R,  R = 2/3 s^2 + 2/5 s^4 + ...;  2s = f - s f,
 *         and s f = f^2/2 - s f^2/2, so that the largest term, f, enters exactly.         */
#include "base/mathx.h"
#include "base/mathx_bits.h"
#include <math.h>
#include <stdint.h>

static const double LN2_HI = 0x1.62e42fefa3800p-1; /* ln 2 to 42 bits: products with k are exact */
static const double LN2_LO = 0x1.ef35793c76730p-45;
static const double INV_LN2 = 0x1.71547652b82fep+0;
static const double LN2 = 0x1.62e42fefa39efp-1;

/* x = k ln2 + (hi + lo) for |x| < 800. */
static int reduce_ln2(double x, double *hi, double *lo) {
    double k = floor(x * INV_LN2 + 0.5);
    double a = x - k * LN2_HI, b = k * LN2_LO;
    *hi = a - b;
    *lo = (a - *hi) - b;
    return (int)k;
}

/* e^r - 1 - r for |r| <= 0.35. */
static double exp_tail(double r) {
    double p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    return r * r * (0.5 + r * p);
}

/* e^(x+lo), lo a small correction of x. */
double tn_exp_dd(double x, double lo) {
    if (!(x < 710.0)) return x != x ? x : INFINITY;
    if (x < -746.0) return 0.0;
    double r, rl;
    int k = reduce_ln2(x, &r, &rl);
    tn_dd a = tn_two_sum(r, rl + lo);
    tn_dd one = tn_fast_sum(1.0, a.hi);
    return tn_scale2(one.hi + (one.lo + (exp_tail(a.hi) + a.lo * (1.0 + a.hi))), k);
}

double tn_exp(double x) { return tn_exp_dd(x, 0.0); }

double tn_expm1(double x) {
    if (x != x) return x;
    if (x > 710.0) return INFINITY;
    if (x < -40.0) return -1.0;
    if (fabs(x) < 0x1p-54) return x;
    if (fabs(x) < 0.35) return x + exp_tail(x);
    if (x > 40.0) return tn_exp(x);
    double r, rl;
    int k = reduce_ln2(x, &r, &rl);
    /* 2^k (1 + r + t) - 1: the exact part 2^k - 1 and the reduced argument first. */
    double t = exp_tail(r) + rl * (1.0 + r), two = tn_scale2(1.0, k);
    double a = two - 1.0, b = two * r, sum = a + b;
    double err = fabs(a) >= fabs(b) ? (a - sum) + b : (b - sum) + a;
    return sum + (err + two * t);
}

/* log of (1 + f) 2^k plus the small correction c; 1 + f in [sqrt(1/2), sqrt 2). */
static double log_kernel(double f, int k, double c) {
    double s = f / (2.0 + f), z = s * s, half = 0.5 * f * f;
    double p = 2.0 / 23.0;
    p = p * z + 2.0 / 21.0;
    p = p * z + 2.0 / 19.0;
    p = p * z + 2.0 / 17.0;
    p = p * z + 2.0 / 15.0;
    p = p * z + 2.0 / 13.0;
    p = p * z + 2.0 / 11.0;
    p = p * z + 2.0 / 9.0;
    p = p * z + 2.0 / 7.0;
    p = p * z + 2.0 / 5.0;
    p = p * z + 2.0 / 3.0;
    double rest = s * (half + z * p) + c; /* log(1+f) = f - half + rest */
    if (k == 0) return f - (half - rest);
    double n = k;
    return n * LN2_HI - ((half - (rest + n * LN2_LO)) - f);
}

double tn_log(double x) {
    if (x != x) return x;
    if (x <= 0.0) return x == 0.0 ? -INFINITY : NAN;
    if (x > 0x1.fffffffffffffp1023) return x;
    int k;
    double m = tn_split2(x, &k);
    return log_kernel(m - 1.0, k, 0.0);
}

double tn_log1p(double x) {
    if (x != x) return x;
    if (x <= -1.0) return x == -1.0 ? -INFINITY : NAN;
    if (x > 0x1p53) return tn_log(x);
    if (fabs(x) < 0x1p-54) return x;
    if (x > -0.29 && x < 0.41) return log_kernel(x, 0, 0.0);
    double u = 1.0 + x;
    double lost = fabs(x) < 1.0 ? x - (u - 1.0) : 1.0 - (u - x); /* 1 + x = u + lost, exactly */
    int k;
    double m = tn_split2(u, &k);
    return log_kernel(m - 1.0, k, lost / u);
}

double tn_tanh(double x) {
    double a = fabs(x), y;
    if (x != x) return x;
    if (a < 0x1p-28) return x;
    if (a > 20.0) {
        y = 1.0;
    } else if (a < 0.175) {
        /* t/(t+2) - a = ((t - 2a) - a t) / (t+2) with t = e^2a - 1 */
        double tail = exp_tail(2.0 * a), t = 2.0 * a + tail;
        y = a + (tail - a * t) / (t + 2.0);
    } else {
        double t = tn_expm1(2.0 * a);
        y = a < 1.0 ? t / (t + 2.0) : 1.0 - 2.0 / (t + 2.0);
    }
    return x < 0 ? -y : y;
}

/* ---- compositions ---- */

double tn_sigmoid(double x) {
    if (x >= 0) return 1.0 / (1.0 + tn_exp(-x));
    double t = tn_exp(x);
    return t / (1.0 + t);
}

double tn_softplus(double x) {
    if (x > 0) return x + tn_log1p(tn_exp(-x));
    return tn_log1p(tn_exp(x));
}

double tn_logsigmoid(double x) { return -tn_softplus(-x); }

double tn_log1mexp(double x) {
    if (x > -LN2) return tn_log(-tn_expm1(x));
    return tn_log1p(-tn_exp(x));
}

double tn_logsumexp(const double *x, int n) {
    if (n <= 0) return -INFINITY;
    double top = x[0], sum = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > top || x[i] != x[i]) top = x[i];
    if (!isfinite(top)) return top;
    for (int i = 0; i < n; i++) sum += tn_exp(x[i] - top);
    return top + tn_log(sum);
}
