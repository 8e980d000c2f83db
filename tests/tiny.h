/* Tiny models of odd shapes with every parameter random, and forests over random tokens. */
#ifndef TN_TEST_TINY_H
#define TN_TEST_TINY_H
#include "model/model.h"
#include "test.h"

typedef struct tiny_case {
    const char *name;
    tn_desc desc;
} tiny_case;
extern const int n_tiny;
const tiny_case *tiny_get(int i); /* 0 <= i < n_tiny */

/* A model with all tensors drawn from (seed): norms near 1, biases and score not zero. */
tn_model *tiny_model(const tn_desc *d, tn_backend *be, bool train, uint64_t seed);
tn_backend *tiny_backend(const char *name, tn_dtype dtype, const char *kernels, int threads);
void tiny_ids(int32_t *ids, int n, int vocab, uint64_t seed);
double tiny_unit(uint64_t seed, uint64_t i); /* in [-1, 1) */
double tiny_element(const tn_backend *be, const void *p, size_t i);
void tiny_set(const tn_backend *be, void *p, size_t i, double v);
#endif
