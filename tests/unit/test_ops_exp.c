/* exp and log of the operations: error against long double, special values. The vector forms have a test of their own. */
#include "base/rng.h"
#include "ops/expf.h"
#include "ops/logf.h"
#include "test.h"
#include <math.h>

static double ulps(float x) {
    long double want = expl((long double)x);
    float got = tn_op_expf(x);
    int e;
    frexpl(want, &e);
    if (e < -125) e = -125; /* denormal results: units of the smallest float */
    return (double)fabsl(((long double)got - want) / ldexpl(1, e - 24));
}

TEST(ops_exp_error) {
    double worst = 0;
    float at = 0;
    for (uint32_t u = 0; u < 0x42b00000u; u += 9973) /* all exponents up to 88, both signs */
        for (int sign = 0; sign < 2; sign++) {
            uint32_t v = u | (uint32_t)sign << 31;
            float x;
            memcpy(&x, &v, 4);
            double d = ulps(x);
            if (d > worst) {
                worst = d;
                at = x;
            }
        }
    tn_rng r = tn_rng_stream(1, 9001, 0);
    for (int i = 0; i < 200000; i++) {
        float x = (float)(tn_rng_unit(&r) * 191 - 103);
        double d = ulps(x);
        if (d > worst) {
            worst = d;
            at = x;
        }
    }
    CHECK_MSG(worst <= 1.0, "worst error %.3f ulp at %.9g", worst, (double)at);
}

TEST(ops_exp_special) {
    CHECK(tn_op_expf(0.0f) == 1.0f && tn_op_expf(-0.0f) == 1.0f);
    CHECK(tn_op_expf(INFINITY) == INFINITY && tn_op_expf(-INFINITY) == 0.0f);
    CHECK(!signbit(tn_op_expf(-INFINITY)) && !signbit(tn_op_expf(-1e30f)));
    CHECK(tn_op_expf(89.0f) == INFINITY && tn_op_expf(1e30f) == INFINITY);
    CHECK(tn_op_expf(88.72f) < INFINITY && tn_op_expf(-104.0f) == 0.0f);
    CHECK(tn_op_expf(-103.0f) == 0x1p-149f); /* 2^-148.6 rounds to the smallest float */
    CHECK(isnan(tn_op_expf(NAN)) && isnan(tn_op_expf(-NAN)));
}

TEST(ops_log_error) {
    double worst = 0;
    float at = 0;
    for (uint32_t u = 0x00800000u; u < 0x7f800000u; u += 4999) { /* all exponents of normal numbers */
        float x;
        int e;
        memcpy(&x, &u, 4);
        if (u % 3 == 0) x = 1.0f + ((float)(u % 200003) - 100001) * 0x1p-20f; /* and around 1 */
        long double want = logl((long double)x);
        frexpl(want, &e);
        double d = want == 0 ? 0 : (double)fabsl((tn_op_logf(x) - want) / ldexpl(1, e - 24));
        if (d > worst) worst = d, at = x;
    }
    CHECK_MSG(worst <= 1.0, "worst error %.3f ulp at %.9g", worst, (double)at);
    CHECK(tn_op_logf(1.0f) == 0 && !signbit(tn_op_logf(1.0f)));
}
