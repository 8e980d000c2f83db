/* Sums over tokens: dW = dY^T X, and the head's.
 *
 * K is the tokens, T: both operands lie with K across the rows. They are packed first, strips of tokens
 * shared out to the threads, so that every row is read once and whole: X into panels of B; dY into
 * panels of A for each tile, or transposed for kernels that need rows. Many tokens are taken in
 * pieces whose panels stay in the caches; the chains go on from piece to piece through memory,
 * and the old value of dw is added at the end (ops.h N2).                                      */
#include "base/pool.h"
#include "ops/cpu/gemm.h"
#include <string.h>

#define STRIP_UNITS 16    /* of K, packed at a time: whole rows, few enough to stay near; a_cols needs 16 */
#define AHEAD 64          /* columns: two panels */
#define PIECE_UNITS 1024  /* of K, of one piece: a panel of B is 128 KiB, a tile of A 64 */

size_t tn_outer_a_bytes(const tn_kernel *g, int m, int k) {
    size_t units = (size_t)tn_units(g, k), rows = (size_t)(m + g->grain - 1) / (size_t)g->grain * (size_t)g->grain;
    return (g->a_panels ? (size_t)tn_tiles(g, m).to * units * TN_AW : rows * tn_row_units((int)units)) * 4;
}
size_t tn_outer_b_bytes(const tn_kernel *g, int n, int k) {
    return (size_t)tn_panels(n) * (size_t)tn_units(g, k) * TN_NR * 4;
}

/* The next `width` columns of k rows: rows lie far apart, too many of them for the hardware to follow. */
static void fetch_rows(const void *src, bool half, size_t lds, int k, int width) {
    size_t size = half ? 2 : 4;
    const char *row = src;
    for (int r = 0; r < k; r++, row += lds * size)
        for (size_t i = 0; i < (size_t)width * size; i += 64) __builtin_prefetch(row + i);
}
static int conversion(const tn_kernel *g, bool half) { return (int)g->form | (half ? TN_HALF : 0); }

static void strip_a(const tn_outer *o, int u, int units, int k0, int k) {
    const tn_kernel *g = o->kern;
    const void *src = tn_source_at(o->a, o->half_a, (size_t)k0 * o->lda);
    int all = tn_units(g, o->k), f = conversion(g, o->half_a);
    tn_deal tiles = tn_tiles(g, o->m);
    if (!g->a_panels) {
        size_t lda = tn_row_units(all);
        g->pack->a_cols(f, o->pa + u, lda, src, o->lda, o->m, k, units);
        for (int r = o->m; r % g->grain; r++) memset(o->pa + (size_t)r * lda + u, 0, (size_t)units * 4);
        return;
    }
    for (int t = 0; t < tiles.to; t++) {
        int row = tn_tile_row(g, &tiles, o->m, t), n = o->m - row < TN_AW ? o->m - row : TN_AW;
        uint32_t *to = o->pa + ((size_t)t * (size_t)all + (size_t)u) * TN_AW;
        if (row + AHEAD < o->m) fetch_rows(tn_source_at(src, o->half_a, (size_t)(row + AHEAD)), o->half_a, o->lda, k, TN_AW);
        g->pack->cols(f, to, TN_AW, tn_source_at(src, o->half_a, (size_t)row), o->lda, n, k, units);
    }
}

static void strip_b(const tn_outer *o, int u, int units, int k0, int k) {
    const tn_kernel *g = o->kern;
    const void *src = tn_source_at(o->b, o->half_b, (size_t)k0 * o->ldb);
    int all = tn_units(g, o->k), f = conversion(g, o->half_b);
    for (int col = 0, i = 0; col < o->n; col += TN_NR, i++) {
        int n = o->n - col < TN_NR ? o->n - col : TN_NR;
        uint32_t *to = o->pb + ((size_t)i * (size_t)all + (size_t)u) * TN_NR;
        if (col + AHEAD < o->n) fetch_rows(tn_source_at(src, o->half_b, (size_t)(col + AHEAD)), o->half_b, o->ldb, k, TN_NR);
        g->pack->cols(f, to, TN_NR, tn_source_at(src, o->half_b, (size_t)col), o->ldb, n, k, units);
    }
}

static void strips(void *ctx, size_t begin, size_t end, int thread) {
    const tn_outer *o = ctx;
    int per = tn_unit_k(o->kern->form), all = tn_units(o->kern, o->k);
    for (int s = (int)begin; s < (int)end; s++) {
        int u = s * STRIP_UNITS, units = all - u < STRIP_UNITS ? all - u : STRIP_UNITS, k0 = u * per;
        int k = o->k - k0 < units * per ? o->k - k0 : units * per;
        if (o->a) strip_a(o, u, units, k0, k);
        if (o->b) strip_b(o, u, units, k0, k);
    }
}

void tn_outer_pack(const tn_outer *o, tn_pool *pool) {
    size_t n = (size_t)(tn_units(o->kern, o->k) + STRIP_UNITS - 1) / STRIP_UNITS;
    tn_pool_deal(pool, n, 1, strips, (void *)o);
}

tn_product tn_outer_product(const tn_outer *o) {
    const tn_kernel *g = o->kern;
    size_t units = (size_t)tn_units(g, o->k);
    return (tn_product){.kern = g, .m = o->m, .n = o->n, .k = o->k, .packed_a = o->pa, .lda = tn_row_units((int)units),
                        .a_tile = g->a_panels ? units * TN_AW : 0, .b = o->pb, .panel = units * TN_NR};
}

void tn_cpu_gemm_dw(tn_backend *b, void *dw, const void *dy, int lddy, const void *x, int ldx, int T, int out, int in) {
    tn_gemm_dw_of(b, dw, tn_operands(b, dy, lddy), tn_operands(b, x, ldx), T, out, in);
}

void tn_gemm_dw_of(tn_backend *b, void *dw, tn_source dy, tn_source x, int T, int out, int in) {
    const tn_kernel *g = tn_kernel_of(b);
    int most = PIECE_UNITS * tn_unit_k(g->form), pieces = (T + most - 1) / most;
    int piece = pieces > 1 ? ((T + pieces - 1) / pieces + 31) / 32 * 32 : T;
    size_t pa = tn_outer_a_bytes(g, out, piece), pb = tn_outer_b_bytes(g, in, piece);
    size_t carry = pieces > 1 ? (size_t)out * TN_NR * (size_t)tn_panels(in) * 4 : 0;
    char *scratch = tn_backend_scratch(b, pa + pb + carry + 128);
    if (!scratch) return;
    size_t at_b = (pa + 63) / 64 * 64;
    tn_outer o = {.kern = g, .m = out, .n = in, .lda = (size_t)dy.ld, .ldb = (size_t)x.ld,
                  .half_a = dy.half, .half_b = x.half, .pa = (uint32_t *)scratch, .pb = (uint32_t *)(scratch + at_b)};
    for (int t = 0; t < T; t += piece) {
        o.k = T - t < piece ? T - t : piece;
        o.a = tn_source_at(dy.p, dy.half, (size_t)t * o.lda);
        o.b = tn_source_at(x.p, x.half, (size_t)t * o.ldb);
        tn_outer_pack(&o, b->pool);
        tn_product p = tn_outer_product(&o);
        p.mode = TN_ADD;
        p.y = dw;
        p.ldy = (size_t)in;
        p.carry = carry ? (float *)(scratch + at_b + pb) : NULL;
        p.ld_carry = (size_t)TN_NR * (size_t)tn_panels(in);
        p.more = t > 0;
        p.last = t + piece >= T;
        tn_product_run(&p, b->pool, NULL);
    }
}
