/* Paged key/value cache: sequences as lists of pages of 32 keys, shared by reference count.
 *
 * Page p is block p * layers of layer 0's pool, whose layers' pools begin a block apart. A sequence is a chain of (page, position, keys filled);
 * each segment starts a fresh page, which gives the blocks, hence the bits, of the same segments in
 * a forest. A page that two sequences hold is only read: whoever appends to its free slots first
 * takes a copy. */
#include "model/run.h"
#include <string.h>

typedef struct kv_seq {
    bool open, frozen;   /* frozen: forked and not yet appended to */
    int length;          /* tokens */
    int adapter;
    int like, shared;    /* empty, and to begin with so many tokens of that one; shared 0: with its own */
    int own;             /* index in page of the current segment's first page */
    int n_page;
    tn_kblock *page;
    size_t cap;
    /* While a call is planned: state after the items looked at so far. */
    int plan_len, plan_pages; /* tokens in all; pages taken */
    int plan_held;           /* pages it has without these, shared ones among them */
    int plan_first;          /* tokens of its first segment */
    bool plan_more;          /* there are further segments */
    int plan_last;           /* keys in the last page, 32 when a fresh one is needed */
    bool plan_shared;        /* the last page is shared and would have to be copied */
    bool plan_touched;
    bool plan_lent;          /* others begin in the middle of its last page */
} kv_seq;

struct tn_kv {
    tn_backend *be;
    int layers, kv_heads, head_dim;
    int pages, max_seqs, max_pos, n_free;
    size_t block_bytes, pool_bytes;
    char *pool;          /* [pages][layers] blocks: pages in use lie together */
    int32_t *ref;        /* [pages] sequences that hold the page */
    int32_t *free_list;  /* [n_free] */
    kv_seq *seq;         /* [max_seqs] */
    /* attention view of the call under way, grown to the largest seen */
    tn_aseg *seg;
    tn_kblock *chain;
    int32_t *ids, *pos, *row_block, *row_slot, *adapter;
    size_t cap_seg, cap_chain, cap_ids, cap_pos, cap_block, cap_slot, cap_adapter;
};

int tn_kv_pages_for(int tokens) { return (tokens + TN_KV_BLOCK - 1) / TN_KV_BLOCK; }
int tn_kv_free_pages(const tn_kv *kv) { return kv->n_free; }

tn_status tn_kv_new(tn_kv **out, const tn_model *m, int pages, int max_seqs, int max_pos,
                    tn_err *e) {
    *out = NULL;
    const tn_desc *d = &m->desc;
    tn_kv *kv = tn_calloc(1, sizeof *kv);
    if (!kv) return tn_fail(e, TN_NOMEM, "no memory for a key/value cache");
    *kv = (tn_kv){.be = m->be, .layers = d->layers, .kv_heads = d->kv_heads, .head_dim = d->head_dim};
    kv->block_bytes = m->be->op->kv_block_bytes(m->be, d->kv_heads, d->head_dim);
    tn_status st = tn_kv_grow(kv, pages, max_seqs, max_pos, e);
    if (st == TN_OK) *out = kv;
    else tn_kv_free(kv);
    return st;
}

/* The pages that are in use, and no others, into a larger pool. */
static bool grow_pool(tn_kv *kv, int pages) {
    size_t page = kv->block_bytes * (size_t)kv->layers, bytes = page * (size_t)pages;
    int32_t *ref = tn_realloc(kv->ref, (size_t)pages, sizeof *ref);
    if (ref) kv->ref = ref;
    int32_t *list = tn_realloc(kv->free_list, (size_t)pages, sizeof *list);
    if (list) kv->free_list = list;
    char *pool = ref && list ? tn_big_alloc(bytes) : NULL;
    if (!pool) return false;
    for (int p = 0; p < kv->pages; p++)
        if (kv->ref[p]) memcpy(pool + (size_t)p * page, kv->pool + (size_t)p * page, page);
    tn_big_free(kv->pool, kv->pool_bytes);
    kv->pool = pool, kv->pool_bytes = bytes;
    int more = pages - kv->pages;
    memmove(kv->free_list + more, kv->free_list, (size_t)kv->n_free * sizeof *kv->free_list);
    for (int i = 0; i < more; i++) kv->free_list[i] = pages - 1 - i, kv->ref[kv->pages + i] = 0; /* the first pages are taken first */
    kv->n_free += more;
    kv->pages = pages;
    return true;
}

