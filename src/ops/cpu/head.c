/* Language-model head: statistics of rows of logits and their gradient, tile by tile (ops.h N8).
 *
 * Forward: the unit of work is a block of rows times one tile of TN_HEAD_TILE columns; its logits
 * live in the thread's scratch and leave one tn_stats entry a row. A second pass over rows
 * merges the tiles in ascending order. Blocks, tiles and threads never change a number.
 * Backward, for each block of TN_HEAD_ROWS rows and each tile: logits again, turned into dz as each
 * piece leaves the product; then dx += dz W and dw += dz^T x, two ordinary products.            */
#include "base/mathx.h"
#include "base/pool.h"
#include "ops/cpu/head_block.h"
#include <math.h>
#include <string.h>

#define LD TN_HEAD_LD
#define BLOCK_ROWS 112         /* logits of a block: 470 KB, half of a small L2 */

/* --- forward --- */

typedef struct forward {
    const tn_head *h;
    const tn_head_rows *ops;
    tn_plan plan;
    int tiles;
    int sums;           /* 4, or 5 with q */
    size_t pad;         /* rows, rounded up to 16 */
    float *stats;       /* [tiles][sums][pad]: m, s, w, a, q */
    int32_t *best;      /* [tiles][pad], or NULL */
    float *at;          /* [pad] z of the target */
    float *logits;      /* [threads][BLOCK_ROWS + mr][LD] */
    size_t logits_thread;
} forward;

static tn_stats stats_of(const forward *f, int tile) {
    float *p = f->stats + (size_t)(tile * f->sums) * f->pad;
    return (tn_stats){.m = p, .s = p + f->pad, .w = p + 2 * f->pad, .a = p + 3 * f->pad,
                      .q = f->sums > 4 ? p + 4 * f->pad : NULL, .best = f->best ? f->best + (size_t)tile * f->pad : NULL};
}
static tn_stats from_row(tn_stats t, size_t r) {
    return (tn_stats){t.m + r, t.s + r, t.w + r, t.a + r, t.q ? t.q + r : NULL, t.best ? t.best + r : NULL};
}

static void row_done(const forward *f, const tn_stats *st, int tile, int row, const float *a) {
    const tn_head *h = f->h;
    float temp = (float)h->inv_temp;
    int n = tn_head_width(h->w->out, tile), v0 = tile * TN_HEAD_TILE, target = h->target ? h->target[row] - v0 : -1;
    f->ops->stats(a, n, temp, st, row);
    if (st->best) st->best[row] += v0;
    if (target >= 0 && target < n) f->at[row] = a[target] * temp;
    if (h->z) f->ops->scale(h->z + (size_t)row * (size_t)h->w->out + v0, a, n, temp);
}

static void forward_unit(const forward *f, int block, int tile, const uint32_t *a, float *logits) {
    const tn_plan *l = &f->plan;
    const tn_product *p = l->p;
    int t0 = tn_plan_tile_of(l, block), t1 = tn_plan_tile_of(l, block + 1);
    int first = tn_plan_row(l, t0), end = tn_plan_row(l, t1);
    int panels = tn_panels(tn_head_width(f->h->w->out, tile));
    for (int j = 0; j < panels; j++) {
        const uint32_t *b = p->b + ((size_t)tile * (TN_HEAD_TILE / TN_NR) + (size_t)j) * p->panel;
        for (int i = t0; i < t1; i++) {
            tn_tile t;
            int row = tn_plan_tile(l, block, i, a, b, j + 1 < panels ? b + p->panel : NULL, &t);
            t.c = logits + (size_t)(row - first) * LD + j * TN_NR;
            t.ldc = LD;
            p->kern->tile(&t);
        }
    }
    tn_stats st = stats_of(f, tile);
    for (int r = first; r < end; r++) row_done(f, &st, tile, r, logits + (size_t)(r - first) * LD);
}

static void forward_work(void *ctx, size_t begin, size_t end, int thread) {
    const forward *f = ctx;
    const tn_kernel *g = f->plan.p->kern;
    if (g->begin) g->begin();
    int loaded = -1;
    for (size_t u = begin; u < end; u++) {
        int block = (int)(u / (size_t)f->tiles), tile = (int)(u % (size_t)f->tiles);
        const uint32_t *a = tn_plan_block_a(&f->plan, block, thread, block == loaded);
        loaded = block;
        forward_unit(f, block, tile, a, f->logits + (size_t)thread * f->logits_thread);
    }
    if (g->end) g->end();
}

static void row_result(const forward *f, const tn_stats *st, int r) {
    const tn_head *h = f->h;
    int target = h->target ? h->target[r] : -1;
    float lse = (float)((double)st->m[r] + tn_log((double)st->s[r])), share = st->w[r] / st->s[r];
    if (h->lse) h->lse[r] = lse;
    if (h->logp) h->logp[r] = target >= 0 ? (float)(f->at[r] - lse) : 0;
    if (h->entropy) h->entropy[r] = (float)(lse - share);
    if (h->mean_logit) h->mean_logit[r] = (float)(st->a[r] / (float)h->w->out);
    if (h->top1) h->top1[r] = target >= 0 && st->best[r] == target;
    if (h->log_sum_sq) h->log_sum_sq[r] = (float)(tn_log((double)st->q[r]) - 2 * tn_log((double)st->s[r]));
}

