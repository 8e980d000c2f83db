/* Forest of token segments -> what attention needs; see model.h.
 *
 * Segment s owns ceil(len/32) fresh key blocks, numbered in the order of the segments. Its chain is
 * the concatenation of its ancestors' blocks from the root downwards and its own. Positions run on
 * from the parent's last token. */
#include "model/model.h"
#include <string.h>

void tn_forest_clear(tn_forest *f) { f->n_tok = f->n_seg = f->n_block = f->n_chain = 0; }

void tn_forest_free(tn_forest *f) {
    tn_free(f->ids);
    tn_free(f->pos);
    tn_free(f->seg);
    tn_free(f->parent);
    tn_free(f->seq);
    tn_free(f->adapter);
    tn_free(f->chain);
    tn_free(f->row_block);
    tn_free(f->row_slot);
    tn_free(f->desc_off);
    tn_free(f->desc);
    memset(f, 0, sizeof *f);
}

/* Arrays that share one capacity grow together: `p[k]` of `size[k]` bytes an element. */
static bool grow(void **p[], const size_t size[], int n, size_t *cap, size_t need) {
    if (need <= *cap) return true;
    size_t to = *cap ? *cap : 64;
    while (to < need) to *= 2;
    for (int i = 0; i < n; i++) {
        void *q = tn_realloc(*p[i], to, size[i]);
        if (!q) return false;
        *p[i] = q;
    }
    *cap = to;
    return true;
}

static bool grow_tokens(tn_forest *f, size_t need) {
    void **p[] = {(void **)&f->ids, (void **)&f->pos, (void **)&f->row_block,
                  (void **)&f->row_slot};
    const size_t size[] = {4, 4, 4, 4};
    return grow(p, size, 4, &f->cap_tok, need);
}
static bool grow_segs(tn_forest *f, size_t need) {
    void **p[] = {(void **)&f->seg, (void **)&f->parent, (void **)&f->seq, (void **)&f->adapter,
                  (void **)&f->desc_off};
    const size_t size[] = {sizeof *f->seg, 4, 4, 4, 4};
    return grow(p, size, 5, &f->cap_seg, need + 1); /* desc_off has one more */
}
static bool grow_chain(tn_forest *f, size_t need) {
    void **p[] = {(void **)&f->chain};
    const size_t size[] = {sizeof *f->chain};
    return grow(p, size, 1, &f->cap_chain, need);
}
static bool grow_desc(tn_forest *f, size_t need) {
    void **p[] = {(void **)&f->desc};
    const size_t size[] = {4};
    return grow(p, size, 1, &f->cap_desc, need);
}

tn_status tn_forest_reserve(tn_forest *f, size_t tokens, size_t segs, size_t chain, size_t desc,
                            tn_err *e) {
    if (grow_tokens(f, tokens) && grow_segs(f, segs) && grow_chain(f, chain) && grow_desc(f, desc))
        return TN_OK;
    return tn_fail(e, TN_NOMEM, "out of memory for forests of %zu tokens", tokens);
}

tn_status tn_forest_add(tn_forest *f, const int32_t *ids, int n, int parent, int seq, int *index,
                        tn_err *e) {
    if (n < 1) return tn_fail(e, TN_ARG, "a segment needs at least one token");
    if (parent < -1 || parent >= f->n_seg)
        return tn_fail(e, TN_ARG, "segment %d cannot hang under %d", f->n_seg, parent);
    if (n > INT32_MAX - f->n_tok)
        return tn_fail(e, TN_ARG, "a forest holds at most %d tokens", INT32_MAX);
    int pos = 0;
    if (parent >= 0) pos = f->seg[parent].pos + f->seg[parent].len;
    if (!grow_tokens(f, (size_t)f->n_tok + (size_t)n) || !grow_segs(f, (size_t)f->n_seg + 1))
        return tn_fail(e, TN_NOMEM, "out of memory for %d tokens", f->n_tok + n);
    memcpy(f->ids + f->n_tok, ids, (size_t)n * sizeof *ids);
    for (int i = 0; i < n; i++) f->pos[f->n_tok + i] = pos + i;
    f->seg[f->n_seg] = (tn_aseg){.start = f->n_tok, .len = n, .pos = pos};
    f->parent[f->n_seg] = parent;
    f->seq[f->n_seg] = seq;
    f->adapter[f->n_seg] = parent < 0 ? 0 : f->adapter[parent];
    if (index) *index = f->n_seg;
    f->n_tok += n;
    f->n_seg++;
    return TN_OK;
}

