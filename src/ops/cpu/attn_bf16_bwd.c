/* bf16 attention, backward (attn_bf16.h).
 *
 * Blocks of keys are taken in strips, and for each of them three operands are made from the cache's two. Then
 * every tile of query rows that sees the strip is packed once and meets its blocks:
 *
 *   s = Q K^T, dp = dO V^T        A: rows of Q, dO        B: keys, V^T      -> p, ds in float
 *   dv^T += dO^T p, dk^T += Q^T ds    A: columns of Q, dO     B: panels of p, ds (k: rows)
 *   dq += ds K                    A: rows of ds           B: K (k: keys)                          */
#include "ops/cpu/attn_bf16.h"
#include <string.h>

#define ROWS TN_ATTN_ROWS
#define STRIP TN_ATTN_STRIP
#define B TN_KV_BLOCK

typedef struct key_block {
    const tn_kblock *k;
    const uint32_t *keys; /* K^T as in the cache: panel [units(d)][32] */
    uint32_t *vt, *rows;  /* V^T [units(d)][32]; K, panels [units(32)][32] */
    float *dk, *dv;       /* transposed: [d][32] */
} key_block;

/* Everything a thread works in; sizes that its parts have. */
typedef struct room {
    const tn_kernel *mm;
    int d, deep, units, keys, panels; /* d; d rounded up to 16; units of d, of 32; panels of d */
    size_t ldq, ldt, lds, width;      /* units of a row of q, of qt, of dsa; floats of one of dq */
    key_block block[STRIP];
    uint32_t *q, *dout, *qt, *doutt;  /* a tile as operands: rows, and columns */
    uint32_t *pb, *dsb, *dsa;         /* p and ds as panels, ds as rows */
    float *p, *ds, *dq, *wide;        /* [ROWS][32] twice, [ROWS][width]; [32][width] */
    float lse[ROWS], D[ROWS];
    int pos[ROWS], lo[ROWS], hi[ROWS];
} room;

static void *take(char *base, size_t *used, size_t words) {
    void *p = base ? base + *used : NULL;
    *used += (words * 4 + 63) / 64 * 64;
    return p;
}

/* Lays a room out; with base NULL it only adds sizes up. */
static size_t lay_out(room *r, const tn_kernel *mm, int d, char *base) {
    size_t used = 0, all = (size_t)tn_units(mm, ROWS);
    *r = (room){.mm = mm, .d = d, .deep = (d + 15) / 16 * 16, .units = tn_units(mm, d), .keys = tn_units(mm, B),
                .panels = tn_panels(d)};
    r->ldq = tn_row_units(r->units);
    r->ldt = tn_row_units((int)all);
    r->lds = tn_row_units(r->keys);
    r->width = (size_t)r->panels * TN_NR;
    size_t across = mm->a_panels ? (size_t)tn_tiles(mm, d).to * all * TN_AW : (size_t)r->deep * r->ldt;
    for (int i = 0; i < STRIP; i++) {
        r->block[i].vt = take(base, &used, (size_t)r->units * TN_NR);
        r->block[i].rows = take(base, &used, (size_t)(r->panels * r->keys) * TN_NR);
        r->block[i].dk = take(base, &used, (size_t)r->deep * B);
        r->block[i].dv = take(base, &used, (size_t)r->deep * B);
    }
    r->q = take(base, &used, ROWS * r->ldq), r->dout = take(base, &used, ROWS * r->ldq);
    r->qt = take(base, &used, across), r->doutt = take(base, &used, across);
    r->pb = take(base, &used, all * B), r->dsb = take(base, &used, all * B);
    r->dsa = take(base, &used, ROWS * r->lds);
    r->p = take(base, &used, ROWS * B), r->ds = take(base, &used, ROWS * B);
    r->dq = take(base, &used, ROWS * r->width), r->wide = take(base, &used, B * r->width);
    return used;
}

size_t tn_attn_bf16_room(const tn_kernel *mm, int d) {
    room r;
    return lay_out(&r, mm, d, NULL);
}

/* ---- keys ---- */

/* The operands that the cache does not hold, out of those that it holds. */
static void load_block(const tn_attn_job *j, room *r, key_block *b, const tn_kblock *k, int g) {
    const tn_kernel *m = r->mm;
    size_t panel = tn_attn_bf16_panel(m);
    b->k = k;
    b->keys = tn_attn_bf16_block(j, k->block, g);
    const uint32_t *values = b->keys + tn_attn_bf16_keys(m, r->d);
    j->rows->expand(m->form, r->wide, B, b->keys, r->units); /* [d][32] */
    for (int i = 0; i < r->panels; i++) {
        int n = r->d - i * TN_NR < TN_NR ? r->d - i * TN_NR : TN_NR;
        m->pack->b_rows(m->form, b->rows + (size_t)i * panel, r->wide + (size_t)(i * TN_NR) * B, B, n, B, r->keys);
    }
    for (int i = 0; i < r->panels; i++) /* [32][width] */
        j->rows->expand(m->form, r->wide + i * TN_NR, r->width, values + (size_t)i * panel, r->keys);
    m->pack->b_rows(m->form, b->vt, r->wide, r->width, B, r->d, r->units);
}

