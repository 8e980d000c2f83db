/* Thread pool: ranges, partition, many dispatches. */
#include "base/os.h"
#include "base/pool.h"
#include "base/rng.h"
#include "test.h"

enum { MOST = 1000 };

typedef struct job {
    int hits[MOST];
    size_t begin[16], end[16];
    int calls[16];
    size_t grain;
} job;

static void mark(void *ctx, size_t begin, size_t end, int thread) {
    job *j = ctx;
    for (size_t i = begin; i < end; i++) j->hits[i]++;
    j->begin[thread] = begin;
    j->end[thread] = end;
    j->calls[thread]++;
}

TEST(base_pool_covers_each_range_once) {
    static job j;
    for (int threads = 1; threads <= 9; threads++) {
        tn_pool *p = NULL;
        CHECK_OK(tn_pool_new(&p, threads, e));
        if (!p) return;
        CHECK(tn_pool_threads(p) == threads);
        for (size_t n = 0; n < 140; n = n < 20 ? n + 1 : n + 17)
            for (size_t grain = 1; grain < 40; grain = grain * 2 + 1) {
                memset(&j, 0, sizeof j);
                tn_pool_run(p, n, grain, mark, &j);
                for (size_t i = 0; i < n; i++) CHECK(j.hits[i] == 1);
                CHECK(j.hits[n] == 0);
                size_t at = 0;
                for (int t = 0; t < threads; t++) { /* in the order of threads, cut at the grain */
                    CHECK(j.calls[t] <= 1);
                    if (!j.calls[t]) continue;
                    CHECK(j.begin[t] == at && j.begin[t] % grain == 0 && j.end[t] > at);
                    CHECK(j.end[t] % grain == 0 || j.end[t] == n);
                    at = j.end[t];
                }
                CHECK(at == n);
            }
        tn_pool_free(p);
    }
    tn_pool *p;
    CHECK_FAIL(tn_pool_new(&p, -1, e), TN_ARG, "-1 threads asked for");
    CHECK_OK(tn_pool_new(&p, 0, e));
    CHECK(tn_pool_threads(p) == tn_ncpu());
    tn_pool_free(p);
    tn_pool_free(NULL);
}

/* Each element once, whatever thread runs late; ranges cut at the grain. */
static void late(void *ctx, size_t begin, size_t end, int thread) {
    job *j = ctx;
    if (thread == 0 && begin == 0) tn_sleep(0.002);
    for (size_t i = begin; i < end; i++) __atomic_fetch_add(&j->hits[i], 1, __ATOMIC_RELAXED);
    CHECK(begin % j->grain == 0);
    __atomic_fetch_add(&j->calls[thread], 1, __ATOMIC_RELAXED);
}

TEST(base_pool_deals_out_each_range_once) {
    static job j;
    for (int threads = 1; threads <= 9; threads++) {
        tn_pool *p = NULL;
        int helped = 0;
        CHECK_OK(tn_pool_new(&p, threads, e));
        if (!p) return;
        for (size_t n = 0; n < MOST; n = n * 2 + 1)
            for (size_t grain = 1; grain < 40; grain = grain * 4 + 1) {
                memset(&j, 0, sizeof j);
                j.grain = grain;
                tn_pool_deal(p, n, grain, late, &j);
                for (size_t i = 0; i < n; i++) CHECK(j.hits[i] == 1);
                CHECK(j.hits[n] == 0);
                if (threads > 1 && n == 511 && grain == 1) helped = j.calls[0] < 3; /* the late one has halved once or twice */
            }
        CHECK_MSG(threads == 1 || helped, "%d threads: nobody helped the late one", threads);
        tn_pool_free(p);
    }
}

typedef struct chain {
    double *x;
    double factor;
} chain;

static void scale(void *ctx, size_t begin, size_t end, int thread) {
    chain *c = ctx;
    for (size_t i = begin; i < end; i++) c->x[i] = c->x[i] * c->factor + (double)i;
}

/* Every dispatch sees what the one before wrote, whoever wrote it. */
TEST(base_pool_many_dispatches) {
    double want[97], got[97];
    for (int threads = 1; threads <= 5; threads++) {
        tn_pool *p = NULL;
        CHECK_OK(tn_pool_new(&p, threads, e));
        if (!p) return;
        chain c = {got, 0};
        memset(got, 0, sizeof got);
        for (int k = 0; k < 1200; k++) {
            c.factor = 0.5 + (double)(k % 7) * 0.05;
            tn_pool_run(p, (size_t)(1 + k % 97), 1 + (size_t)k % 5, scale, &c);
            if (k % 400 == 399) tn_sleep(0.002); /* long enough for the workers to fall asleep */
        }
        if (threads == 1) memcpy(want, got, sizeof got);
        CHECK_BYTES(got, want, sizeof got);
        tn_pool_free(p);
    }
}

TEST(base_pool_two_pools_in_turn) {
    tn_pool *a = NULL, *b = NULL;
    static job j;
    CHECK_OK(tn_pool_new(&a, 3, e));
    CHECK_OK(tn_pool_new(&b, 2, e));
    for (int k = 0; k < 200; k++) {
        memset(&j, 0, sizeof j);
        tn_pool_run(k & 1 ? a : b, 100, 1, mark, &j);
        for (size_t i = 0; i < 100; i++) CHECK(j.hits[i] == 1);
    }
    tn_pool_free(a);
    tn_pool_free(b);
}
