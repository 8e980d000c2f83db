/* Sequences that stay in the cache so that later prompts may begin like them, for as long as there is room; the least recently used one
 * goes first. They are found by their tokens: sorted, what a prompt has in common with any of them it has with a neighbour of its place.
 *
 * A sequence's numbers are a function of its tokens and of where its segments begin, so both are its key: of a token that begins a
 * segment (but for the first one) the key has the complement. No kept sequence is the beginning of another. */
#include "gen/gen_int.h"
#include <string.h>

static int common(const int32_t *a, int na, const int32_t *b, int nb) {
    int n = 0, most = na < nb ? na : nb;
    while (n < most && a[n] == b[n]) n++;
    return n;
}

static int common_with(const tn_gen *g, int i, const int32_t *key, int n) {
    return i < 0 || i >= g->n_kept ? 0 : common(g->kept[i].key, g->kept[i].n, key, n);
}

/* The first kept sequence that does not come before the key; a beginning comes before what goes on. */
static int place(const tn_gen *g, const int32_t *key, int n) {
    int lo = 0, hi = g->n_kept;
    while (lo < hi) {
        int mid = (lo + hi) / 2, same = common_with(g, mid, key, n);
        const tn_gen_kept *k = &g->kept[mid];
        bool before = same < n && (same == k->n || k->key[same] < key[same]);
        if (before) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

static int pages_in_common(const tn_gen *g, int i, int k) {
    return i < 0 || k >= g->n_kept ? 0 : tn_kv_common_pages(g->kv, g->kept[i].seq, g->kept[k].seq);
}

/* Pages that sequence i has and its neighbours have not; all together they are the pages that are kept. */
static int pages_alone(const tn_gen *g, int i) {
    return tn_kv_pages(g->kv, g->kept[i].seq) - pages_in_common(g, i - 1, i) - pages_in_common(g, i, i + 1) + pages_in_common(g, i - 1, i + 1);
}

static void drop(tn_gen *g, int i) {
    tn_gen_kept out = g->kept[i];
    g->kept_pages -= pages_alone(g, i);
    tn_gen_close(g, out.seq);
    memmove(&g->kept[i], &g->kept[i + 1], (size_t)(--g->n_kept - i) * sizeof out);
    g->kept[g->n_kept] = out; /* its memory is used again */
}

static void drop_oldest(tn_gen *g) {
    int oldest = 0;
    for (int i = 1; i < g->n_kept; i++)
        if (g->kept[i].used < g->kept[oldest].used) oldest = i;
    drop(g, oldest);
}

int tn_gen_find(tn_gen *g, const int32_t *key, int n, int *tokens) {
    int i = place(g, key, n), before = common_with(g, i - 1, key, n), behind = common_with(g, i, key, n);
    *tokens = before > behind ? before : behind;
    if (*tokens == 0) return -1;
    tn_gen_kept *k = &g->kept[before > behind ? i - 1 : i];
    k->used = ++g->clock;
    return k->seq;
}

/* An element behind the last one, for a key of n tokens; of the longest where nothing is to be allocated later on. */
static bool room_behind(tn_gen *g, int n) {
    size_t had = g->cap_kept;
    if (!TN_GROW(g->kept, g->cap_kept, (size_t)g->n_kept + 1)) return false;
    memset(g->kept + had, 0, (g->cap_kept - had) * sizeof *g->kept);
    tn_gen_kept *k = &g->kept[g->n_kept];
    return TN_GROW(k->key, k->cap, (size_t)(g->keeps ? n : g->max_len));
}

tn_status tn_gen_keep_sequence(tn_gen *g, int seq, const int32_t *key, int n, tn_err *e) {
    int i = place(g, key, n);
    if (common_with(g, i, key, n) == n || tn_kv_pages(g->kv, seq) > g->most_pages) { /* another one begins with it; or it is too long */
        tn_gen_close(g, seq);
        return TN_OK;
    }
    if (i > 0 && common_with(g, i - 1, key, n) == g->kept[i - 1].n) drop(g, --i); /* this one begins with it */
    if (!room_behind(g, n)) {
        tn_gen_close(g, seq);
        return tn_fail(e, TN_NOMEM, "out of memory for a prompt");
    }
    tn_gen_kept k = g->kept[g->n_kept];
    memcpy(k.key, key, (size_t)n * sizeof *key);
    k.seq = seq, k.n = n, k.used = ++g->clock;
    memmove(&g->kept[i + 1], &g->kept[i], (size_t)(g->n_kept++ - i) * sizeof k);
    g->kept[i] = k;
    g->kept_pages += pages_alone(g, i);
    while (g->kept_pages > g->most_pages || g->n_kept > g->most_kept) drop_oldest(g);
    return TN_OK;
}

void tn_gen_forget(tn_gen *g) {
    while (g->n_kept) drop(g, g->n_kept - 1);
}

void tn_gen_free_kept(tn_gen *g) {
    for (size_t i = 0; i < g->cap_kept; i++) tn_free(g->kept[i].key);
    tn_free(g->kept);
}
