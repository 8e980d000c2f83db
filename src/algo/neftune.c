/* Noise on embeddings, a function of (seed, sequence, position, element); see neftune.h. */
#include "algo/neftune.h"
#include "base/rng.h"
#include <math.h>

const tn_opt_row tn_neftune_rows[] = {
    {"neftune-noise-alpha", TN_OPT_REAL, offsetof(tn_neftune_opt, alpha), "0", NULL, 0, 1e9, NULL,
     "X", "Noise on the embeddings while training on demonstrations (5 is usual); 0 is off."},
    TN_OPT_LAST,
};

double tn_neftune_width(double alpha, int length, int d) {
    return alpha / sqrt((double)length * d);
}

void tn_neftune_add(double width, uint64_t seed, uint64_t index, int position, int d, float *x) {
    tn_rng r = tn_rng_stream(seed, TN_RNG_NEFTUNE, index);
    r.k = (uint64_t)position * (uint64_t)d;
    for (int j = 0; j < d; j++) x[j] += (float)(width * (2 * tn_rng_unit(&r) - 1));
}
