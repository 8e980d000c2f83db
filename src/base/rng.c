/* Normal draws and shuffles over the counter-based streams. */
#include "base/rng.h"
#include "base/mathx.h"
#include <math.h>

double tn_rng_normal(tn_rng *r) {
    /* 1 - u is in (0, 1]: the logarithm is finite. */
    double u = 1.0 - tn_rng_unit(r), v = tn_rng_unit(r);
    return sqrt(-2.0 * tn_log(u)) * tn_cos(6.28318530717958647692 * v);
}

void tn_rng_shuffle(tn_rng *r, uint32_t *a, size_t n) {
    for (size_t i = n; i-- > 1;) {
        size_t j = tn_rng_below(r, (uint32_t)(i + 1));
        uint32_t t = a[i];
        a[i] = a[j];
        a[j] = t;
    }
}
