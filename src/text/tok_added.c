/* Added tokens: read from the file, found in texts, cut out of them.
 *
 * As the library does it: tokens with "normalized": false are looked for in the raw text, the
 * others, in the form that the normaliser gives them, in the normalised rest; leftmost, longest. */
#include "text/tok.h"
#include "base/log.h"
#include <string.h>

static tn_status trie_add(tn_trie *t, const char *s, size_t n, int32_t token, tn_err *e) {
    if (n == 0) return TN_OK;
    if (t->n == 0)
        for (int k = 0; k < 256; k++) t->root[k] = -1;
    int32_t at = -1;
    for (size_t i = 0; i < n; i++) {
        uint8_t b = (uint8_t)s[i];
        int32_t k = at < 0 ? t->root[b] : t->v[at].child;
        while (at >= 0 && k >= 0 && t->v[k].byte != b) k = t->v[k].sibling;
        if (k < 0) {
            if (t->n > (1 << 26) || !TN_GROW(t->v, t->cap, (size_t)t->n + 1))
                return tn_fail(e, TN_NOMEM, "no memory for added tokens");
            k = t->n++;
            t->v[k] = (struct tn_trie_node){.child = -1, .sibling = -1, .token = -1, .byte = b};
            if (at < 0)
                t->root[b] = k;
            else {
                t->v[k].sibling = t->v[at].child;
                t->v[at].child = k;
            }
        }
        at = k;
    }
    if (t->v[at].token < 0) t->v[at].token = token;
    return TN_OK;
}

/* Longest token that starts at s[i], or -1. */
static int32_t trie_longest(const tn_trie *t, const char *s, size_t n, size_t i, size_t *end) {
    int32_t best = -1, at = t->root[(uint8_t)s[i]];
    while (at >= 0) {
        i++;
        if (t->v[at].token >= 0) {
            best = t->v[at].token;
            *end = i;
        }
        if (i >= n) break;
        int32_t k = t->v[at].child;
        while (k >= 0 && t->v[k].byte != (uint8_t)s[i]) k = t->v[k].sibling;
        at = k;
    }
    return best;
}

static bool word_before(const char *s, size_t i) {
    if (i == 0) return false;
    size_t k = tn_utf8_back(s, i);
    return tn_is_rword(tn_utf8_next(s, &k));
}

static bool word_after(const char *s, size_t n, size_t i) {
    return i < n && tn_is_rword(tn_utf8_next(s, &i));
}

/* Appends to w->out the tokens found in p and the stretches between. */
tn_status tn_added_cut(const tn_tokenizer *t, tn_work *w, const tn_trie *trie, const tn_piece *p) {
    size_t done = 0, n = p->n;
    for (size_t i = 0; trie->n && i < n;) {
        size_t end = 0;
        int32_t k = trie_longest(trie, p->s, n, i, &end);
        if (k < 0) {
            i++;
            continue;
        }
        const tn_added *d = &t->added[k];
        size_t a = i, b = end;
        i = end;
        if (d->single_word && (word_before(p->s, a) || word_after(p->s, n, b))) continue;
        if (d->lstrip) {
            size_t x = a, q;
            while (x > 0 && (q = tn_utf8_back(p->s, x), tn_is_space(tn_utf8_next(p->s, &q))))
                x = tn_utf8_back(p->s, x);
            a = x > done ? x : done; /* blanks may be taken by the token before */
        }
        if (d->rstrip) {
            size_t q = b;
            while (b < n && tn_is_space(tn_utf8_next(p->s, &q))) b = q;
        }
        if (done < a) TN_TRY(tn_pieces_push(w, &w->out, tn_piece_slice(p, done, a)));
        tn_piece token = tn_piece_slice(p, a, b);
        token.id = d->id;
        TN_TRY(tn_pieces_push(w, &w->out, token));
        done = b;
    }
    return done < n ? tn_pieces_push(w, &w->out, tn_piece_slice(p, done, n)) : TN_OK;
}

/* What the normaliser makes of the token: the form that is matched and, by the library, decoded. */
static tn_status normal_form(tn_tokenizer *t, tn_added *d, tn_err *e) {
    tn_work *w;
    if (!d->normalized || t->norm.n == 0) return TN_OK;
    TN_TRY(tn_work_get(t, &w, e));
    tn_piece p = {.s = d->content, .n = d->n, .id = -1};
    tn_status st = tn_norm_run(t, w, &p);
    if (st == TN_OK && (p.n != d->n || memcmp(p.s, d->content, p.n))) {
        d->form = tn_malloc(p.n + 1);
        if (!d->form)
            st = tn_fail(e, TN_NOMEM, "no memory for added tokens");
        else {
            memcpy(d->form, p.s, p.n);
            d->form[p.n] = 0;
            d->form_n = p.n;
        }
    }
    tn_work_put(t, w);
    return st;
}

