/* What methods cost by counting: passes of N parameters per response token (2N FLOP forward, as
 * much to decode one token from a cache, 4N backward; attention and prompts left out), and bytes of
 * the models they hold. For comparing methods on paper; a run's own numbers are measured and
 * planned elsewhere. */
#ifndef TN_ALGO_PRICE_H
#define TN_ALGO_PRICE_H

typedef struct tn_price {
    const char *method;
    int sampled;            /* tokens decoded per response token */
    int scored;             /* forward passes: old log-probs, reference, reward model, value */
    int trained;            /* forward and backward, each epoch */
    int trainable, frozen;  /* models held */
} tn_price;
extern const tn_price tn_price_all[]; /* method NULL ends it */
const tn_price *tn_price_find(const char *method); /* NULL when there is none */
/* FLOP per response token: N (2 sampled + 2 scored + 6 epochs trained). */
double tn_price_flop(const tn_price *p, double params, int epochs);

typedef struct tn_price_bytes { double trainable, frozen; } tn_price_bytes;
/* Mixed precision: bf16 weight 2, float32 gradient 4, master 4, AdamW's moments 8; frozen bf16
 * 2. */
extern const tn_price_bytes tn_price_mixed;
/* Bytes of all models, and of given numbers of trained and frozen parameters (adapters on one
 * trunk). */
double tn_price_memory(const tn_price *p, double params, const tn_price_bytes *b);
double tn_price_memory_of(double trainable, double frozen, const tn_price_bytes *b);
#endif
