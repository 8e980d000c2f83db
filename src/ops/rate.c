#include "ops/rate.h"
#include "base/mem.h"
#include "base/os.h"
#include <string.h>

double tn_rate_gemm(tn_backend *b, const tn_weight *w, int T, double seconds) {
    size_t nx = (size_t)T * (size_t)w->in * b->elem, ny = (size_t)T * (size_t)w->out * b->elem;
    void *x = tn_big_alloc(nx), *y = tn_big_alloc(ny);
    double best = 0;
    if (x && y) {
        b->op->gemm(b, TN_SET, y, w->out, x, w->in, w, NULL, T);
        double start = tn_now(), t0 = start, t1 = start;
        for (int n = 0; n < 2 || t1 - start < seconds; n++, t0 = t1) {
            b->op->gemm(b, TN_SET, y, w->out, x, w->in, w, NULL, T);
            t1 = tn_now();
            double rate = 2.0 * T * w->in * (double)w->out / (t1 - t0);
            if (rate > best) best = rate;
        }
    }
    tn_big_free(x, nx);
    tn_big_free(y, ny);
    return best;
}

double tn_rate_shape(tn_backend *b, int out, int in, int T, double seconds) {
    size_t n = (size_t)out * (size_t)in, bytes = b->op->weight_bytes(b, out, in);
    void *master = tn_big_alloc(n * b->elem), *packed = tn_big_alloc(bytes);
    double rate = 0;
    if (master && packed) {
        tn_weight w = {.out = out, .in = in, .master = master, .packed = packed};
        b->op->weight_pack(b, &w);
        rate = tn_rate_gemm(b, &w, T, seconds);
    }
    tn_big_free(master, n * b->elem);
    tn_big_free(packed, bytes);
    return rate;
}

typedef struct pass {
    const uint64_t *v;
    uint64_t sum[1024][8]; /* by thread; kept so that nothing is optimised away */
} pass;

static void read_some(void *ctx, size_t begin, size_t end, int thread) {
    pass *p = ctx;
    uint64_t s[8] = {0};
    for (size_t i = begin; i + 8 <= end; i += 8)
        for (size_t k = 0; k < 8; k++) s[k] += p->v[i + k];
    for (size_t k = 0; k < 8; k++) p->sum[thread % 1024][k] += s[k];
}

static void touch(void *ctx, size_t begin, size_t end, int thread) {
    memset((uint64_t *)ctx + begin, 1, (end - begin) * 8);
}

double tn_rate_read(tn_pool *pool, size_t bytes, double seconds) {
    uint64_t *v = tn_big_alloc(bytes);
    pass *p = tn_calloc(1, sizeof *p);
    double best = 0;
    if (v && p) {
        p->v = v;
        tn_pool_run(pool, bytes / 8, 4096, touch, v); /* else every page is the page of zeros */
        double start = tn_now(), t0 = start, t1 = start;
        for (int n = 0; n < 2 || t1 - start < seconds; n++, t0 = t1) {
            tn_pool_run(pool, bytes / 8, 4096, read_some, p);
            t1 = tn_now();
            if ((double)bytes / (t1 - t0) > best) best = (double)bytes / (t1 - t0);
        }
    }
    tn_big_free(v, bytes);
    tn_free(p);
    return best;
}