static bool grow_sequences(tn_kv *kv, int max_seqs) {
    kv_seq *seq = tn_realloc(kv->seq, (size_t)max_seqs, sizeof *seq);
    if (!seq) return false;
    kv->seq = seq;
    memset(seq + kv->max_seqs, 0, (size_t)(max_seqs - kv->max_seqs) * sizeof *seq);
    kv->max_seqs = max_seqs;
    return true;
}

tn_status tn_kv_grow(tn_kv *kv, int pages, int max_seqs, int max_pos, tn_err *e) {
    if (pages < 1 || max_seqs < 1 || max_pos < 1 || pages > INT32_MAX / kv->layers)
        return tn_fail(e, TN_ARG, "a cache needs pages, sequences and positions, not %d, %d, %d",
                       pages, max_seqs, max_pos);
    if (max_pos > kv->max_pos) kv->max_pos = max_pos;
    bool ok = (pages <= kv->pages || grow_pool(kv, pages)) && (max_seqs <= kv->max_seqs || grow_sequences(kv, max_seqs));
    size_t usual = (size_t)tn_kv_pages_for(kv->max_pos) + 4;
    for (int i = 0; ok && i < kv->max_seqs; i++) ok = TN_GROW(kv->seq[i].page, kv->seq[i].cap, usual);
    return ok ? TN_OK
              : tn_fail(e, TN_NOMEM,
                        "no memory for %d pages of keys and values (%zu MB); take a smaller "
                        "batch or fewer new tokens",
                        pages, (kv->block_bytes * (size_t)pages * (size_t)kv->layers) >> 20);
}

void tn_kv_rest(tn_kv *kv) {
    if (kv->n_free == kv->pages) tn_big_clear(kv->pool, kv->pool_bytes);
}

void tn_kv_free(tn_kv *kv) {
    if (!kv) return;
    for (int i = 0; kv->seq && i < kv->max_seqs; i++) tn_free(kv->seq[i].page);
    tn_big_free(kv->pool, kv->pool_bytes);
    tn_free(kv->ref);
    tn_free(kv->free_list);
    tn_free(kv->seq);
    tn_free(kv->seg);
    tn_free(kv->chain);
    tn_free(kv->ids);
    tn_free(kv->pos);
    tn_free(kv->row_block);
    tn_free(kv->row_slot);
    tn_free(kv->adapter);
    tn_free(kv);
}

/* ---------------- sequences ---------------- */

static bool is_open(const tn_kv *kv, int seq) {
    return seq >= 0 && seq < kv->max_seqs && kv->seq[seq].open;
}

int tn_kv_pages(const tn_kv *kv, int seq) { return is_open(kv, seq) ? kv->seq[seq].n_page : 0; }
int tn_kv_length(const tn_kv *kv, int seq) { return is_open(kv, seq) ? kv->seq[seq].length : -1; }

void tn_kv_adapter(tn_kv *kv, int seq, int adapter) {
    if (is_open(kv, seq) && kv->seq[seq].length == 0) kv->seq[seq].adapter = adapter;
}

int tn_kv_open(tn_kv *kv) {
    for (int i = 0; i < kv->max_seqs; i++) {
        kv_seq *s = &kv->seq[i];
        if (s->open) continue;
        *s = (kv_seq){.open = true, .page = s->page, .cap = s->cap};
        return i;
    }
    return -1;
}

int tn_kv_fork(tn_kv *kv, int from) {
    if (!is_open(kv, from)) return -1;
    int i = tn_kv_open(kv);
    if (i < 0) return -1;
    const kv_seq *a = &kv->seq[from];
    kv_seq *b = &kv->seq[i];
    if (!TN_GROW(b->page, b->cap, (size_t)a->n_page + 1)) {
        b->open = false;
        return -1;
    }
    if (a->n_page) memcpy(b->page, a->page, (size_t)a->n_page * sizeof *b->page);
    b->n_page = a->n_page;
    b->length = a->length;
    b->adapter = a->adapter;
    b->own = a->own;
    b->frozen = a->length > 0;
    for (int p = 0; p < b->n_page; p++) kv->ref[b->page[p].block]++;
    return i;
}

static void release_page(tn_kv *kv, int32_t p) {
    if (--kv->ref[p] == 0) kv->free_list[kv->n_free++] = p;
}

