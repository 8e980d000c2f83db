/* bf16 attention: the cache's blocks and the forward pass (attn_bf16.h). */
#include "ops/cpu/attn_bf16.h"
#include "base/mathx.h"
#include <math.h>
#include <string.h>

#define ROWS TN_ATTN_ROWS
#define UNITS (TN_ATTN_DIM + 16) /* of a row of an operand, at most */

/* ---- writing ---- */

void tn_attn_bf16_fetch(const tn_attn_job *j, int t) {
    int d = j->a->head_dim, slot = j->a->row_slot[t];
    size_t size = tn_attn_bf16_size(j->mm, d), keys = tn_attn_bf16_keys(j->mm, d), panel = tn_attn_bf16_panel(j->mm);
    const uint32_t *block = tn_attn_bf16_block(j, j->a->row_block[t], 0);
    for (int g = 0; g < j->a->kv_heads; g++, block += size) {
        for (size_t i = 0; i < keys; i += TN_NR) __builtin_prefetch(block + i + slot, 1);
        for (size_t i = keys + (size_t)(slot / 2 * 2) * TN_NR / (size_t)tn_unit_k(j->mm->form); i < size; i += panel) {
            __builtin_prefetch(block + i, 1);
            __builtin_prefetch(block + i + 16, 1);
        }
    }
}

/* The first n keys of a block: everything else of it becomes zeros. */
static void fill_block(const tn_attn_job *j, uint32_t *keys, const uint16_t *k, const uint16_t *v, int n) {
    const tn_kernel *m = j->mm;
    int d = j->a->head_dim, form = tn_attn_bf16_half(m);
    uint32_t *values = keys + tn_attn_bf16_keys(m, d);
    m->pack->b_rows(form, keys, k, (size_t)j->ld, n, d, tn_units(m, d));
    for (int i = 0; i < d; i += TN_NR, values += tn_attn_bf16_panel(m))
        m->pack->cols(form, values, TN_NR, v + i, (size_t)j->ld, d - i < TN_NR ? d - i : TN_NR, n,
                      tn_units(m, TN_KV_BLOCK));
}

static void put_key(const tn_attn_job *j, uint32_t *keys, const uint16_t *k, const uint16_t *v, int slot) {
    const tn_kernel *m = j->mm;
    int d = j->a->head_dim, units = tn_units(m, d);
    uint32_t row[UNITS], *values = keys + tn_attn_bf16_keys(m, d);
    m->pack->a_rows(tn_attn_bf16_half(m), row, UNITS, k, (size_t)j->ld, 1, d, units);
    for (int u = 0; u < units; u++) keys[(size_t)u * TN_NR + (size_t)slot] = row[u];
    for (int i = 0; i < d; i += TN_NR, values += tn_attn_bf16_panel(m))
        j->rows->value(m->form, values, slot, v + i, d - i < TN_NR ? d - i : TN_NR);
}

void tn_attn_bf16_write(const tn_attn_job *j, void *pool, int t, int n) {
    const tn_attn *a = j->a;
    int d = a->head_dim, slot = a->row_slot[t];
    size_t size = tn_attn_bf16_size(j->mm, d), G = (size_t)a->kv_heads, H = (size_t)a->heads, ld = (size_t)j->ld;
    uint32_t *block = (uint32_t *)pool + (size_t)a->row_block[t] * G * size;
    for (size_t g = 0; g < G; g++, block += size) {
        const uint16_t *k = j->qkv_half + (size_t)t * ld + (H + g) * (size_t)d, *v = k + G * (size_t)d;
        if (slot == 0) fill_block(j, block, k, v, n);
        else
            for (int r = 0; r < n; r++) put_key(j, block, k + (size_t)r * ld, v + (size_t)r * ld, slot + r);
    }
}

/* ---- products ---- */

void tn_attn_bf16_product(const tn_kernel *mm, int m, int units, const uint32_t *a, size_t lda, const uint32_t *b,
                          float *c, size_t ldc, bool more, const uint32_t *next) {
    tn_tile t = {.units = units, .b = b, .lda = lda, .step = 1, .ldc = ldc, .more = more};
    tn_deal tiles = tn_tiles(mm, m);
    if (next && tiles.to == 1) /* a tile fetches a half */
        for (int u = units; u < 2 * units; u++) __builtin_prefetch(next + (size_t)u * TN_TILE_AHEAD, 0, 2);
    for (int i = 0; i < tiles.to; i++) {
        int row = tn_tile_row(mm, &tiles, m, i);
        t.next = next && i < 2 ? next + (size_t)(i * units) * TN_TILE_AHEAD : b;
        t.m = tn_tile_row(mm, &tiles, m, i + 1) - row;
        t.a = a + (size_t)row * lda;
        t.c = c + (size_t)row * ldc;
        mm->tile(&t);
    }
}

