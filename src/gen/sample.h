/* Drawing one token from one row of probabilities. Pure functions of the row and one uniform number. */
#ifndef TN_GEN_SAMPLE_H
#define TN_GEN_SAMPLE_H
#include "base/mem.h"
#include "base/rng.h"

typedef struct tn_sampling {
    double temperature;  /* 0: greedy (arg max, lowest id on ties) */
    int top_k;           /* 0: off */
    double top_p, min_p; /* 1 and 0: off */
    bool greedy_first;   /* the first sample of each request is greedy, whatever the temperature */
    int max_new;         /* tokens, the stop token included */
    uint64_t seed;
    const int32_t *stop; /* ids that end a response */
    size_t n_stop;
    bool
        truncated_logp; /* store the log-prob of the truncated distribution instead of the full one */
} tn_sampling;

/* Does anything cut the distribution (top-k, top-p, min-p)? */
static inline bool tn_sampling_truncates(const tn_sampling *s) {
    return s->top_k > 0 || s->top_p < 1 || s->min_p > 0;
}

/* p [V]: probabilities (sum about 1), and the sums of their blocks (tn_ops.exp_row). u in [0,1). heap [V]: scratch.
 * *share gets the probability mass that the truncation keeps (1 without). Order as in transformers: top-k, then top-p of
 * what is left, then min-p. */
int tn_sample_token(const tn_sampling *s, const float *p, const double *block, int V, double u, int32_t *heap,
                    double *share);
/* The uniform number of position `pos` (0-based) of sequence `key`. */
static inline double tn_sample_uniform(uint64_t seed, uint64_t key, int pos) {
    tn_rng r = tn_rng_stream(seed, TN_RNG_SAMPLE, key);
    r.k = (uint64_t)pos;
    return tn_rng_unit(&r);
}
#endif
