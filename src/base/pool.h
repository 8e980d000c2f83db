/* A fixed pool of threads. Outputs, never reductions, are what is split, so results do not depend on the number of
 * threads. The calling thread takes part. Not re-entrant. */
#ifndef TN_BASE_POOL_H
#define TN_BASE_POOL_H
#include "base/status.h"
#include <stddef.h>

typedef struct tn_pool tn_pool;
tn_status tn_pool_new(tn_pool **p, int threads /* 0: all CPUs */, tn_err *e);
void tn_pool_free(tn_pool *p);
int tn_pool_threads(const tn_pool *p);
typedef void tn_pool_fn(void *ctx, size_t begin, size_t end, int thread);
/* Calls fn on disjoint ranges covering [0, n), one a thread at most, cut at multiples of `grain` (>= 1); the split
 * depends only on n and the number of threads. */
void tn_pool_run(tn_pool *p, size_t n, size_t grain, tn_pool_fn *fn, void *ctx);
/* The same range by range: a thread takes the first half of what is left of its share, again and again, and then of
 * the others', so that none waits long for one that was held up. fn is called several times, in any order. */
void tn_pool_deal(tn_pool *p, size_t n, size_t grain, tn_pool_fn *fn, void *ctx);
#endif