void tn_attn_bf16_load(const tn_attn_job *j, uint32_t *to, size_t ld, const void *x, bool half, size_t ldx,
                       const tn_aseg *seg, int g, int first, int n) {
    const tn_kernel *m = j->mm;
    int d = j->a->head_dim, group = j->a->heads / j->a->kv_heads, head = first % group, units = tn_units(m, d);
    int form = half ? tn_attn_bf16_half(m) : (int)m->form, rows = (head + n + group - 1) / group;
    size_t size = half ? sizeof(uint16_t) : sizeof(float), at = (size_t)(seg->start + first / group) * ldx + (size_t)(g * group * d);
    const char *row = (const char *)x + at * size;
    for (int r = 0; r < rows; r++) /* they lie far apart: all of them at once */
        for (size_t i = 0; i < (size_t)(group * d) * size; i += 64) __builtin_prefetch(row + (size_t)r * ldx * size + i);
    for (int v = 0, heads; v < n; v += heads, row += ldx * size, head = 0) {
        heads = group - head < n - v ? group - head : n - v;
        m->pack->a_rows(form, to + (size_t)v * ld, ld, row + (size_t)(head * d) * size, (size_t)d, heads, d, units);
    }
}

/* ---- forward ---- */

/* Query vectors and what is known of them so far. */
typedef struct tile {
    int n, units, pos[ROWS], lo[ROWS], hi[ROWS];
    size_t ldq, ldp, width;
    float max[ROWS], sum[ROWS];
    _Alignas(64) float s[ROWS * TN_KV_BLOCK];
    _Alignas(64) float acc[ROWS * TN_ATTN_DIM];
    _Alignas(64) uint32_t q[(ROWS + 15) * UNITS]; /* a tile is read up to its grain */
    _Alignas(64) uint32_t p[ROWS * 3 * 16]; /* tn_row_units(32) */
} tile;

/* Keys of one block, while those of another come; rows before `from` see none of them. */
static void take_block(const tn_attn_job *j, tile *t, const uint32_t *keys, const uint32_t *next) {
    const tn_kernel *m = j->mm;
    int d = j->a->head_dim, from = 0, units = tn_units(m, TN_KV_BLOCK);
    while (t->lo[from] >= t->hi[from]) from++;
    int n = t->n - from;
    float *s = t->s, *acc = t->acc + (size_t)from * t->width;
    size_t at = tn_attn_bf16_keys(m, d);
    tn_attn_bf16_product(m, n, t->units, t->q + (size_t)from * t->ldq, t->ldq, keys, s, TN_KV_BLOCK, false, next);
    j->rows->softmax(n, (float)j->a->scale, t->lo + from, t->hi + from, s, t->max + from, t->sum + from, acc, t->width);
    m->pack->a_rows(m->form, t->p, t->ldp, s, TN_KV_BLOCK, n, TN_KV_BLOCK, units);
    for (int i = 0; i < d; i += TN_NR, at += tn_attn_bf16_panel(m))
        tn_attn_bf16_product(m, n, units, t->p, t->ldp, keys + at, acc + i, t->width, true, next ? next + at : NULL);
}

/* What the work after all of segment s and group g begins with; NULL: nothing. In a decoding step each has one tile and a
 * few blocks, whose first nobody else has fetched. */
static const uint32_t *after(const tn_attn_job *j, int s, int g) {
    const tn_attn *a = j->a;
    if (g + 1 < a->kv_heads) return tn_attn_bf16_block(j, a->chain[a->seg[s].chain].block, g + 1);
    return s + 1 < a->n_seg ? tn_attn_bf16_block(j, a->chain[a->seg[s + 1].chain].block, 0) : NULL;
}

static void forward(const tn_attn_job *j, int s, int g, int first, int n) {
    const tn_attn *a = j->a;
    const tn_aseg *seg = &a->seg[s];
    int d = a->head_dim;
    tile t;
    t.n = n;
    t.units = tn_units(j->mm, d);
    t.ldq = tn_row_units(t.units);
    t.ldp = tn_row_units(tn_units(j->mm, TN_KV_BLOCK));
    t.width = (size_t)tn_panels(d) * TN_NR;
    memset(t.acc, 0, (size_t)n * t.width * sizeof *t.acc);
    tn_attn_bf16_load(j, t.q, t.ldq, j->qkv_half, true, (size_t)j->ld, seg, g, first, n);
    tn_attn_place x = tn_attn_place_of(a, seg, g, first);
    for (int v = 0; v < n; v++, tn_attn_next(a, &x)) {
        t.pos[v] = x.pos;
        t.max[v] = -INFINITY; /* the first block's factor is exp(-inf) = 0, on zeros */
        t.sum[v] = 0;
    }
    for (int c = seg->chain, end = c + seg->n_chain; c < end; c++)
        if (tn_attn_keys(a, &a->chain[c], n, t.pos, t.lo, t.hi))
            take_block(j, &t, tn_attn_bf16_block(j, a->chain[c].block, g),
                       c + 1 < end ? tn_attn_bf16_block(j, a->chain[c + 1].block, g) : seg->len == 1 ? after(j, s, g) : NULL);
    x = tn_attn_place_of(a, seg, g, first);
    for (int v = 0; v < n; v++, tn_attn_next(a, &x)) {
        j->rows->divide(j->out_half + x.row * (size_t)j->ldo + x.head * (size_t)d, t.acc + (size_t)v * t.width, t.sum[v], d);
        if (j->lse) j->lse[x.row * (size_t)a->heads + x.head] = (float)((double)t.max[v] + tn_log((double)t.sum[v]));
    }
}

const tn_attn_kernels tn_attn_bf16 = {
    .tile = ROWS, .strip = TN_ATTN_STRIP, .step = 1, .forward = forward, .grad_query = tn_attn_bf16_grad_query,
    .grad_keys = tn_attn_bf16_grad_keys, .grad_tree = tn_attn_bf16_grad_tree};
