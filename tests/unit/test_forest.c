/* The forest's chains, blocks and descendants against their definition, on random forests. */
#include "base/rng.h"
#include "model/model.h"
#include "test.h"

static bool is_ancestor(const tn_forest *f, int a, int s) {
    for (; s >= 0; s = f->parent[s])
        if (s == a) return true;
    return false;
}

/* Walks the chain of s and demands: positions 0, 1, 2, ... without gaps up to its own last token,
 * each key in the block and slot that its row names. */
static void check_segment(const tn_forest *f, int s) {
    const tn_aseg *g = &f->seg[s];
    int path[64], depth = 0, at = 0;
    for (int a = s; a >= 0; a = f->parent[a]) path[depth++] = a;
    for (int k = depth - 1; k >= 0; k--) {
        const tn_aseg *o = &f->seg[path[k]];
        if (k == 0) CHECK(at == g->own);
        for (int i = 0; i < o->len; i++) {
            const tn_kblock *b = &f->chain[g->chain + at];
            CHECK(f->pos[o->start + i] == b->pos + i % TN_KV_BLOCK);
            CHECK(f->row_block[o->start + i] == b->block);
            CHECK(f->row_slot[o->start + i] == i % TN_KV_BLOCK);
            if (i % TN_KV_BLOCK == TN_KV_BLOCK - 1 || i == o->len - 1) {
                CHECK(b->n == i % TN_KV_BLOCK + 1);
                at++;
            }
        }
    }
    CHECK(at == g->n_chain);
    int n = 0;
    for (int t = 0; t < f->n_seg; t++)
        if (is_ancestor(f, s, t)) {
            CHECK(f->desc_off[s] + n < f->desc_off[s + 1]);
            CHECK(f->desc[f->desc_off[s] + n] == t);
            n++;
        }
    CHECK(f->desc_off[s + 1] - f->desc_off[s] == n);
}

static void grow_random(tn_forest *f, tn_rng *r, int segs) {
    int32_t ids[100];
    for (int s = 0; s < segs; s++) {
        int n = 1 + (int)tn_rng_below(r, tn_rng_below(r, 2) ? 100 : 34), index = -1;
        int parent = (int)tn_rng_below(r, (uint32_t)s + 1) - 1;
        for (int i = 0; i < n; i++) ids[i] = (int32_t)tn_rng_below(r, 1000);
        CHECK_OK(tn_forest_add(f, ids, n, parent, s / 2, &index, e));
        CHECK(index == s && f->seq[s] == s / 2);
        CHECK_BYTES(f->ids + f->seg[s].start, ids, (size_t)n * 4);
    }
}

TEST(forest_chains_follow_ancestors) {
    tn_forest f = {0};
    for (uint64_t seed = 1; seed <= 12; seed++) {
        tn_rng r = tn_rng_stream(seed, 1, 1);
        tn_forest_clear(&f);
        grow_random(&f, &r, 1 + (int)seed * 2);
        CHECK_OK(tn_forest_finish(&f, e));
        int blocks = 0;
        for (int s = 0; s < f.n_seg; s++) {
            check_segment(&f, s);
            blocks += (f.seg[s].len + TN_KV_BLOCK - 1) / TN_KV_BLOCK;
        }
        CHECK(f.n_block == blocks);
    }
    tn_forest_free(&f);
}

TEST(forest_capacities_stay) {
    tn_forest f = {0};
    tn_rng r = tn_rng_stream(5, 1, 1);
    grow_random(&f, &r, 30);
    CHECK_OK(tn_forest_finish(&f, e));
    const int32_t *ids = f.ids, *desc = f.desc;
    const tn_kblock *chain = f.chain;
    for (int i = 0; i < 3; i++) {
        tn_forest_clear(&f);
        r = tn_rng_stream(5, 1, 1);
        grow_random(&f, &r, 30);
        CHECK_OK(tn_forest_finish(&f, e));
    }
    CHECK(ids == f.ids && desc == f.desc && chain == f.chain);
    tn_forest_free(&f);
}

TEST(forest_refuses) {
    tn_forest f = {0};
    int32_t id = 3;
    CHECK_FAIL(tn_forest_finish(&f, e), TN_ARG, "no segments");
    CHECK_FAIL(tn_forest_add(&f, &id, 0, -1, 0, NULL, e), TN_ARG, "one token");
    CHECK_FAIL(tn_forest_add(&f, &id, 1, 0, 0, NULL, e), TN_ARG, "under 0");
    CHECK_FAIL(tn_forest_add(&f, &id, 1, -2, 0, NULL, e), TN_ARG, "under -2");
    tn_forest_free(&f);
}