/* [begin, end) counts groups of 16 rows. */
static void merge_work(void *ctx, size_t begin, size_t end, int thread) {
    const forward *f = ctx;
    int rows = f->h->rows;
    for (size_t i = begin; i < end; i++) {
        size_t r0 = i * 16;
        tn_stats all = stats_of(f, 0), x = from_row(all, r0);
        for (int k = 1; k < f->tiles; k++) {
            tn_stats y = from_row(stats_of(f, k), r0);
            f->ops->merge(&x, &y, 16);
        }
        for (size_t r = r0; r < r0 + 16 && r < (size_t)rows; r++) row_result(f, &all, (int)r);
    }
}

void tn_cpu_head(tn_backend *b, const tn_head *h) {
    if (h->rows <= 0) return;
    const tn_kernel *g = tn_kernel_of(b);
    const tn_weight *w = h->w;
    int threads = tn_pool_threads(b->pool);
    tn_product p = {.kern = g, .m = h->rows, .n = w->out, .k = w->in, .a = h->x, .lda = (size_t)w->in,
                    .b = w->packed, .panel = (size_t)tn_units(g, w->in) * TN_NR};
    forward f = {.h = h, .ops = g->head, .tiles = tn_head_tiles(w->out), .sums = h->log_sum_sq ? 5 : 4,
                 .pad = ((size_t)h->rows + 15) / 16 * 16};
    tn_plan_make(&f.plan, &p, 1, BLOCK_ROWS);
    if (f.plan.blocks.to * f.tiles < 8 * threads) /* few units: as many for each thread */
        tn_plan_make(&f.plan, &p, (f.plan.blocks.to + threads - 1) / threads * threads, BLOCK_ROWS);
    f.logits_thread = (size_t)(BLOCK_ROWS + g->mr) * LD;
    size_t stats = tn_align64((size_t)(f.tiles * f.sums) * f.pad * 4), best = h->top1 ? tn_align64((size_t)f.tiles * f.pad * 4) : 0;
    size_t at = tn_align64(f.pad * 4), logits = f.logits_thread * 4 * (size_t)threads;
    char *s = tn_backend_scratch(b, stats + best + at + logits + f.plan.a_thread * 4 * (size_t)threads + 64);
    if (!s) return;
    f.stats = (float *)s;
    f.best = h->top1 ? (int32_t *)(s + stats) : NULL;
    f.at = (float *)(s + stats + best);
    f.logits = (float *)(s + stats + best + at);
    f.plan.a = (uint32_t *)(s + stats + best + at + logits);
    size_t last = (f.pad - 16) * sizeof(float); /* rows beyond the last: any numbers */
    for (int i = 0; i < f.sums * f.tiles; i++) memset((char *)(f.stats + (size_t)i * f.pad) + last, 0, 64);
    if (f.best)
        for (int i = 0; i < f.tiles; i++) memset((char *)(f.best + (size_t)i * f.pad) + last, 0, 64);
    tn_pool_run(b->pool, (size_t)f.plan.blocks.to * (size_t)f.tiles, 1, forward_work, &f);
    tn_pool_run(b->pool, f.pad / 16, 1, merge_work, &f);
}

/* --- backward --- */

/* Scratch: x as operand A with its logits, which become dz; the second model's; dz and x as operands of dw; the
 * tile's rows of W; and what the products need. */
typedef struct backward {
    const tn_head_bwd *h;
    const tn_head_rows *ops;
    int row0, v0; /* of the block and the tile at hand */
    tn_head_block own, second;
    tn_outer outer;
    tn_turn turn; /* the tile's rows of W, for dx */
    void *rest;
} backward;

static float given(const double *p, int r) { return p ? (float)p[r] : 0; }

static void pair_of(const tn_head_bwd *h, int r, tn_dz *d) {
    const tn_head_pair *a = h->pair;
    d->lse2 = (float)a->lse2[r];
    d->beta = (float)a->beta;
    d->with_kl = h->d_kl != NULL, d->with_rkl = h->d_rkl != NULL, d->with_jsd = h->d_jsd != NULL;
    d->d_kl = given(h->d_kl, r), d->d_rkl = given(h->d_rkl, r);
    d->d_mix = given(h->d_jsd, r) * (1 - d->beta);
    if (h->d_kl) d->kl = (float)a->kl[r];
    if (h->d_jsd) d->kl_mix = (float)a->kl_mix[r];
}