static int blocks_of(int len) { return (len + TN_KV_BLOCK - 1) / TN_KV_BLOCK; }

/* Sizes first: chain length is the parent's plus the own blocks; own = where these begin. */
static tn_status size_chains(tn_forest *f, tn_err *e) {
    int64_t chain = 0, block = 0;
    for (int s = 0; s < f->n_seg; s++) {
        tn_aseg *g = &f->seg[s];
        int own = f->parent[s] < 0 ? 0 : f->seg[f->parent[s]].n_chain;
        g->own = own;
        g->n_chain = own + blocks_of(g->len);
        if (chain + g->n_chain > INT32_MAX)
            return tn_fail(e, TN_ARG, "the forest's chains are too long");
        g->chain = (int32_t)chain;
        chain += g->n_chain;
        block += blocks_of(g->len);
    }
    f->n_chain = (int)chain;
    f->n_block = (int)block;
    if (!grow_chain(f, (size_t)chain)) return tn_fail(e, TN_NOMEM, "out of memory for a forest");
    return TN_OK;
}

static void fill_chains(tn_forest *f) {
    int32_t block = 0;
    for (int s = 0; s < f->n_seg; s++) {
        const tn_aseg *g = &f->seg[s];
        tn_kblock *c = f->chain + g->chain;
        if (f->parent[s] >= 0)
            memcpy(c, f->chain + f->seg[f->parent[s]].chain, (size_t)g->own * sizeof *c);
        for (int j = 0; j < g->len; j += TN_KV_BLOCK) {
            int n = g->len - j < TN_KV_BLOCK ? g->len - j : TN_KV_BLOCK;
            c[g->own + j / TN_KV_BLOCK] = (tn_kblock){block, g->pos + j, n};
            for (int i = 0; i < n; i++) {
                f->row_block[g->start + j + i] = block;
                f->row_slot[g->start + j + i] = i;
            }
            block++;
        }
    }
}

static tn_status fill_descendants(tn_forest *f, tn_err *e) {
    memset(f->desc_off, 0, (size_t)(f->n_seg + 1) * sizeof *f->desc_off);
    int64_t total = 0;
    for (int s = 0; s < f->n_seg; s++)
        for (int a = s; a >= 0; a = f->parent[a], total++) f->desc_off[a + 1]++;
    if (total > INT32_MAX) return tn_fail(e, TN_ARG, "the forest is too deep");
    if (!grow_desc(f, (size_t)total)) return tn_fail(e, TN_NOMEM, "out of memory for a forest");
    for (int s = 0; s < f->n_seg; s++) f->desc_off[s + 1] += f->desc_off[s];
    /* filled in ascending s, so that each list ascends; offsets are used as cursors, then put back
     */
    for (int s = 0; s < f->n_seg; s++)
        for (int a = s; a >= 0; a = f->parent[a]) f->desc[f->desc_off[a]++] = s;
    memmove(f->desc_off + 1, f->desc_off, (size_t)f->n_seg * sizeof *f->desc_off);
    f->desc_off[0] = 0;
    return TN_OK;
}

tn_status tn_forest_finish(tn_forest *f, tn_err *e) {
    if (f->n_seg == 0) return tn_fail(e, TN_ARG, "the forest has no segments");
    for (int s = 0; s < f->n_seg; s++)
        if (f->parent[s] >= 0 && f->adapter[s] != f->adapter[f->parent[s]])
            return tn_fail(e, TN_ARG,
                           "segment %d has adapter %d and hangs under one with adapter %d", s,
                           f->adapter[s], f->adapter[f->parent[s]]);
    TN_TRY(size_chains(f, e));
    fill_chains(f);
    return fill_descendants(f, e);
}