void tn_kv_close(tn_kv *kv, int seq) {
    if (!is_open(kv, seq)) return;
    kv_seq *s = &kv->seq[seq];
    for (int p = s->n_page - 1; p >= 0; p--) release_page(kv, s->page[p].block);
    s->open = false;
    s->n_page = s->length = 0;
}

int tn_kv_common_pages(const tn_kv *kv, int a, int b) {
    if (!is_open(kv, a) || !is_open(kv, b)) return 0;
    const kv_seq *x = &kv->seq[a], *y = &kv->seq[b];
    int n = 0;
    while (n < x->n_page && n < y->n_page && x->page[n].block == y->page[n].block) n++;
    return n;
}

void tn_kv_begin_like(tn_kv *kv, int seq, int like, int tokens) {
    if (is_open(kv, seq) && kv->seq[seq].length == 0) kv->seq[seq].like = like, kv->seq[seq].shared = tokens;
}

static int32_t take_page(tn_kv *kv) {
    int32_t p = kv->free_list[--kv->n_free];
    kv->ref[p] = 1;
    return p;
}

/* ---------------- planning a call ---------------- */

/* Tokens of the first segment. (One behind it that begins at a whole page might as well be part of it.) */
static int first_segment(const kv_seq *s) {
    int n = 0;
    for (int p = 0; p < s->n_page && s->page[p].pos == n && n % TN_KV_BLOCK == 0; p++) n += s->page[p].n;
    return n;
}

/* Pages that hold the first `tokens` tokens, which are there. */
static int pages_of(const kv_seq *s, int tokens) {
    int n = 0;
    while (n < s->n_page && s->page[n].pos < tokens) n++;
    return n;
}

/* Pages of the tokens that `s` is to begin with, and the keys in the last one, which is whole when it is yet to be filled. */
static int shared_pages(const tn_kv *kv, const kv_seq *s, int *last) {
    const kv_seq *like = &kv->seq[s->like];
    *last = TN_KV_BLOCK;
    if (s->shared > like->length) return s->shared / TN_KV_BLOCK;
    int n = pages_of(like, s->shared);
    *last = s->shared - like->page[n - 1].pos;
    return n;
}

/* Pages that an item takes, after the items of this call before it. */
static int item_pages(tn_kv *kv, const tn_kv_item *it) {
    kv_seq *s = &kv->seq[it->seq];
    if (!s->plan_touched) {
        s->plan_touched = true;
        s->plan_len = s->length + s->shared;
        s->plan_pages = 0;
        s->plan_held = s->n_page;
        s->plan_last = s->n_page ? s->page[s->n_page - 1].n : TN_KV_BLOCK;
        s->plan_shared = s->n_page && (s->plan_lent || kv->ref[s->page[s->n_page - 1].block] > 1);
        s->plan_first = first_segment(s);
        if (s->shared) {
            kv_seq *like = &kv->seq[s->like];
            int first = like->plan_touched ? like->plan_first : first_segment(like);
            s->plan_held = shared_pages(kv, s, &s->plan_last);
            s->plan_shared = s->plan_last < TN_KV_BLOCK;
            like->plan_lent = like->plan_lent || s->plan_shared;
            s->plan_first = first < s->shared ? first : s->shared;
        }
        s->plan_more = s->plan_first < s->plan_len;
    }
    s->plan_more = s->plan_more || (it->new_segment && s->plan_len > 0);
    if (!s->plan_more) s->plan_first += it->n;
    int room = it->new_segment ? 0 : TN_KV_BLOCK - s->plan_last, copies = 0;
    if (room > 0 && s->plan_shared) copies = 1;
    int rest = it->n > room ? it->n - room : 0;
    s->plan_last = rest ? (rest - 1) % TN_KV_BLOCK + 1 : s->plan_last + it->n;
    s->plan_shared = false;
    s->plan_len += it->n;
    s->plan_pages += tn_kv_pages_for(rest);
    return copies + tn_kv_pages_for(rest);
}

/* Is what `s` is to begin with there, or will it be by then? */
static bool shares_well(const tn_kv *kv, const kv_seq *s) {
    if (s->shared == 0 || s->plan_touched) return true;
    if (s->shared < 0 || !is_open(kv, s->like)) return false;
    const kv_seq *like = &kv->seq[s->like];
    if (s == like || s->adapter != like->adapter) return false;
    return like->plan_touched ? s->shared % TN_KV_BLOCK == 0 && s->shared <= like->plan_first : s->shared <= like->length;
}

