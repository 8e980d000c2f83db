/* Driver of the matrix products: packed weights, blocking, threads.
 *
 * M is cut into tiles of nearly equal height (at most the kernel's mr), tiles into blocks whose
 * A operand stays in the L2 cache. The unit of work is one block times one panel of B; units are
 * numbered block by block and dealt out to the threads in long runs, so that each converts the few
 * blocks of A that it meets into its own scratch. Within a unit
 * the panel of B is read once from memory and then, for the other tiles, from the caches.      */
#include "ops/cpu/gemm.h"
#include "base/pool.h"
#include <limits.h>
#include <string.h>

/* Bytes of A a thread works on at a time: with a panel or two of B, well inside L2. */
#define A_BLOCK_BYTES (256 << 10)
/* K of more than WHOLE_UNITS is taken in pieces, and so many bytes of unfinished rows are kept at most. */
#define WHOLE_UNITS 1024
#define PIECE_UNITS 512
#define FEW_ROWS 8 /* but not for so few rows: their part of A stays in L1 */
#define CARRY_BYTES ((size_t)4 << 20)
/* Below this much work a second thread costs more than it brings. */
#define INLINE_FLOP 400000.0
#define INLINE_PACK 20000.0 /* elements */

/* A source that is the operand as it stands: floats for floats; bf16 for pairs of bf16 if rows begin and end with a
 * unit and nothing is missing at the end. Rows that a stride of a multiple of 2 KiB puts on few cache sets are copied. */
static bool usable_in_place(const tn_product *p) {
    const tn_kernel *g = p->kern;
    if (p->packed_a) return true;
    bool spread = p->m < 8 || p->lda % (p->half ? 1024 : 512) != 0;
    if (!p->half) return g->form == TN_FORM_F32 && spread;
    bool whole = 2 * tn_units(g, p->k) == p->k && p->m % g->grain == 0;
    return g->form == TN_FORM_BF16 && whole && p->lda % 2 == 0 && (uintptr_t)p->a % 4 == 0 && spread;
}
static size_t units_of_row(const tn_product *p) { return p->half ? p->lda / 2 : p->lda; } /* in place */
static void *y_at(const tn_product *p, int row, int col) {
    return (char *)p->y + ((size_t)row * p->ldy + (size_t)col) * tn_y_size(p->mode);
}

void tn_plan_make(tn_plan *l, const tn_product *p, int min_blocks, int max_rows) {
    const tn_kernel *g = p->kern;
    *l = (tn_plan){.p = p, .units = tn_units(g, p->k), .panels = tn_panels(p->n), .direct = usable_in_place(p)};
    l->lda = l->direct ? p->packed_a ? p->lda : units_of_row(p) : tn_row_units(l->units);
    l->tiles = tn_tiles(g, p->m);
    int tiles = l->tiles.to;
    size_t tile = p->a_tile ? p->a_tile : tn_row_units(l->units) * (size_t)g->mr; /* units */
    size_t fit = A_BLOCK_BYTES / (tile * 4), most = (size_t)(max_rows / g->mr);
    if (fit > most) fit = most;
    if (fit < 1) fit = 1;
    int blocks = (int)(((size_t)tiles + fit - 1) / fit);
    if (blocks < min_blocks) blocks = min_blocks < tiles ? min_blocks : tiles;
    l->blocks = tn_deal_out(tiles, blocks);
    l->a_thread = l->direct ? 0 : (size_t)(l->blocks.each + (l->blocks.more > 0)) * tile;
}

const uint32_t *tn_plan_block_a(const tn_plan *l, int block, int thread, bool loaded) {
    const tn_product *p = l->p;
    const tn_kernel *g = p->kern;
    int t0 = tn_plan_tile_of(l, block), r0 = tn_plan_row(l, t0);
    if (p->a_tile) return p->packed_a + (size_t)t0 * p->a_tile;
    if (l->direct) return (p->packed_a ? p->packed_a : (const uint32_t *)p->a) + (size_t)r0 * l->lda;
    uint32_t *a = l->a + (size_t)thread * l->a_thread;
    if (loaded) return a;
    int rows = tn_plan_row(l, tn_plan_tile_of(l, block + 1)) - r0;
    g->pack->a_rows((int)g->form | (p->half ? TN_HALF : 0), a, l->lda, tn_source_at(p->a, p->half, (size_t)r0 * p->lda), p->lda,
                    rows, p->k, l->units);
    for (int r = rows; r % g->grain; r++) memset(a + (size_t)r * l->lda, 0, (size_t)l->units * 4);
    return a;
}

/* The first two tiles fetch the two halves of the next panel; the others what they use anyway. */
int tn_plan_tile(const tn_plan *l, int block, int tile, const uint32_t *a, const uint32_t *b, const uint32_t *next,
                 tn_tile *t) {
    int t0 = tn_plan_tile_of(l, block), i = tile - t0, row = tn_plan_row(l, tile);
    size_t panel = l->p->a_tile;
    bool fetch = next && i < 2 && tn_plan_tile_of(l, block + 1) - t0 > 1;
    *t = (tn_tile){.m = tn_plan_row(l, tile + 1) - row, .units = l->units, .b = b,
                   .a = a + (panel ? (size_t)i * panel : (size_t)(row - tn_plan_row(l, t0)) * l->lda),
                   .lda = panel ? 1 : l->lda, .step = panel ? TN_AW : 1,
                   .next = fetch ? next + (size_t)i * (size_t)l->units * TN_TILE_AHEAD : b};
    return row;
}

