/* Counter-based randomness: no generator state anywhere, every draw is a function of its key.
 *
 * mix is a 64-bit finaliser; a stream is (seed, purpose, index):
 *   key = mix(mix(mix(seed + G) + purpose) + index),  G = 0x9E3779B97F4A7C15
 * and its k-th draw, k = 1, 2, ..., is mix(key + k*G).
 * Check: mix(1) = 0x5692161d100b05e5; stream (1,1,0): 0x0a45b3e0d5967d37,
 * 0x9f2700594737daf3, 0x0064cdf1cbba9a68. */
#ifndef TN_BASE_RNG_H
#define TN_BASE_RNG_H
#include <stddef.h>
#include <stdint.h>

#define TN_RNG_GAMMA 0x9E3779B97F4A7C15ull

static inline uint64_t tn_mix(uint64_t z) {
    z ^= z >> 30; z *= 0xBF58476D1CE4E5B9ull;
    z ^= z >> 27; z *= 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}
typedef struct tn_rng { uint64_t key, k; } tn_rng;
static inline tn_rng tn_rng_stream(uint64_t seed, uint64_t purpose, uint64_t index) {
    tn_rng r = {tn_mix(tn_mix(tn_mix(seed + TN_RNG_GAMMA) + purpose) + index), 0};
    return r;
}
static inline uint64_t tn_rng_next(tn_rng *r) { return tn_mix(r->key + ++r->k * TN_RNG_GAMMA); }
/* uniform integer in [0, n): ((x >> 32) * n) >> 32 */
static inline uint32_t tn_rng_below(tn_rng *r, uint32_t n) {
    return (uint32_t)(((tn_rng_next(r) >> 32) * (uint64_t)n) >> 32);
}
/* uniform in [0,1): (x >> 11) * 2^-53 */
static inline double tn_unit_of(uint64_t x) { return (double)(x >> 11) * 0x1p-53; }
static inline double tn_rng_unit(tn_rng *r) { return tn_unit_of(tn_rng_next(r)); }
double tn_rng_normal(tn_rng *r);                      /* Box-Muller, two draws, tn_ maths */
void tn_rng_shuffle(tn_rng *r, uint32_t *a,
                    size_t n); /* for i = n-1 ... 1 swap i with below(i+1) */

/* Purposes of the training side (1-99 and 104, 208 belong to the world, see world.h). */
enum {
    TN_RNG_PRINCIPLE = 13, /* the world's number, too: a constitution's principles; index = 16 item + round */
    TN_RNG_INIT = 300,   /* parameter initialisation: index = tensor number */
    TN_RNG_ORDER = 301,  /* order of training rows: index = epoch */
    TN_RNG_SAMPLE = 302, /* sampling: key chain of (seed, sequence id, position) */
    TN_RNG_MINIBATCH = 303, /* PPO minibatches: index = iteration*64 + epoch */
    TN_RNG_SPLIT = 304,
    TN_RNG_MOMENTS = 305, /* rounding of AdamW's moments: index = step; the key is mixed with the tensor's number */
    TN_RNG_ANSWERS = 306, /* does a distillation step take its own answers: index = step */
    TN_RNG_ADAPTER = 310, /* A of fresh adapters: index = tensor number */
    TN_RNG_MACRO = 320,   /* lengths of random macro actions: index = response */
    TN_RNG_LATENT = 321,  /* noise of the information bottleneck: index = response */
    TN_RNG_NEFTUNE = 322, /* noise on embeddings: index = sequence */
    TN_RNG_RESAMPLE = 323, /* bootstrap resamples of reward heads: index = row and head */
    TN_RNG_RLTHF = 330, /* targeted human feedback: index 0 the shard, k whom a random round k asks, 1001 + pair its sides */
    TN_RNG_BOOTSTRAP = 331, /* resamples of prompts: index = resample */
    TN_RNG_RETRY = 340 /* waits before a request is tried again: index = request, draw = retry */
};
#endif
