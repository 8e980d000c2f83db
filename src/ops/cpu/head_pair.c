/* Divergences between the distributions of two heads (ops.h N10).
 *
 * For each block of TN_HEAD_ROWS rows and each tile: the logits of both models by two ordinary products, then row by
 * row the tile's sums. Both lse are known before, so nothing is rescaled and one pass is enough. */
#include "base/pool.h"
#include "ops/cpu/head_block.h"
#include <math.h>

typedef struct pair {
    const tn_head_pair *h;
    const tn_head_rows *ops;
    tn_head_block own, second;
    float (*sum)[4]; /* [TN_HEAD_ROWS] */
    int row0, n;     /* of the block; columns of the tile */
} pair;

static void tile_sums(void *ctx, size_t begin, size_t end, int thread) {
    const pair *w = ctx;
    const tn_head_pair *h = w->h;
    for (size_t i = begin; i < end; i++) {
        size_t r = (size_t)w->row0 + i;
        tn_pair_row d = {(float)h->inv_temp, (float)h->lse[r], (float)h->lse2[r], (float)h->beta, h->jsd || h->kl_mix};
        w->ops->pair(w->own.z + i * TN_HEAD_LD, w->second.z + i * TN_HEAD_LD, w->n, &d, w->sum[i]);
    }
}

static void block_results(const pair *w, int rows) {
    const tn_head_pair *h = w->h;
    float beta = (float)h->beta;
    for (int i = 0; i < rows; i++) {
        const float *s = w->sum[i];
        int r = w->row0 + i;
        if (h->kl) h->kl[r] = s[0];
        if (h->rkl) h->rkl[r] = s[1];
        if (h->kl_mix) h->kl_mix[r] = s[2];
        if (h->jsd) h->jsd[r] = fmaf(beta, s[3], (1 - beta) * s[2]);
    }
}

void tn_cpu_head_pair(tn_backend *b, const tn_head_pair *h) {
    const tn_kernel *g = tn_kernel_of(b);
    pair w = {.h = h, .ops = g->head};
    tn_product longest = {.kern = g, .k = TN_HEAD_TILE};
    size_t sums = TN_HEAD_ROWS * sizeof *w.sum;
    char *s = NULL;
    size_t blocks = tn_head_block_carve(&w.own, g, h->w, &s) + tn_head_block_carve(&w.second, g, h->w2, &s);
    s = tn_backend_scratch(b, blocks + sums + tn_product_scratch(&longest, tn_pool_threads(b->pool)) + 64);
    if (!s) return;
    tn_head_block_carve(&w.own, g, h->w, &s);
    tn_head_block_carve(&w.second, g, h->w2, &s);
    w.sum = (float (*)[4])s;
    for (; w.row0 < h->rows; w.row0 += TN_HEAD_ROWS) {
        int rows = h->rows - w.row0 < TN_HEAD_ROWS ? h->rows - w.row0 : TN_HEAD_ROWS;
        memset(w.sum, 0, sums);
        tn_head_block_rows(&w.own, g, h->x, w.row0, rows);
        tn_head_block_rows(&w.second, g, h->x2, w.row0, rows);
        for (int tile = 0; tile < tn_head_tiles(h->w->out); tile++) {
            tn_product own = tn_head_block_logits(&w.own, g, rows, tile);
            tn_product second = tn_head_block_logits(&w.second, g, rows, tile);
            tn_product_run(&own, b->pool, s + sums);
            tn_product_run(&second, b->pool, s + sums);
            w.n = tn_head_width(h->w->out, tile);
            tn_pool_run(b->pool, (size_t)rows, 1, tile_sums, &w);
        }
        block_results(&w, rows);
    }
}
