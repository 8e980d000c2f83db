/* What pooled heads share; see pooled.h. */
#include "algo/pooled.h"
#include "base/rng.h"
#include <math.h>
#include <string.h>

const tn_pooled_head *tn_pooled_find(const char *name) {
    static const tn_pooled_head *const all[] = {&tn_pooled_inform, &tn_pooled_odin,
                                                &tn_pooled_many, NULL};
    for (const tn_pooled_head *const *h = all; *h; h++)
        if (name && strcmp((*h)->name, name) == 0) return *h;
    return NULL;
}

void tn_pooled_noise(uint64_t seed, uint64_t index, int n, double *noise) {
    tn_rng r = tn_rng_stream(seed, TN_RNG_LATENT, index);
    for (int i = 0; i < n; i++) noise[i] = tn_rng_normal(&r);
}

tn_status tn_extra_check(const tn_obs *x, int n_extra, const char *who, tn_err *e) {
    if (x->n_extra != n_extra || !x->extra)
        return tn_fail(e, TN_ARG,
                       "%s: needs %d more number(s) a sequence from its own head, found %d", who,
                       n_extra, x->extra ? x->n_extra : 0);
    for (int s = 0; s < x->n_seq; s++)
        for (int k = 0; k < n_extra; k++)
            if (!isfinite(x->extra[s * n_extra + k]))
                return tn_fail(e, TN_NUMERIC,
                               "%s: output %d of the head for sequence %d is %g, expected a finite "
                               "number; lower the learning rate, clip gradients",
                               who, k + 1, s, x->extra[s * n_extra + k]);
    return TN_OK;
}