static tn_status check_item(const tn_run *r, const tn_model *m, tn_kv *kv, const tn_kv_item *it,
                            int i, tn_err *e) {
    if (!is_open(kv, it->seq))
        return tn_fail(e, TN_BUG, "item %d: sequence %d is not open", i, it->seq);
    if (it->n < 1) return tn_fail(e, TN_ARG, "item %d: appends %d tokens", i, it->n);
    const kv_seq *s = &kv->seq[it->seq];
    if (s->frozen && !s->plan_touched && !it->new_segment)
        return tn_fail(e, TN_BUG, "item %d: sequence %d was forked: it must start a new segment", i,
                       it->seq);
    TN_TRY(tn_adapt_check(m, &s->adapter, 1, e));
    if (!shares_well(kv, s))
        return tn_fail(e, TN_BUG, "item %d: sequence %d cannot begin with %d tokens of sequence %d", i, it->seq, s->shared, s->like);
    int have = s->plan_touched ? s->plan_len : s->length + s->shared;
    int limit = kv->max_pos < r->max_pos ? kv->max_pos : r->max_pos;
    if (it->n > limit - have)
        return tn_fail(e, TN_ARG, "item %d: %d tokens after %d go beyond the %d positions", i,
                       it->n, have, limit);
    for (int k = 0; k < it->n; k++)
        if (it->ids[k] < 0 || it->ids[k] >= m->desc.vocab)
            return tn_fail(e, TN_ARG,
                           "item %d: token id %d is outside the model's vocabulary of %d", i,
                           it->ids[k], m->desc.vocab);
    return TN_OK;
}

/* Checks all items and the pages they need together; changes no sequence. */
static tn_status plan_call(const tn_run *r, const tn_model *m, tn_kv *kv, const tn_kv_item *items,
                           int n, int *rows, size_t *chain, tn_err *e) {
    int need = 0;
    *rows = 0;
    *chain = 0;
    for (int i = 0; i < n; i++) {
        if (!is_open(kv, items[i].seq)) continue;
        kv_seq *s = &kv->seq[items[i].seq];
        s->plan_touched = s->plan_lent = false;
        if (is_open(kv, s->like)) kv->seq[s->like].plan_touched = kv->seq[s->like].plan_lent = false;
    }
    for (int i = 0; i < n; i++) {
        TN_TRY(check_item(r, m, kv, &items[i], i, e));
        need += item_pages(kv, &items[i]);
        *rows += items[i].n;
        *chain += (size_t)kv->seq[items[i].seq].plan_held + (size_t)kv->seq[items[i].seq].plan_pages;
        if (*rows > r->max_tok)
            return tn_fail(e, TN_BUG, "more than the %d tokens that the run was made for",
                           r->max_tok);
    }
    if (need > kv->n_free)
        return tn_fail(e, TN_NOMEM, "the key/value cache has %d free pages and this step needs %d",
                       kv->n_free, need);
    for (int i = 0; i < n; i++) {
        kv_seq *s = &kv->seq[items[i].seq];
        if (!TN_GROW(s->page, s->cap, (size_t)s->plan_held + (size_t)s->plan_pages))
            return tn_fail(e, TN_NOMEM, "no memory for a page list");
    }
    return TN_OK;
}

/* ---------------- one forward ---------------- */

/* The last page becomes this sequence's alone. */
static void unshare_last(tn_kv *kv, kv_seq *s) {
    tn_kblock *last = &s->page[s->n_page - 1];
    if (kv->ref[last->block] == 1) return;
    int32_t to = take_page(kv);
    size_t page = kv->block_bytes * (size_t)kv->layers;
    memcpy(kv->pool + (size_t)to * page, kv->pool + (size_t)last->block * page, page);
    release_page(kv, last->block);
    last->block = to;
}

/* The first pages of another sequence become an empty one's, too. */
static void share_pages(tn_kv *kv, kv_seq *s) {
    const kv_seq *like = &kv->seq[s->like];
    s->length = s->shared;
    s->n_page = pages_of(like, s->shared);
    memcpy(s->page, like->page, (size_t)s->n_page * sizeof *s->page);
    for (int p = 0; p < s->n_page; p++) kv->ref[s->page[p].block]++;
    for (s->own = s->n_page - 1; s->own > 0 && s->page[s->own - 1].n == TN_KV_BLOCK;) s->own--;
    tn_kblock *last = &s->page[s->n_page - 1];
    last->n = s->length - last->pos;
    s->shared = 0;
}

