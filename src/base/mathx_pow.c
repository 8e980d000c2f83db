/* pow: x^y = e^(y log x) with log x in double-double (relative error about 2^-68), so that the
 * product's error stays below half a unit of the result even at |y log x| = 745.            */
#include "base/mathx.h"
#include "base/mathx_bits.h"
#include <math.h>

/* log x for finite x > 0: 2 atanh s with s = f/(2+f), first three terms in double-double. */
static tn_dd log_dd(double x) {
    static const tn_dd third = {0x1.5555555555555p-2, 0x1.5555555555555p-56};
    static const tn_dd fifth = {0x1.999999999999ap-3, -0x1.999999999999ap-57};
    static const tn_dd ln2 = {0x1.62e42fefa3800p-1, 0x1.ef35793c76730p-45};
    int k;
    double f = tn_split2(x, &k) - 1.0;
    tn_dd d = tn_fast_sum(2.0, f), s;
    s.hi = f / d.hi;
    tn_dd back = tn_two_prod(s.hi, d.hi);
    s.lo = (((f - back.hi) - back.lo) - s.hi * d.lo) / d.hi;
    tn_dd z = tn_dd_mul(s, s);
    double t = 1.0 / 27.0;
    t = t * z.hi + 1.0 / 25.0;
    t = t * z.hi + 1.0 / 23.0;
    t = t * z.hi + 1.0 / 21.0;
    t = t * z.hi + 1.0 / 19.0;
    t = t * z.hi + 1.0 / 17.0;
    t = t * z.hi + 1.0 / 15.0;
    t = t * z.hi + 1.0 / 13.0;
    t = t * z.hi + 1.0 / 11.0;
    t = t * z.hi + 1.0 / 9.0;
    t = t * z.hi + 1.0 / 7.0;
    tn_dd q = tn_dd_add(fifth, (tn_dd){z.hi * t, 0.0});
    q = tn_dd_add(third, tn_dd_mul(z, q));
    q = tn_dd_mul(tn_dd_mul(z, q), s);
    tn_dd r = tn_dd_add(s, q);
    r.hi *= 2.0;
    r.lo *= 2.0;
    if (k == 0) return r;
    tn_dd n = tn_two_sum(k * ln2.hi, k * ln2.lo);
    return tn_dd_add(n, r);
}

/* 0: not an integer, 1: odd, 2: even. */
static int parity(double y) {
    if (fabs(y) >= 0x1p53) return 2;
    if (y != floor(y)) return 0;
    return (long long)y & 1 ? 1 : 2;
}

double tn_pow(double x, double y) {
    if (y == 0.0 || x == 1.0) return 1.0;
    if (x != x || y != y) return x + y;
    double a = fabs(x), sign = 1.0;
    int kind = parity(y);
    if (isinf(y)) {
        if (a == 1.0) return 1.0;
        return (a > 1.0) == (y > 0) ? INFINITY : 0.0;
    }
    if (signbit(x) && kind == 1) sign = -1.0;
    if (a == 0.0 || isinf(a)) return (a == 0.0) == (y > 0) ? sign * 0.0 : sign * INFINITY;
    if (x < 0 && kind == 0) return NAN;
    if (a == 1.0) return sign;
    if (fabs(y) > 0x1p64) return (a > 1.0) == (y > 0) ? sign * INFINITY : sign * 0.0;
    tn_dd l = log_dd(a), p = tn_two_prod(y, l.hi);
    if (fabs(p.hi) > 800.0) return p.hi > 0 ? sign * INFINITY : sign * 0.0;
    return sign * tn_exp_dd(p.hi, p.lo + y * l.lo);
}