static void one_tile(const tn_plan *l, tn_tile *t, int row, int panel) {
    const tn_product *p = l->p;
    const tn_kernel *g = p->kern;
    int col = panel * TN_NR, n = p->n - col < TN_NR ? p->n - col : TN_NR;
    char *y = y_at(p, row, col);
    _Alignas(64) float c[TN_MR_MAX * TN_NR];
    bool straight = p->mode == TN_SET && !p->bias && n == TN_NR && !p->carry;
    t->c = straight ? (float *)(void *)y : c;
    t->ldc = straight ? p->ldy : TN_NR;
    if (p->carry) {
        t->ldc = p->ld_carry;
        t->c = p->carry + (size_t)row * t->ldc + col;
        t->more = p->more;
    }
    bool to_y = !straight && (!p->carry || p->last);
    size_t row_bytes = p->ldy * tn_y_size(p->mode);
    for (int i = 0; to_y && i < t->m; i++) { /* what will be added to, or written, is on its way meanwhile */
        __builtin_prefetch(y + (size_t)i * row_bytes, 1);
        __builtin_prefetch(y + (size_t)i * row_bytes + 64, 1);
    }
    g->tile(t);
    if (p->carry && !p->last) return;
    if ((char *)t->c != y) g->pack->finish(p->mode, y, p->ldy, t->c, t->ldc, p->bias ? p->bias + col : NULL, t->m, n);
    if (p->each) p->each(p->ctx, (float *)(void *)y, p->ldy, row, t->m, col, n);
}

static void work(void *ctx, size_t begin, size_t end, int thread) {
    const tn_plan *l = ctx;
    const tn_product *p = l->p;
    if (p->kern->begin) p->kern->begin();
    int none = -1, *loaded = l->loaded ? l->loaded + thread : &none;
    for (size_t u = begin; u < end; u++) {
        int block = (int)(u / (size_t)l->panels), panel = (int)(u % (size_t)l->panels);
        const uint32_t *a = tn_plan_block_a(l, block, thread, block == *loaded);
        *loaded = block;
        const uint32_t *b = p->b + (size_t)panel * p->panel, *next = panel + 1 < l->panels ? b + p->panel : p->b;
        for (int i = tn_plan_tile_of(l, block), end_tile = tn_plan_tile_of(l, block + 1); i < end_tile; i++) {
            tn_tile t;
            int row = tn_plan_tile(l, block, i, a, b, next, &t);
            one_tile(l, &t, row, panel);
        }
    }
    if (p->kern->end) p->kern->end();
}

size_t tn_product_scratch(const tn_product *p, int threads) {
    size_t tile = tn_row_units(tn_units(p->kern, p->k)) * 4 * (size_t)p->kern->mr;
    return ((tile > A_BLOCK_BYTES ? tile : A_BLOCK_BYTES) + sizeof(int)) * (size_t)threads;
}

void tn_product_run(const tn_product *p, tn_pool *pool, void *scratch) {
    tn_plan l;
    tn_plan_make(&l, p, 1, INT_MAX);
    l.a = scratch;
    if (!l.direct) l.loaded = (int *)(void *)(l.a + l.a_thread * (size_t)tn_pool_threads(pool));
    for (int t = 0; l.loaded && t < tn_pool_threads(pool); t++) l.loaded[t] = -1;
    size_t n = (size_t)l.blocks.to * (size_t)l.panels;
    if (2.0 * p->m * p->n * p->k < INLINE_FLOP) work(&l, 0, n, 0);
    else tn_pool_deal(pool, n, 1, work, &l);
}

/* --- packed weights --- */

size_t tn_cpu_weight_bytes(const tn_backend *b, int out, int in) {
    return (size_t)tn_panels(out) * TN_NR * 4 * (size_t)tn_units(tn_kernel_of(b), in);
}

typedef struct packing {
    const tn_kernel *kern;
    const tn_weight *w;
} packing;

static void pack_panels(void *ctx, size_t begin, size_t end, int thread) {
    const packing *j = ctx;
    const tn_weight *w = j->w;
    size_t in = (size_t)w->in, panel = (size_t)tn_units(j->kern, w->in) * TN_NR;
    for (size_t p = begin; p < end; p++) {
        int row = (int)p * TN_NR, n = w->out - row < TN_NR ? w->out - row : TN_NR;
        j->kern->pack->b_rows((int)j->kern->form, (uint32_t *)w->packed + p * panel, (const float *)w->master + (size_t)row * in,
                              in, n, w->in, (int)(panel / TN_NR));
    }
}

