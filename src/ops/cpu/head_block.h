/* Blocks of rows of the head and their logits, tile by tile: what its backward and the divergences share. */
#ifndef TN_OPS_CPU_HEAD_BLOCK_H
#define TN_OPS_CPU_HEAD_BLOCK_H
#include "ops/cpu/gemm.h"
#include <string.h>

#define TN_HEAD_LD (TN_HEAD_TILE + 16) /* row stride of logits: off the powers of two */

static inline int tn_head_width(int V, int tile) {
    int v0 = tile * TN_HEAD_TILE;
    return V - v0 < TN_HEAD_TILE ? V - v0 : TN_HEAD_TILE;
}
static inline int tn_head_tiles(int V) { return (V + TN_HEAD_TILE - 1) / TN_HEAD_TILE; }
static inline size_t tn_align64(size_t bytes) { return (bytes + 63) / 64 * 64; }

/* Up to TN_HEAD_ROWS rows of x as operand A, and their raw logits over the tile at hand. */
typedef struct tn_head_block {
    const tn_weight *w;
    uint32_t *xa;
    size_t lda;
    float *z; /* [TN_HEAD_ROWS][TN_HEAD_LD] */
} tn_head_block;

/* Takes its two buffers from *s, which moves on; with *s NULL nothing but bytes are counted. */
static inline size_t tn_head_block_carve(tn_head_block *o, const tn_kernel *g, const tn_weight *w, char **s) {
    *o = (tn_head_block){.w = w, .lda = tn_row_units(tn_units(g, w->in))};
    size_t z = tn_align64((size_t)TN_HEAD_ROWS * TN_HEAD_LD * 4), xa = tn_align64(TN_HEAD_ROWS * o->lda * 4);
    if (!*s) return z + xa;
    o->z = (float *)*s;
    o->xa = (uint32_t *)(*s + z);
    *s += z + xa;
    return z + xa;
}

static inline void tn_head_block_rows(const tn_head_block *o, const tn_kernel *g, const void *x, int row0, int rows) {
    int in = o->w->in, units = tn_units(g, in);
    g->pack->a_rows(g->form, o->xa, o->lda, (const float *)x + (size_t)row0 * in, (size_t)in, rows, in, units);
    for (int r = rows; r % g->grain; r++) memset(o->xa + (size_t)r * o->lda, 0, (size_t)units * 4);
}

/* The product that gives the logits of a tile, for the caller to run (and to watch: each, ctx). */
static inline tn_product tn_head_block_logits(const tn_head_block *o, const tn_kernel *g, int rows, int tile) {
    int in = o->w->in;
    size_t panel = (size_t)tn_units(g, in) * TN_NR;
    return (tn_product){.kern = g, .m = rows, .n = tn_head_width(o->w->out, tile), .k = in,
                        .packed_a = o->xa, .lda = o->lda,
                        .b = (const uint32_t *)o->w->packed + (size_t)tile * (TN_HEAD_TILE / TN_NR) * panel,
                        .panel = panel, .y = o->z, .ldy = TN_HEAD_LD};
}
#endif
