/* Learning-rate schedules and the order of rows. */
#ifndef TN_TRAIN_SCHEDULE_H
#define TN_TRAIN_SCHEDULE_H
#include "base/status.h"
#include <stddef.h>
#include <stdint.h>

typedef enum tn_schedule_kind {
    TN_SCHEDULE_LINEAR,
    TN_SCHEDULE_COSINE,
    TN_SCHEDULE_CONSTANT
} tn_schedule_kind;
/* Factor on the peak rate for 0-based step s of `total` (transformers' LambdaLR): s/warmup while warming up,
 * then linear or half-cosine down to `floor`, or constant. */
double tn_schedule_factor(tn_schedule_kind k, long s, long warmup, long total, double floor);

/* Permutation of 0..n-1 for one epoch. RANDOM: keyed by (seed, epoch) with our counter generator.
 * TORCH: torch.randperm(n) of a generator seeded with seed+epoch (MT19937; n < 2^32/20), as
 * accelerate's SeedableRandomSampler draws it. */
typedef enum tn_order_kind { TN_ORDER_SEQUENTIAL, TN_ORDER_RANDOM, TN_ORDER_TORCH } tn_order_kind;
void tn_order_epoch(tn_order_kind k, uint64_t seed, long epoch, uint32_t *order, size_t n);
#endif