/* p and ds of rows [at, at + n) of the tile against a block; false: none of them sees a key. ds as rows, too. */
static bool score(const tn_attn_job *j, room *r, const key_block *b, int at, int n) {
    const tn_kernel *m = r->mm;
    if (!tn_attn_keys(j->a, b->k, n, r->pos + at, r->lo, r->hi)) return false;
    tn_attn_bf16_product(m, n, r->units, r->q + (size_t)at * r->ldq, r->ldq, b->keys, r->p, B, false, NULL);
    tn_attn_bf16_product(m, n, r->units, r->dout + (size_t)at * r->ldq, r->ldq, b->vt, r->ds, B, false, NULL);
    j->rows->grad(n, (float)j->a->scale, r->lo, r->hi, r->lse + at, r->D + at, r->p, r->ds);
    return true;
}

/* dq [at, at + n) += ds K */
static void add_dq(room *r, const key_block *b, int at, int n) {
    const tn_kernel *m = r->mm;
    m->pack->a_rows(m->form, r->dsa, r->lds, r->ds, B, n, B, r->keys);
    for (int i = 0; i < r->panels; i++)
        tn_attn_bf16_product(m, n, r->keys, r->dsa, r->lds, b->rows + (size_t)i * tn_attn_bf16_panel(m),
                             r->dq + (size_t)at * r->width + i * TN_NR, r->width, true, NULL);
}

/* ---- tiles of the rows of one head ---- */

/* Columns of n rows of x as operand A, k being the rows; `beside`: columns of x from the head's first on. */
static void load_columns(const room *r, uint32_t *to, const void *x, bool half, size_t ldx, int n, int beside) {
    const tn_kernel *m = r->mm;
    int units = tn_units(m, n), form = half ? tn_attn_bf16_half(m) : (int)m->form;
    if (!m->a_panels) {
        m->pack->a_cols(form, to, r->ldt, x, ldx, r->d, n, units);
        return;
    }
    tn_deal tiles = tn_tiles(m, r->d);
    for (int i = 0; i < tiles.to; i++, to += tn_units(m, ROWS) * TN_AW) { /* some columns more do no harm */
        int row = tn_tile_row(m, &tiles, r->d, i), cols = beside - row < TN_AW ? beside - row : TN_AW;
        m->pack->cols(form, to, TN_AW, tn_source_at(x, half, (size_t)row), ldx, cols, n, units);
    }
}

/* c [d][32] += A (columns, from row `at` of the tile on) times a panel of n rows. */
static void add_columns(const room *r, const uint32_t *a, int at, int n, const uint32_t *b, float *c) {
    const tn_kernel *m = r->mm;
    int units = tn_units(m, n), from = at / tn_unit_k(m->form);
    if (!m->a_panels) {
        tn_attn_bf16_product(m, r->d, units, a + from, r->ldt, b, c, B, true, NULL);
        return;
    }
    tn_tile t = {.units = units, .b = b, .next = b, .lda = 1, .step = TN_AW, .ldc = B, .more = true};
    tn_deal tiles = tn_tiles(m, r->d);
    a += from * TN_AW;
    for (int i = 0; i < tiles.to; i++, a += tn_units(m, ROWS) * TN_AW) {
        int row = tn_tile_row(m, &tiles, r->d, i);
        t.m = tn_tile_row(m, &tiles, r->d, i + 1) - row;
        t.a = a;
        t.c = c + row * B;
        m->tile(&t);
    }
}

/* Rows lie far apart, and the hardware follows none of them. */
static void fetch_rows(const void *x, size_t bytes, int n, size_t width) {
    for (size_t v = 0; v < (size_t)n; v++)
        for (size_t i = 0; i < width; i += 64) __builtin_prefetch((const char *)x + v * bytes + i);
}

