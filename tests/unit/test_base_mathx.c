/* mathx against long double: every function within 2 units in the last place, special values as
 * C's. */
#include "base/mathx.h"
#include "base/rng.h"
#include "test.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>

/* |got - want| in units of the last place of want. */
static double ulps(double got, long double want) {
    if (isnan(got) || isnan((double)want)) return isnan(got) && isnan((double)want) ? 0 : INFINITY;
    double w = (double)want;
    if (isinf(w) || isinf(got)) return got == w ? 0 : INFINITY;
    int e;
    frexp(w, &e);
    double unit = ldexp(1.0, (w == 0 || e < -1021 ? -1021 : e) - 53);
    return (double)(fabsl((long double)got - want) / (long double)unit);
}

typedef long double exact_fn(long double);
typedef double own_fn(double);

/* Uniform points and points of every magnitude down to `small`. */
static void sweep(const char *name, own_fn *f, exact_fn *g, double lo, double hi, double small,
                  double limit) {
    double worst = 0, at = 0;
    tn_rng r = tn_rng_stream(7, 1, (uint64_t)name[0] * 131 + (uint64_t)name[strlen(name) - 1]);
    for (int i = 0; i < 60000; i++) {
        double x = lo + (hi - lo) * tn_rng_unit(&r);
        if (i & 1) {
            double m = small * exp2(tn_rng_unit(&r) * log2((hi > 0 ? hi : -lo) / small));
            x = tn_rng_next(&r) & 1 ? m : -m;
            if (x < lo || x > hi) x = -x;
            if (x < lo || x > hi) continue;
        }
        double u = ulps(f(x), g(x));
        if (u > worst) {
            worst = u;
            at = x;
        }
    }
    CHECK_MSG(worst <= limit, "%s: %.3f ulp at %.17g (%a), allowed %.2f", name, worst, at, at,
              limit);
    if (getenv("TENET_SHOW_ULP")) printf("%-8s worst %.3f ulp at %.17g\n", name, worst, at);
}

TEST(base_mathx_ulp) {
    sweep("exp", tn_exp, expl, -745.5, 709.9, 1e-20, 1);
    sweep("exp1", tn_exp, expl, -2, 2, 1e-3, 1);
    sweep("expm1", tn_expm1, expm1l, -45, 709, 1e-20, 2);
    sweep("expm1a", tn_expm1, expm1l, -2, 2, 1e-3, 2);
    sweep("log", tn_log, logl, DBL_MIN, 1e300, 1e-320, 1);
    sweep("log1", tn_log, logl, 0.4, 2.5, 0.4, 1);
    sweep("log1p", tn_log1p, log1pl, -1, 10, 1e-20, 2);
    sweep("log1pa", tn_log1p, log1pl, -0.6, 0.9, 1e-3, 2);
    sweep("sin", tn_sin, sinl, -1048576, 1048576, 1e-20, 1);
    sweep("cos", tn_cos, cosl, -1048576, 1048576, 1e-20, 1);
    sweep("sin1", tn_sin, sinl, -8, 8, 1e-3, 1);
    sweep("cos1", tn_cos, cosl, -8, 8, 1e-3, 1);
    sweep("tanh", tn_tanh, tanhl, -25, 25, 1e-20, 2);
    sweep("tanha", tn_tanh, tanhl, -2, 2, 1e-3, 2);
    sweep("erf", tn_erf, erfl, -7, 7, 1e-20, 2);
    sweep("erfa", tn_erf, erfl, -1.2, 1.2, 1e-3, 2);
}

TEST(base_mathx_sin_near_multiples_of_pi) {
    /* The double nearest to k pi: the argument reduction loses everything that it can. */
    double worst = 0;
    for (int k = 1; k < 333773; k += 61) {
        double x = (double)(k * 3.14159265358979323846264338327950288L);
        double u = ulps(tn_sin(x), sinl((long double)x));
        /* sinl's own reduction uses a 66-bit pi: near zero of the sine it is the worse of the two
         */
        if (fabs(tn_sin(x)) > 1e-10 && u > worst) worst = u;
    }
    CHECK_MSG(worst <= 1, "%.3f ulp", worst);
    CHECK(tn_sin(3.141592653589793116) == 1.2246467991473532e-16);
    CHECK(tn_sin(1048575.9999999998835846781) != 0);
    CHECK(tn_cos(1.5707963267948965580) == 6.123233995736766e-17);
    /* 355 = 113 pi + 3.0144353364053718e-05; value from 200-bit arithmetic */
    CHECK(tn_sin(355.0) == -3.014435335948845e-05);
    CHECK(isnan(tn_sin(1048577.0)) && isnan(tn_cos(INFINITY)));
}

