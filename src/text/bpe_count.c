/* Words of texts, counted by all threads: each has its own table, added up at the end. */
#include "text/bpe_train.h"
#include "text/tok.h"
#include <stdlib.h>
#include <string.h>

enum { PORTION = 4 << 20 }; /* bytes of text that are counted at once */

typedef struct table {
    tn_vocab words; /* a word's id is its place in count */
    int64_t *count;
    size_t cap;
} table;

typedef struct span {
    size_t at, n;
} span;

struct tn_bpe_counts {
    const tn_tokenizer *pre;
    tn_pool *pool;
    int threads;
    tn_str text; /* texts of the portion, one after the other */
    span *span;
    size_t n_span, cap_span;
    table *own;  /* [threads] */
    tn_err *err; /* [threads] the first failure of each */
    table all;
    const struct tn_vocab_row **sorted;
};

static tn_status no_memory(tn_err *e) { return tn_fail(e, TN_NOMEM, "no memory for words"); }

static tn_status table_add(table *t, const char *s, size_t n, int64_t count, tn_err *e) {
    int32_t id = tn_vocab_find(&t->words, s, n);
    if (id < 0) {
        if (t->words.n == INT32_MAX) return tn_fail(e, TN_UNSUPPORTED, "more than 2^31 words");
        if (!TN_GROW(t->count, t->cap, t->words.n + 1)) return no_memory(e);
        id = (int32_t)t->words.n;
        TN_TRY(tn_vocab_add(&t->words, s, n, id, e));
        t->count[id] = 0;
    }
    t->count[id] += count;
    return TN_OK;
}

static void table_free(table *t) {
    tn_vocab_free(&t->words);
    tn_free(t->count);
}

tn_status tn_bpe_counts_new(tn_bpe_counts **out, const tn_tokenizer *pre, tn_pool *pool,
                            tn_err *e) {
    *out = NULL;
    if (!pre->bytes_last)
        return tn_fail(e, TN_ARG, "%s: a byte-level BPE's pre-tokenizer must end in ByteLevel",
                       pre->where);
    tn_bpe_counts *c = tn_calloc(1, sizeof *c);
    if (!c) return no_memory(e);
    *c = (tn_bpe_counts){
        .pre = pre, .pool = pool, .threads = tn_pool_threads(pool), .text = TN_STR_INIT};
    c->own = tn_calloc((size_t)c->threads, sizeof *c->own);
    c->err = tn_calloc((size_t)c->threads, sizeof *c->err);
    if (!c->own || !c->err) {
        tn_bpe_counts_free(c);
        return no_memory(e);
    }
    *out = c;
    return TN_OK;
}

void tn_bpe_counts_free(tn_bpe_counts *c) {
    if (!c) return;
    for (int k = 0; c->own && k < c->threads; k++) table_free(&c->own[k]);
    table_free(&c->all);
    tn_str_free(&c->text);
    tn_free(c->span);
    tn_free(c->own);
    tn_free(c->err);
    tn_free(c->sorted);
    tn_free(c);
}

/* ---- counting ---- */

static tn_status count_text(const tn_tokenizer *t, table *to, const char *s, size_t n, tn_err *e) {
    tn_work *w;
    tn_piece p = {.s = s, .n = n, .id = -1};
    TN_TRY(tn_work_get(t, &w, e));
    tn_status st = tn_norm_run(t, w, &p);
    if (st == TN_OK) st = tn_pieces_push(w, &w->cur, p);
    if (st == TN_OK) st = tn_pre_run(t, w);
    for (size_t k = 0; k < w->cur.n && st == TN_OK; k++)
        if (w->cur.v[k].n) st = table_add(to, w->cur.v[k].s, w->cur.v[k].n, 1, e);
    tn_work_put(t, w);
    return st;
}

static void count_some(void *ctx, size_t begin, size_t end, int thread) {
    tn_bpe_counts *c = ctx;
    tn_err *e = &c->err[thread];
    for (size_t i = begin; i < end && e->code == TN_OK; i++)
        count_text(c->pre, &c->own[thread], c->text.s + c->span[i].at, c->span[i].n, e);
}

static tn_status count_portion(tn_bpe_counts *c, tn_err *e) {
    tn_pool_run(c->pool, c->n_span, 1, count_some, c);
    c->n_span = 0;
    tn_str_clear(&c->text);
    for (int k = 0; k < c->threads; k++) {
        if (c->err[k].code == TN_OK) continue;
        if (e) *e = c->err[k];
        return c->err[k].code;
    }
    return TN_OK;
}

tn_status tn_bpe_counts_add(tn_bpe_counts *c, const char *s, size_t n, const char *where,
                            tn_err *e) {
    if (n == 0) return TN_OK;
    if (n > INT32_MAX)
        return tn_fail(e, TN_UNSUPPORTED, "%s: a text of %zu bytes; at most 2 GB in one", where, n);
    if (!tn_utf8_valid(s, n)) return tn_fail(e, TN_FORMAT, "%s: not valid UTF-8", where);
    if (!TN_GROW(c->span, c->cap_span, c->n_span + 1)) return no_memory(e);
    c->span[c->n_span++] = (span){c->text.len, n};
    tn_str_add(&c->text, s, n);
    if (c->text.oom) return no_memory(e);
    return c->text.len >= PORTION ? count_portion(c, e) : TN_OK;
}

/* ---- adding up ---- */

static int by_bytes(const void *a, const void *b, void *blob) {
    const struct tn_vocab_row *x = *(const struct tn_vocab_row *const *)a,
                              *y = *(const struct tn_vocab_row *const *)b;
    size_t n = x->len < y->len ? x->len : y->len;
    int d = memcmp((const char *)blob + x->off, (const char *)blob + y->off, n);
    return d ? d : (x->len > y->len) - (x->len < y->len);
}

tn_status tn_bpe_counts_finish(tn_bpe_counts *c, tn_err *e) {
    TN_TRY(count_portion(c, e));
    for (int k = 0; k < c->threads; k++) {
        table *t = &c->own[k];
        for (size_t i = 0; i < t->words.n; i++) {
            const struct tn_vocab_row *r = &t->words.row[i];
            TN_TRY(table_add(&c->all, t->words.blob.s + r->off, r->len, t->count[r->id], e));
        }
        table_free(t);
        *t = (table){0};
    }
    size_t n = c->all.words.n;
    c->sorted = tn_calloc(n, sizeof *c->sorted);
    if (!c->sorted) return no_memory(e);
    for (size_t i = 0; i < n; i++) c->sorted[i] = &c->all.words.row[i];
    qsort_r(c->sorted, n, sizeof *c->sorted, by_bytes, c->all.words.blob.s);
    return TN_OK;
}

size_t tn_bpe_counts_words(const tn_bpe_counts *c) { return c->sorted ? c->all.words.n : 0; }

int64_t tn_bpe_counts_word(const tn_bpe_counts *c, size_t i, const char **s, size_t *n) {
    const struct tn_vocab_row *r = c->sorted[i];
    *s = c->all.words.blob.s + r->off;
    *n = r->len;
    return c->all.count[r->id];
}