/* Rows [first, first + n) of a segment and one head; the next tile's, or the next head's, are on their way then. */
static void load_rows(const tn_attn_job *j, room *r, const tn_aseg *seg, int head, int first, int n) {
    const tn_kernel *m = r->mm;
    size_t row = (size_t)(seg->start + first), H = (size_t)j->a->heads, col = (size_t)head * (size_t)r->d;
    int after = j->a->heads - head, ahead = first + n < seg->len ? n : 0, right = ahead ? 0 : r->d;
    const uint16_t *q = j->qkv_half + row * (size_t)j->ld + col;
    const float *dout = j->dout + row * (size_t)j->lddo + col;
    m->pack->a_rows(tn_attn_bf16_half(m), r->q, r->ldq, q, (size_t)j->ld, n, r->d, r->units);
    m->pack->a_rows(m->form, r->dout, r->ldq, dout, (size_t)j->lddo, n, r->d, r->units);
    load_columns(r, r->qt, q, true, (size_t)j->ld, n, (after + 2 * j->a->kv_heads) * r->d);
    load_columns(r, r->doutt, dout, false, (size_t)j->lddo, n, after * r->d);
    size_t d = (size_t)r->d;
    fetch_rows(q + (size_t)ahead * (size_t)j->ld + right, (size_t)j->ld * sizeof *q, n, d * sizeof *q);
    fetch_rows(dout + (size_t)ahead * (size_t)j->lddo + right, (size_t)j->lddo * sizeof *dout, n, d * sizeof *dout);
    for (int v = 0; v < n; v++) {
        r->lse[v] = j->lse_in[(row + (size_t)v) * H + (size_t)head];
        r->D[v] = j->D[(row + (size_t)v) * H + (size_t)head];
        r->pos[v] = seg->pos + first + v;
    }
}

/* dq of a tile on its way: of the first row and the head, and whether these are its first blocks, or its last. */
typedef struct tile_dq { float *at; bool first, last; } tile_dq;

static void fetch_dq(const tn_attn_job *j, room *r, int n, const tile_dq *q) {
    size_t ld = (size_t)j->lddq;
    if (q->first) {
        memset(r->dq, 0, (size_t)n * r->width * sizeof *r->dq);
        for (int v = 0; v < n; v++)
            for (int i = 0; i < r->d; i += 16) __builtin_prefetch(q->at + (size_t)v * ld + i, 1);
    } else
        for (int v = 0; v < n; v++) memcpy(r->dq + (size_t)v * r->width, q->at + (size_t)v * ld, (size_t)r->d * 4);
}

static void put_dq(const tn_attn_job *j, const room *r, int n, const tile_dq *q) {
    size_t ld = (size_t)j->lddq;
    for (int v = 0; v < n; v++) {
        if (q->last) j->rows->times(q->at + (size_t)v * ld, r->dq + (size_t)v * r->width, (float)j->a->scale, r->d);
        else memcpy(q->at + (size_t)v * ld, r->dq + (size_t)v * r->width, (size_t)r->d * 4);
    }
}

/* What a tile of n rows from row `first` of `seg` on and the strip's blocks give each other. */
static void meet(const tn_attn_job *j, room *r, int blocks, const tn_aseg *seg, int first, int n, bool with_dq) {
    const tn_kernel *m = r->mm;
    int window = j->a->window;
    for (int i = 0; i < blocks; i++) {
        key_block *b = &r->block[i];
        /* rows that see a key of the block: from a multiple of 32 on, up to one or n, so in whole pieces */
        int start = b->k->pos - seg->pos - first, end = start + b->k->n - 1 + window;
        int at = tn_attn_clamp(start, 0, n), to = window ? tn_attn_clamp((end + B - 1) / B * B, 0, n) : n;
        if (at >= to || !score(j, r, b, at, to - at)) continue;
        int units = tn_units(m, to - at);
        m->pack->cols(m->form, r->pb, TN_NR, r->p, B, B, to - at, units);
        m->pack->cols(m->form, r->dsb, TN_NR, r->ds, B, B, to - at, units);
        add_columns(r, r->doutt, at, to - at, r->pb, b->dv);
        add_columns(r, r->qt, at, to - at, r->dsb, b->dk);
        if (with_dq) add_dq(r, b, at, to - at);
    }
}

/* dk and dv of a block, of which row `row` is the first. */
static void store_block(const tn_attn_job *j, const room *r, const key_block *b, size_t row, int g) {
    size_t d = (size_t)r->d, G = (size_t)j->a->kv_heads, ld = (size_t)j->lddq;
    float *dk = j->dqkv + row * ld + ((size_t)j->a->heads + (size_t)g) * d, *dv = dk + G * d;
    j->rows->turn(r->wide, r->width, b->dk, r->deep);
    for (int i = 0; i < b->k->n; i++) j->rows->times(dk + (size_t)i * ld, r->wide + (size_t)i * r->width, (float)j->a->scale, r->d);
    j->rows->turn(r->wide, r->width, b->dv, r->deep);
    for (int i = 0; i < b->k->n; i++) j->rows->times(dv + (size_t)i * ld, r->wide + (size_t)i * r->width, 1, r->d);
}

