/* Exponent and double-double helpers shared by the mathx files. No FMA: products are split. */
#ifndef TN_BASE_MATHX_BITS_H
#define TN_BASE_MATHX_BITS_H
#include <stdint.h>
#include <string.h>

static inline uint64_t tn_bits_of(double x) {
    uint64_t b;
    memcpy(&b, &x, 8);
    return b;
}
static inline double tn_of_bits(uint64_t b) {
    double x;
    memcpy(&x, &b, 8);
    return x;
}

/* y 2^k for y in [1/2, 2], any k; one rounding, also into the denormals. */
static inline double tn_scale2(double y, int k) {
    if (k > 1023) {
        y *= 0x1p1023;
        k -= 1023;
        if (k > 1023) k = 1023;
    } else if (k < -1000) {
        /* exact down to 2^-1000 of the result; the last product rounds once */
        if (k < -2000) k = -2000;
        return y * tn_of_bits((uint64_t)(k + 1000 + 1023) << 52) * 0x1p-1000;
    }
    return y * tn_of_bits((uint64_t)(k + 1023) << 52);
}

/* x = m 2^k for finite x > 0, m in [sqrt(1/2), sqrt 2). */
static inline double tn_split2(double x, int *k) {
    int e = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        e = -54;
    }
    uint64_t b = tn_bits_of(x);
    e += (int)(b >> 52) - 1023;
    double m = tn_of_bits((b & 0xFFFFFFFFFFFFFull) | 0x3FF0000000000000ull);
    if (m >= 0x1.6a09e667f3bcdp+0) {
        m *= 0.5;
        e++;
    }
    *k = e;
    return m;
}

typedef struct tn_dd { double hi, lo; } tn_dd;

static inline tn_dd tn_two_sum(double a, double b) {
    double s = a + b, t = s - a;
    return (tn_dd){s, (a - (s - t)) + (b - t)};
}
/* |a| >= |b| */
static inline tn_dd tn_fast_sum(double a, double b) {
    double s = a + b;
    return (tn_dd){s, b - (s - a)};
}
/* a b exactly, by Dekker's split of each factor into 26 + 27 bits (|a|, |b| < 2^990). */
static inline tn_dd tn_two_prod(double a, double b) {
    double p = a * b, t = 134217729.0 * a, ah = t - (t - a), al = a - ah;
    t = 134217729.0 * b;
    double bh = t - (t - b), bl = b - bh;
    return (tn_dd){p, ((ah * bh - p) + ah * bl + al * bh) + al * bl};
}

static inline tn_dd tn_dd_mul(tn_dd a, tn_dd b) {
    tn_dd p = tn_two_prod(a.hi, b.hi);
    return tn_fast_sum(p.hi, p.lo + (a.hi * b.lo + a.lo * b.hi));
}
static inline tn_dd tn_dd_add(tn_dd a, tn_dd b) {
    tn_dd s = tn_two_sum(a.hi, b.hi);
    return tn_fast_sum(s.hi, s.lo + (a.lo + b.lo));
}

/* e^(x + lo), |lo| <= 2^-40 */
double tn_exp_dd(double x, double lo);
#endif