static tn_status read_one(tn_tokenizer *t, const json_t *j, tn_added *d, int64_t *file_id,
                          tn_err *e) {
    json_t *v;
    if (!json_is_object(j))
        return tn_fail(e, TN_FORMAT, "%s: an added token is not an object", t->where);
    TN_TRY(tn_json_need(j, "content", JSON_STRING, &v, t->where, e));
    TN_TRY(tn_json_need_int(j, "id", file_id, t->where, e));
    TN_TRY(tn_json_bool(j, "special", false, &d->special, t->where, e));
    TN_TRY(tn_json_bool(j, "single_word", false, &d->single_word, t->where, e));
    TN_TRY(tn_json_bool(j, "lstrip", false, &d->lstrip, t->where, e));
    TN_TRY(tn_json_bool(j, "rstrip", false, &d->rstrip, t->where, e));
    TN_TRY(tn_json_bool(j, "normalized", !d->special, &d->normalized, t->where, e));
    d->n = json_string_length(v);
    d->content = tn_malloc(d->n + 1);
    if (!d->content) return tn_fail(e, TN_NOMEM, "no memory for added tokens");
    memcpy(d->content, json_string_value(v), d->n + 1);
    return TN_OK;
}

static void free_one(tn_added *d) {
    tn_free(d->content);
    tn_free(d->form);
}

/* The library gives a new token the next free number, whatever the file says; so do we. */
static tn_status add_one(tn_tokenizer *t, tn_added *d, int32_t *next, tn_err *e) {
    int32_t id = tn_vocab_find(&t->added_by_name, d->content, d->n);
    if (id < 0) id = tn_vocab_find(&t->vocab, d->content, d->n);
    if (id < 0) id = (*next)++;
    d->id = id;
    TN_TRY(normal_form(t, d, e));
    TN_TRY(tn_vocab_add(&t->added_by_name, d->content, d->n, id, e));
    for (size_t k = 0; k < t->nadded; k++) {
        if (t->added[k].id != id) continue;
        free_one(&t->added[k]);
        t->added[k] = *d;
        memset(d, 0, sizeof *d);
        return TN_OK;
    }
    if (!TN_GROW(t->added, t->added_cap, t->nadded + 1))
        return tn_fail(e, TN_NOMEM, "no memory for added tokens");
    t->added[t->nadded++] = *d;
    memset(d, 0, sizeof *d);
    return TN_OK;
}

tn_status tn_added_read(tn_tokenizer *t, const json_t *list, tn_err *e) {
    json_t *j;
    size_t i;
    int32_t next = (int32_t)t->vocab.n;
    int moved = 0;
    if (!list || json_is_null(list)) return TN_OK;
    if (!json_is_array(list))
        return tn_fail(e, TN_FORMAT, "%s: \"added_tokens\" is not a list", t->where);
    if (json_array_size(list) > 100000)
        return tn_fail(e, TN_UNSUPPORTED, "%s: more than 100000 added tokens", t->where);
    json_array_foreach(list, i, j) {
        tn_added d = {0};
        int64_t file_id = -1;
        tn_status st = read_one(t, j, &d, &file_id, e);
        if (st == TN_OK && d.n > 0) st = add_one(t, &d, &next, e);
        free_one(&d);
        TN_TRY(st);
        const char *name = json_string_value(json_object_get(j, "content"));
        int32_t id = tn_vocab_find(&t->added_by_name, name,
                                   json_string_length(json_object_get(j, "content")));
        if (id >= 0 && id != file_id && moved++ == 0)
            tn_warn("%s: added token %s has id %lld in the file, but the tokenizers library counts "
                    "to %d; %d is used, also for any others",
                    t->where, name, (long long)file_id, id, id);
    }
    for (size_t k = 0; k < t->nadded; k++) {
        const tn_added *d = &t->added[k];
        if (d->normalized)
            TN_TRY(trie_add(&t->norm_trie, d->form ? d->form : d->content,
                            d->form ? d->form_n : d->n, (int32_t)k, e));
        else
            TN_TRY(trie_add(&t->raw_trie, d->content, d->n, (int32_t)k, e));
    }
    return TN_OK;
}

void tn_added_free(tn_tokenizer *t) {
    for (size_t k = 0; k < t->nadded; k++) free_one(&t->added[k]);
    tn_free(t->added);
    tn_free(t->added_of);
    tn_free(t->raw_trie.v);
    tn_free(t->norm_trie.v);
    tn_vocab_free(&t->added_by_name);
}