/* Gives every new token its page and slot; rows [at, at + n) of the call. */
static void append_item(tn_kv *kv, const tn_kv_item *it, int at) {
    kv_seq *s = &kv->seq[it->seq];
    if (s->shared) share_pages(kv, s);
    bool fresh = it->new_segment || s->n_page == 0;
    if (fresh) s->own = s->n_page;
    else if (s->page[s->n_page - 1].n < TN_KV_BLOCK) unshare_last(kv, s);
    for (int k = 0; k < it->n; k++) {
        if (fresh || s->page[s->n_page - 1].n == TN_KV_BLOCK)
            s->page[s->n_page++] = (tn_kblock){.block = take_page(kv), .pos = s->length};
        fresh = false;
        tn_kblock *last = &s->page[s->n_page - 1];
        kv->ids[at + k] = it->ids[k];
        kv->pos[at + k] = s->length++;
        kv->row_block[at + k] = last->block * kv->layers;
        kv->row_slot[at + k] = last->n++;
    }
    s->frozen = false;
}

tn_status tn_forward_kv(tn_run *r, const tn_model *m, tn_kv *kv, const tn_kv_item *items, int n, tn_err *e) {
    return tn_forward_kv_rows(r, m, kv, items, n, NULL, -1, e);
}

tn_status tn_forward_kv_rows(tn_run *r, const tn_model *m, tn_kv *kv, const tn_kv_item *items, int n,
                             const int32_t *read, int n_read, tn_err *e) {
    TN_TRY(tn_run_check(r, m, e));
    r->n_tok = 0;
    if (kv->be != m->be || kv->layers != m->desc.layers || kv->kv_heads != m->desc.kv_heads ||
        kv->head_dim != m->desc.head_dim)
        return tn_fail(e, TN_BUG, "this key/value cache was made for a model of another shape");
    if (n < 1) return tn_fail(e, TN_ARG, "a forward needs at least one token");
    int rows;
    size_t most;
    TN_TRY(plan_call(r, m, kv, items, n, &rows, &most, e));
    TN_TRY(tn_run_read(r, read, n_read, rows, e));
    /* the first call makes room for all that follow: any batch of single tokens, any run */
    size_t T = (size_t)(kv->cap_ids ? rows : r->max_tok), S = (size_t)kv->max_seqs;
    if (!kv->cap_chain) most += S * ((size_t)tn_kv_pages_for(kv->max_pos) + 4);
    if ((size_t)n > S) S = (size_t)n;
    if (!TN_GROW(kv->seg, kv->cap_seg, S) || !TN_GROW(kv->adapter, kv->cap_adapter, S) || !TN_GROW(kv->chain, kv->cap_chain, most) ||
        !TN_GROW(kv->ids, kv->cap_ids, T) || !TN_GROW(kv->pos, kv->cap_pos, T) ||
        !TN_GROW(kv->row_block, kv->cap_block, T) || !TN_GROW(kv->row_slot, kv->cap_slot, T))
        return tn_fail(e, TN_NOMEM, "no memory for a step of %d tokens", rows);
    int at = 0, chain = 0;
    for (int i = 0; i < n; i++) {
        kv_seq *s = &kv->seq[items[i].seq];
        int pos = s->length + s->shared;
        append_item(kv, &items[i], at);
        kv->seg[i] = (tn_aseg){.start = at, .len = items[i].n, .pos = pos, .chain = chain,
                               .n_chain = s->n_page, .own = s->own};
        kv->adapter[i] = s->adapter;
        for (int p = 0; p < s->n_page; p++) {
            kv->chain[chain] = s->page[p];
            kv->chain[chain++].block *= kv->layers;
        }
        at += items[i].n;
    }
    tn_attn a = {.n_tok = rows,
                 .n_seg = n,
                 .seg = kv->seg,
                 .chain = kv->chain,
                 .row_block = kv->row_block,
                 .row_slot = kv->row_slot,
                 .heads = m->desc.heads,
                 .kv_heads = kv->kv_heads,
                 .head_dim = kv->head_dim};
    tn_trunk_forward(r, m, kv->ids, kv->pos, &a, kv->adapter, kv->pool, kv->block_bytes, false);
    return tn_backend_check(m->be, e);
}