TEST(base_mathx_pow) {
    double worst = 0, wx = 0, wy = 0;
    tn_rng r = tn_rng_stream(8, 1, 2);
    for (int i = 0; i < 60000; i++) {
        double x, y;
        if (i % 3 == 0) {
            x = 1.0 + (tn_rng_unit(&r) - 0.5) * 1e-3;
            y = (tn_rng_unit(&r) - 0.5) * 1.2e6;
        } else if (i % 3 == 1) {
            x = exp2((tn_rng_unit(&r) - 0.5) * 2000);
            y = (tn_rng_unit(&r) - 0.5) * 2;
        } else {
            x = tn_rng_unit(&r) * 3;
            y = (tn_rng_unit(&r) - 0.5) * 100;
        }
        /* powl itself is good to a few long-double units: 0.01 of ours */
        double u = ulps(tn_pow(x, y), powl(x, y));
        if (u > worst) worst = u, wx = x, wy = y;
    }
    CHECK_MSG(worst <= 0.7, "pow(%a, %a): %.3f ulp", wx, wy, worst);
    if (getenv("TENET_SHOW_ULP")) printf("pow worst %.3f\n", worst);
    static const double v[] = {0.0,     -0.0,   1.0,      -1.0,      2.0, -2.0,
                               3.0,     -3.0,   0.5,      -0.5,      2.5, 1e300,
                               -1e300,  5e-324, INFINITY, -INFINITY, NAN, 9007199254740993.0,
                               -1023.0, 1024.0};
    int n = (int)(sizeof v / sizeof *v);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            double a = tn_pow(v[i], v[j]), b = pow(v[i], v[j]);
            CHECK_MSG(ulps(a, b) <= 1 && (isnan(a) || signbit(a) == signbit(b)),
                      "pow(%g, %g) = %g, C says %g", v[i], v[j], a, b);
        }
    CHECK(tn_pow(10, 3) == 1000 && tn_pow(2, -1074) == 5e-324 &&
          ulps(tn_pow(2, 0.5), sqrtl(2.0L)) < 0.6);
}

static bool same(double a, double b) {
    return (isnan(a) && isnan(b)) || (a == b && signbit(a) == signbit(b));
}

TEST(base_mathx_special_values) {
    static own_fn *const own[] = {tn_exp,  tn_expm1, tn_log, tn_log1p,
                                  tn_tanh, tn_erf,   tn_sin, tn_cos};
    static own_fn *const c[] = {exp, expm1, log, log1p, tanh, erf, sin, cos};
    static const double v[] = {0.0,       -0.0, 5e-324, -5e-324, 1e-310, INFINITY,
                               -INFINITY, NAN,  -1.0,   1.0,     1e-30,  -1e-30};
    for (int f = 0; f < 8; f++)
        for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
            double a = own[f](v[i]), b = c[f](v[i]);
            CHECK_MSG(same(a, b) || (fabs(v[i]) == 1.0 && ulps(a, b) <= 2),
                      "function %d at %g: %g, C says %g", f, v[i], a, b);
        }
    CHECK(tn_exp(709.782712893384) < INFINITY && tn_exp(709.782712893385) == INFINITY);
    CHECK(tn_exp(-745.13) == 5e-324 && tn_exp(-745.2) == 0);
    CHECK(tn_exp(0) == 1 && tn_log(1) == 0 && !signbit(tn_log(1)));
}

TEST(base_mathx_compositions) {
    for (double x = -800; x <= 800; x += 0.37) {
        CHECK(ulps(tn_sigmoid(x), 1.0L / (1.0L + expl(-(long double)x))) <= 3);
        long double sp = x > 0 ? x + log1pl(expl(-(long double)x)) : log1pl(expl(x));
        CHECK(ulps(tn_softplus(x), sp) <= 3);
        CHECK(tn_logsigmoid(x) == -tn_softplus(-x));
        if (x < 0) CHECK(ulps(tn_log1mexp(x), log1pl(-expl(x))) <= 4);
    }
    CHECK(ulps(tn_log1mexp(-1e-10), logl(-expm1l(-1e-10L))) <= 3);
    double a[3] = {1000, 1000, -INFINITY}, b[2] = {-INFINITY, -INFINITY}, c[2] = {1, NAN};
    CHECK_NEAR(tn_logsumexp(a, 3), 1000 + log(2.0), 1e-15, 0);
    CHECK(tn_logsumexp(b, 2) == -INFINITY && tn_logsumexp(a, 0) == -INFINITY);
    CHECK(isnan(tn_logsumexp(c, 2)));
}

TEST(base_mathx_normal) {
    /* Moments of 200000 draws: standard errors 0.0022, 0.0032, 0.0055, 0.022. */
    tn_rng r = tn_rng_stream(3, 1, 4);
    double m[5] = {0};
    int n = 200000;
    for (int i = 0; i < n; i++) {
        double x = tn_rng_normal(&r), p = 1;
        for (int k = 0; k < 5; k++, p *= x) m[k] += p / n;
    }
    CHECK_NEAR(m[1], 0, 0, 0.011);
    CHECK_NEAR(m[2], 1, 0, 0.016);
    CHECK_NEAR(m[3], 0, 0, 0.03);
    CHECK_NEAR(m[4], 3, 0, 0.11);
}
