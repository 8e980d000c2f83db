/* sin and cos for |x| <= 2^20 (NaN beyond): x = k pi/2 + r with pi/2 in four parts, the first
 * three of 33 bits, so that their products with k (20 bits) are exact; then Taylor series on
 * |r| <= pi/4, to r^17 and r^18.                                                           */
#include "base/mathx.h"
#include "base/mathx_bits.h"
#include <math.h>

static const double INV_HALF_PI = 0x1.45f306dc9c883p-1;
static const double HALF_PI[4] = {0x1.921fb54400000p+0, 0x1.0b4611a600000p-34,
                                  0x1.3198a2e000000p-69, 0x1.b839a252049c1p-104};

/* r = hi + lo, answers k mod 4. */
static int reduce_half_pi(double x, tn_dd *r) {
    double k = floor(x * INV_HALF_PI + 0.5);
    tn_dd s = tn_two_sum(x, -k * HALF_PI[0]);
    tn_dd t = tn_two_sum(s.hi, -k * HALF_PI[1]);
    double lo = s.lo + t.lo;
    s = tn_two_sum(t.hi, lo);
    t = tn_two_sum(s.hi, -k * HALF_PI[2]);
    lo = s.lo + t.lo - k * HALF_PI[3];
    *r = tn_two_sum(t.hi, lo);
    return (int)((long long)k & 3);
}

static double sin_poly(tn_dd r) {
    double z = r.hi * r.hi, p = 1.0 / 355687428096000.0;
    p = p * z - 1.0 / 1307674368000.0;
    p = p * z + 1.0 / 6227020800.0;
    p = p * z - 1.0 / 39916800.0;
    p = p * z + 1.0 / 362880.0;
    p = p * z - 1.0 / 5040.0;
    p = p * z + 1.0 / 120.0;
    p = p * z - 1.0 / 6.0;
    return r.hi + (r.lo * (1.0 - 0.5 * z) + r.hi * z * p);
}

static double cos_poly(tn_dd r) {
    double z = r.hi * r.hi, p = -1.0 / 6402373705728000.0;
    p = p * z + 1.0 / 20922789888000.0;
    p = p * z - 1.0 / 87178291200.0;
    p = p * z + 1.0 / 479001600.0;
    p = p * z - 1.0 / 3628800.0;
    p = p * z + 1.0 / 40320.0;
    p = p * z - 1.0 / 720.0;
    p = p * z + 1.0 / 24.0;
    double h = 0.5 * z, w = 1.0 - h;
    return w + (((1.0 - w) - h) + (z * z * p - r.hi * r.lo));
}

static double sin_cos(double x, int shift) {
    tn_dd r = {x, 0.0};
    int q = shift;
    if (!(fabs(x) <= 0x1p20)) return NAN;
    if (fabs(x) > 0.785398163397448) q += reduce_half_pi(x, &r);
    double y = q & 1 ? cos_poly(r) : sin_poly(r);
    return q & 2 ? -y : y;
}

double tn_sin(double x) { return fabs(x) < 0x1p-27 ? x : sin_cos(x, 0); }
double tn_cos(double x) { return sin_cos(x, 1); }