void tn_cpu_weight_pack(tn_backend *b, const tn_weight *w) {
    packing j = {.kern = tn_kernel_of(b), .w = w};
    size_t n = (size_t)tn_panels(w->out);
    if ((double)w->out * w->in < INLINE_PACK) pack_panels(&j, 0, n, 0);
    else tn_pool_deal(b->pool, n, 1, pack_panels, &j);
}

/* --- the products --- */

/* `part` is a product over the k numbers of K from k0 on. */
static void take_b(tn_product *part, tn_pool *pool, int k0) {
    tn_turn *t = part->turn;
    if (!t) {
        part->b += (size_t)(k0 / tn_unit_k(part->kern->form)) * TN_NR;
        return;
    }
    t->row = k0, t->rows = part->k;
    tn_turn_run(t, pool);
    part->b = t->to;
    part->panel = (size_t)tn_units(part->kern, t->rows) * TN_NR;
}

/* Rows [row, row + rows) of p in pieces of K, through carry. */
static void run_pieces(const tn_product *p, tn_pool *pool, int row, int rows, int piece, float *carry, void *scratch) {
    tn_product part = *p;
    part.m = rows;
    part.y = y_at(p, row, 0);
    part.carry = carry ? carry : part.y;
    part.ld_carry = carry ? (size_t)tn_panels(p->n) * TN_NR : p->ldy;
    for (int k = 0; k < p->k; k += piece) {
        part.a = tn_source_at(p->a, p->half, (size_t)row * p->lda + (size_t)k);
        part.b = p->b;
        part.k = p->k - k < piece ? p->k - k : piece;
        take_b(&part, pool, k);
        part.more = k > 0;
        part.last = k + piece >= p->k;
        tn_product_run(&part, pool, scratch);
    }
}

/* A wide K is taken in pieces: a tile of A then stays in L1 and a block of many tiles in L2. The chains go through
 * y, or through scratch, some rows at a time, where y is added to or ends within a panel. */
typedef struct cut {
    int pieces, piece, rows;
    size_t need, carry; /* bytes of the products' scratch, of the unfinished rows' */
} cut;

static int pieces_of(const tn_product *p) {
    int units = tn_units(p->kern, p->k);
    return units <= WHOLE_UNITS || (p->m < FEW_ROWS && !p->turn) ? 1 : (units + PIECE_UNITS - 1) / PIECE_UNITS;
}
int tn_product_piece(const tn_product *p) {
    int units = tn_units(p->kern, p->k), pieces = pieces_of(p);
    return ((units + pieces - 1) / pieces + 31) / 32 * 32 * tn_unit_k(p->kern->form);
}
static cut cut_of(const tn_product *p, int threads) {
    cut c = {.pieces = pieces_of(p), .piece = tn_product_piece(p), .rows = p->m};
    c.need = (tn_product_scratch(p, threads) + 63) / 64 * 64;
    size_t row = (size_t)tn_panels(p->n) * TN_NR * 4;
    if (c.pieces == 1 || (p->mode == TN_SET && !p->bias && p->n % TN_NR == 0)) return c; /* in y */
    if (row * (size_t)p->m > CARRY_BYTES) c.rows = (int)(CARRY_BYTES / row) + 1;
    c.carry = row * (size_t)c.rows;
    return c;
}

size_t tn_product_whole_scratch(const tn_product *p, int threads) {
    cut c = cut_of(p, threads);
    return c.need + c.carry + 64;
}

void tn_product_run_whole(const tn_product *p, tn_pool *pool, void *scratch) {
    cut c = cut_of(p, tn_pool_threads(pool));
    float *carry = c.carry ? (float *)(void *)((char *)scratch + c.need) : NULL;
    if (c.pieces == 1) {
        tn_product whole = *p;
        take_b(&whole, pool, 0);
        tn_product_run(&whole, pool, scratch);
    } else
        for (int r = 0; r < p->m; r += c.rows)
            run_pieces(p, pool, r, p->m - r < c.rows ? p->m - r : c.rows, c.piece, carry, scratch);
}

void tn_gemm_of(tn_backend *b, tn_mode mode, void *y, int ldy, tn_source x, const tn_weight *w, const void *bias, int T) {
    const tn_kernel *g = tn_kernel_of(b);
    tn_product p = {.kern = g, .m = T, .n = w->out, .k = w->in, .a = x.p, .half = x.half, .lda = (size_t)x.ld,
                    .b = w->packed, .panel = (size_t)tn_units(g, w->in) * TN_NR, .mode = tn_mode_of(b, mode), .y = y,
                    .ldy = (size_t)ldy, .bias = bias};
    void *scratch = tn_backend_scratch(b, tn_product_whole_scratch(&p, tn_pool_threads(b->pool)));
    if (scratch) tn_product_run_whole(&p, b->pool, scratch);
}

void tn_cpu_gemm(tn_backend *b, tn_mode mode, void *y, int ldy, const void *x, int ldx, const tn_weight *w,
                 const void *bias, int T) {
    tn_gemm_of(b, mode, y, ldy, tn_operands(b, x, ldx), w, bias, T);
}