/* The own blocks [first, first + n) of segment s. The first ones of a tree meet all rows, so that every dq is set. */
static void grad_strip(const tn_attn_job *j, room *r, int s, int g, int first, int n, bool with_dq) {
    const tn_attn *a = j->a;
    const tn_aseg *seg = &a->seg[s];
    const tn_kblock *k = &a->chain[seg->chain + seg->own + first], *last = k + n - 1;
    int group = a->heads / a->kv_heads;
    bool root = with_dq && seg->own == 0 && first == 0;
    for (int i = 0; i < n; i++) {
        load_block(j, r, &r->block[i], k + i, g);
        memset(r->block[i].dk, 0, (size_t)(r->deep * B) * sizeof(float));
        memset(r->block[i].dv, 0, (size_t)(r->deep * B) * sizeof(float));
    }
    for (int h = g * group; h < (g + 1) * group; h++)
        for (int e = a->desc_off[s]; e < a->desc_off[s + 1]; e++) {
            const tn_aseg *see = &a->seg[a->desc[e]];
            int from = tn_attn_clamp(k->pos - see->pos, 0, see->len), end = last->pos + last->n - 1 + a->window;
            int to = a->window && !root ? tn_attn_clamp(end - see->pos, 0, see->len) : see->len;
            for (int t = from; t < to; t += ROWS) {
                int rows = see->len - t < ROWS ? see->len - t : ROWS;
                tile_dq q = {j->dqkv + (size_t)(see->start + t) * (size_t)j->lddq + (size_t)(h * a->head_dim), root,
                             see == seg && t < (first + n) * B};
                load_rows(j, r, see, h, t, rows);
                if (with_dq) fetch_dq(j, r, rows, &q);
                meet(j, r, n, see, t, rows, with_dq);
                if (with_dq) put_dq(j, r, rows, &q);
            }
        }
    for (int i = 0; i < n; i++) store_block(j, r, &r->block[i], (size_t)(seg->start + (first + i) * B), g);
}

static int strip_of(const tn_aseg *seg, int first) {
    int left = (seg->len + B - 1) / B - first;
    return left < STRIP ? left : STRIP;
}

void tn_attn_bf16_grad_keys(const tn_attn_job *j, int s, int g, int block) {
    room r;
    lay_out(&r, j->mm, j->a->head_dim, j->room);
    grad_strip(j, &r, s, g, block, strip_of(&j->a->seg[s], block), false);
}

/* Ancestors come first: every row meets its chain in order. */
void tn_attn_bf16_grad_tree(const tn_attn_job *j, int s, int g) {
    const tn_attn *a = j->a;
    room r;
    lay_out(&r, j->mm, a->head_dim, j->room);
    for (int e = a->desc_off[s]; e < a->desc_off[s + 1]; e++) {
        const tn_aseg *seg = &a->seg[a->desc[e]];
        for (int b = 0; b * B < seg->len; b += STRIP) grad_strip(j, &r, a->desc[e], g, b, strip_of(seg, b), true);
    }
}

/* ---- dq alone ---- */
void tn_attn_bf16_grad_query(const tn_attn_job *j, int s, int g, int first, int n) {
    const tn_attn *a = j->a;
    const tn_aseg *seg = &a->seg[s];
    room r;
    lay_out(&r, j->mm, a->head_dim, j->room);
    tn_attn_bf16_load(j, r.q, r.ldq, j->qkv_half, true, (size_t)j->ld, seg, g, first, n);
    tn_attn_bf16_load(j, r.dout, r.ldq, j->dout, false, (size_t)j->lddo, seg, g, first, n);
    memset(r.dq, 0, (size_t)n * r.width * sizeof *r.dq);
    tn_attn_place x = tn_attn_place_of(a, seg, g, first);
    for (int v = 0; v < n; v++, tn_attn_next(a, &x)) {
        r.lse[v] = j->lse_in[x.row * (size_t)a->heads + x.head];
        r.D[v] = j->D[x.row * (size_t)a->heads + x.head];
        r.pos[v] = x.pos;
    }
    for (int c = seg->chain; c < seg->chain + seg->n_chain; c++) {
        if (!tn_attn_keys(a, &a->chain[c], n, r.pos, r.lo, r.hi)) continue;
        load_block(j, &r, &r.block[0], &a->chain[c], g);
        score(j, &r, &r.block[0], 0, n);
        add_dq(&r, &r.block[0], 0, n);
    }
    x = tn_attn_place_of(a, seg, g, first);
    for (int v = 0; v < n; v++, tn_attn_next(a, &x))
        j->rows->times(j->dqkv + x.row * (size_t)j->lddq + x.head * (size_t)r.d, r.dq + (size_t)v * r.width,
                       (float)a->scale, r.d);
}