static void dz_tile(void *ctx, float *y, size_t ldy, int row, int rows, int col, int cols) {
    const backward *w = ctx;
    const tn_head_bwd *h = w->h;
    for (int i = 0; i < rows; i++) {
        int r = w->row0 + row + i, target = h->target ? h->target[r] : -1;
        float d_logp = target >= 0 ? given(h->d_logp, r) : 0;
        tn_dz d = {.temp = (float)h->inv_temp, .lse = (float)h->lse[r], .d_logp = d_logp,
                   .c = given(h->d_lse, r) - d_logp, .with_entropy = h->d_entropy != NULL};
        if (h->d_entropy) {
            d.d_entropy = (float)h->d_entropy[r];
            d.entropy = (float)h->entropy[r];
        }
        const float *second = NULL;
        if (h->pair) {
            pair_of(h, r, &d);
            second = w->second.z + (size_t)(row + i) * LD + col;
        }
        int t = target - w->v0 - col;
        w->ops->dz(y + (size_t)i * ldy, second, cols, &d, t >= 0 && t < cols ? t : -1);
    }
}

static void head_tile_bwd(tn_backend *b, backward *w, int rows, int tile) {
    const tn_kernel *g = tn_kernel_of(b);
    const tn_head_bwd *h = w->h;
    int in = h->w->in, V = h->w->out, n = tn_head_width(V, tile);
    w->v0 = tile * TN_HEAD_TILE;
    if (h->pair) {
        tn_product second = tn_head_block_logits(&w->second, g, rows, tile);
        tn_product_run(&second, b->pool, w->rest);
    }
    tn_product logits = tn_head_block_logits(&w->own, g, rows, tile);
    logits.each = dz_tile;
    logits.ctx = w;
    tn_product_run(&logits, b->pool, w->rest);
    if (h->dx) {
        w->turn.row = w->v0, w->turn.rows = n;
        tn_turn_run(&w->turn, b->pool);
        tn_product dx = {.kern = g, .m = rows, .n = in, .k = n, .a = w->own.z, .lda = LD, .b = w->turn.to,
                         .panel = (size_t)tn_units(g, n) * TN_NR, .mode = tile ? TN_ADD : TN_SET, .y = (float *)h->dx + (size_t)w->row0 * in, .ldy = (size_t)in};
        tn_product_run(&dx, b->pool, w->rest);
    }
    if (h->dw) {
        w->outer.m = n;
        tn_outer_pack(&w->outer, b->pool);
        tn_product dw = tn_outer_product(&w->outer);
        dw.mode = TN_ADD;
        dw.y = (float *)h->dw + (size_t)w->v0 * in;
        dw.ldy = (size_t)in;
        tn_product_run(&dw, b->pool, w->rest);
    }
}

/* The rows of a block as operands A, and as panels for dw. */
static void head_block(tn_backend *b, backward *w, int rows) {
    const tn_kernel *g = tn_kernel_of(b);
    tn_head_block_rows(&w->own, g, w->h->x, w->row0, rows);
    if (w->h->pair) tn_head_block_rows(&w->second, g, w->h->pair->x2, w->row0, rows);
    if (!w->h->dw) return;
    w->outer.k = rows;
    w->outer.a = NULL;
    w->outer.b = (const float *)w->h->x + (size_t)w->row0 * w->h->w->in;
    tn_outer_pack(&w->outer, b->pool);
    w->outer.a = w->own.z;
    w->outer.b = NULL;
}

void tn_cpu_head_bwd(tn_backend *b, const tn_head_bwd *h) {
    const tn_kernel *g = tn_kernel_of(b);
    int in = h->w->in;
    const tn_weight *w2 = h->pair ? h->pair->w2 : NULL;
    backward w = {.h = h, .ops = g->head};
    tn_product longest = {.kern = g, .k = TN_HEAD_TILE};
    size_t pa = h->dw ? tn_align64(tn_outer_a_bytes(g, TN_HEAD_TILE, TN_HEAD_ROWS)) : 0;
    size_t pb = h->dw ? tn_align64(tn_outer_b_bytes(g, in, TN_HEAD_ROWS)) : 0;
    w.turn = (tn_turn){.kern = g, .w = h->w, .rows = TN_HEAD_TILE, .cols = in};
    size_t turned = h->dx ? tn_turn_bytes(&w.turn) : 0;
    char *s = NULL;
    size_t blocks = tn_head_block_carve(&w.own, g, h->w, &s) + (w2 ? tn_head_block_carve(&w.second, g, w2, &s) : 0);
    s = tn_backend_scratch(b, blocks + pa + pb + turned + tn_product_scratch(&longest, tn_pool_threads(b->pool)) + 64);
    if (!s) return;
    tn_head_block_carve(&w.own, g, h->w, &s);
    if (w2) tn_head_block_carve(&w.second, g, w2, &s);
    w.outer = (tn_outer){.kern = g, .n = in, .m = TN_HEAD_TILE, .lda = LD, .ldb = (size_t)in,
                         .pa = (uint32_t *)s, .pb = (uint32_t *)(s + pa)};
    w.turn.to = (uint32_t *)(s + pa + pb);
    w.rest = s + pa + pb + turned;
    for (w.row0 = 0; w.row0 < h->rows; w.row0 += TN_HEAD_ROWS) {
        int rows = h->rows - w.row0 < TN_HEAD_ROWS ? h->rows - w.row0 : TN_HEAD_ROWS;
        head_block(b, &w, rows);
        for (int tile = 0; tile < tn_head_tiles(h->w->out); tile++) head_tile_bwd(b, &w, rows, tile);
    }
}
